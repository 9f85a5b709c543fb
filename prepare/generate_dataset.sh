#!/usr/bin/env bash
# AMASS + BABEL + SMPL-H, in the folders that README.md names → skeletons and splits in dataset/processed_data.
#   bash prepare/generate_dataset.sh [--help] [options of prepare/build.py]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_python "$root/requirements.txt"
exec "$PYTHON" -m prepare.build "$@"
