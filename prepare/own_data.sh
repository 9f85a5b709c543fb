#!/usr/bin/env bash
# Make skeletons and a split in dataset/processed_data from your own recordings and annotations.
#   bash prepare/own_data.sh --recordings DIR --annotations FILE --name mine [--help] [options of prepare/own_data.py]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_python "$root/requirements.txt"
exec "$PYTHON" -m prepare.own_data "$@"
