#!/usr/bin/env bash
# Install what is missing and run the tests.
#   bash tests/run.sh [--all] [pytest arguments]      --all: also the tests that take minutes
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../prepare/environment.sh"
help_if_asked "$0" "$@"
ensure_python "$root/requirements-dev.txt"
cd "$root"
selection=(-m "not slow")
if [[ "${1:-}" == --all ]]; then
    selection=(-m "")
    shift
fi
exec "$PYTHON" -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile "${selection[@]}" "$@"
