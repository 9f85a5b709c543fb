"""The numbers of the released code, when they are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import parity


def test_every_released_number_is_reproduced(golden: Path) -> None:
    failed = [check for check in parity.compare(golden) if not check.passed]
    assert failed == []


def test_a_number_that_is_not_reproduced_fails_the_command(golden: Path, tmp_path: Path) -> None:
    for path in golden.iterdir():
        (tmp_path / path.name).symlink_to(path)
    files = parity.load(golden / "graph.npz")
    (tmp_path / "graph.npz").unlink()
    parity.np.savez(tmp_path / "graph.npz", A=files["A"] + 1e-3)
    command = [sys.executable, parity.__file__, str(tmp_path)]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 1, outcome.stderr
    assert "FAIL  adjacency" in outcome.stdout
    assert outcome.stdout.endswith("1 checks failed\n")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    command = [sys.executable, parity.__file__, str(tmp_path / "nowhere")]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 2
    assert "nowhere: no such folder" in outcome.stderr
    assert "Traceback" not in outcome.stderr
