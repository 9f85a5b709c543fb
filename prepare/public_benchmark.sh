#!/usr/bin/env bash
# Make the public benchmark from a clone of the Bandai-Namco Research Motion dataset: recordings, annotations, skeletons
# and two splits.
#   bash prepare/public_benchmark.sh --source CLONE [--help] [options of prepare/public_benchmark.py]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
ensure_python "$root/requirements.txt"
exec "$PYTHON" -m prepare.public_benchmark "$@"
