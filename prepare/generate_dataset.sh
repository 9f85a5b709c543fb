#!/usr/bin/env bash
# Make skeletons and splits in dataset/processed_data from AMASS, BABEL and a body model (README.md names their folders).
#   bash prepare/generate_dataset.sh [--help] [options of prepare/build.py]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_python "$root/requirements.txt"
exec "$PYTHON" -m prepare.build "$@"
