#!/usr/bin/env bash
# Your own recordings and annotations → skeletons and a split in dataset/processed_data.
#   bash prepare/own_data.sh --recordings DIR --annotations FILE --name mine [--help] [options of prepare/own_data.py]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_python "$root/requirements.txt"
exec "$PYTHON" -m prepare.own_data "$@"
