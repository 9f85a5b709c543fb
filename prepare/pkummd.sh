#!/usr/bin/env bash
# Make skeletons and the split of a protocol in dataset/processed_data from PKU-MMD.
#   bash prepare/pkummd.sh --root DIR --protocol cross-subject [--help] [options of prepare/pkummd.py]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_python "$root/requirements.txt"
exec "$PYTHON" -m prepare.pkummd "$@"
