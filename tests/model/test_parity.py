"""The numbers of the released code, when they are there."""

from pathlib import Path

import parity
import pytest
from commands import call

from model.graph import adjacency
from utils.errors import UserError


def test_every_released_number_is_reproduced(golden: Path) -> None:
    failed = [check for check in parity.compare(golden) if not check.passed]
    assert failed == []


def test_a_number_that_is_not_reproduced_fails_the_command(
    golden: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(parity, "CHECKS", (parity.graph,))
    assert call(parity.main, "parity.py", golden) == 0
    monkeypatch.setattr(parity, "adjacency", lambda: adjacency() + 1e-3)
    assert call(parity.main, "parity.py", golden) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["ok", "all", "FAIL", "1"]
    assert said[-1] == "1 checks failed"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        call(parity.main, "parity.py", tmp_path / "nowhere")
