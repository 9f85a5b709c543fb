"""prepare/environment.sh, with a fake Python that records what it is asked to install."""

import os
import shutil
import subprocess
from pathlib import Path

from runs import ROOT

PYTHON = r"""#!/usr/bin/env bash
case "$*" in
    "-m venv "*) sleep 0.2; mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    "-m pip install "*) sleep 0.5; echo "installed" >>"$NOTES" ;;
esac
"""


def test_jobs_that_start_together_install_once(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(PYTHON)
    (tmp_path / "bin" / "python3").chmod(0o755)
    (tmp_path / "prepare").mkdir()
    shutil.copy(ROOT / "prepare" / "environment.sh", tmp_path / "prepare")
    (tmp_path / "requirements.txt").write_text("numpy\n")
    script = 'set -euo pipefail; source prepare/environment.sh; ensure_python "$root/requirements.txt"; echo "$PYTHON"'
    own = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "NOTES": str(tmp_path / "notes"), "PYTHON": ""}
    line = {"args": ["bash", "-c", script], "cwd": tmp_path, "env": {**os.environ, **own}, "text": True}
    jobs = [subprocess.Popen(**line, stdout=subprocess.PIPE) for _ in range(3)]
    said = [job.communicate()[0].splitlines()[-1] for job in jobs]
    assert said == [str(tmp_path / ".venv" / "bin" / "python")] * 3
    assert (tmp_path / "notes").read_text() == "installed\n"
