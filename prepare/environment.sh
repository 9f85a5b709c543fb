# Sourced by the scripts. Sets `root` to the project's folder. `ensure_python FILE` installs the requirements in FILE
# into .venv, which it makes if needed, and sets PYTHON to its interpreter. An exported PYTHON is used as it is.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# help_if_asked SCRIPT [ARGUMENT]: if ARGUMENT is --help or -h, prints the comment at the top of SCRIPT and exits
help_if_asked() {
    if [[ "${2:-}" == --help || "${2:-}" == -h ]]; then
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$1"
        exit 0
    fi
}

ensure_python() {
    local requirements=$1 python wanted stamp
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
    if [[ -n "${PYTHON:-}" ]]; then
        return
    fi
    PYTHON=$root/.venv/bin/python
    stamp=$root/.venv/installed-$(basename "$requirements")
    wanted=$(cat "$root/requirements.txt" "$requirements" | cksum)
    if is_installed; then
        return
    fi
    mkdir -p "$root/.venv"
    ( # of several jobs that start together, one installs and the others wait; without the command flock, all install
        flock 9 2>/dev/null || true
        if is_installed; then
            exit
        fi
        if ! "$PYTHON" -m pip --version >/dev/null 2>&1; then # none yet, or one whose making was interrupted
            python=$(find_python)
            echo "== making .venv with $python"
            "$python" -m venv "$root/.venv"
        fi
        echo "== installing $(basename "$requirements") into .venv"
        "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$requirements"
        echo "$wanted" >"$stamp"
    ) 9>"$root/.venv/lock"
}

is_installed() { # part of ensure_python
    [[ -x "$PYTHON" && -f "$stamp" && "$(cat "$stamp")" == "$wanted" ]]
}

find_python() { # prints the path of the first interpreter that is new enough
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "error: no Python 3.11 or newer was found; install one, or export PYTHON=/path/to/python" >&2
    return 2
}
