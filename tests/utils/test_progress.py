"""Progress: a bar in a terminal, few lines elsewhere, nothing if silent."""

import io
import itertools
import sys
from collections.abc import Iterator

import pytest

from utils import config
from utils import progress as module
from utils.progress import epoch_line, progress


@pytest.fixture()
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two seconds pass between any two looks at the clock."""
    seconds = itertools.count(0, 2)
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds))


@pytest.mark.usefixtures("clock")
def test_without_a_terminal_there_is_a_line_after_ten_seconds_and_then_every_thirty(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(progress(range(60), "epoch 1/9", "batch")) == list(range(60))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "epoch 1/9: 4 of 60 batches, about 0:02:30 for all"
    assert [int(line.split()[2]) for line in lines] == [4, 19, 34, 49]


def test_a_quick_loop_and_a_silent_one_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(iter("abc"), "takes", "take", total=3)) == ["a", "b", "c"]
    assert list(progress("abc", "takes", "take", silent=True)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress("abc", "takes", "take")) == ["a", "b", "c"]
    assert "takes:" in terminal.getvalue()
    assert "/3 [" in terminal.getvalue()


def test_the_line_of_the_first_epoch_with_pseudo_labels_says_that_the_loss_is_another_one() -> None:
    settings = config.load([], ["refine.start=2"])
    lines = [
        epoch_line({"epoch": epoch, "loss": {"total": 1.0}, "frames_per_second": 9}, settings) for epoch in (2, 3, 4)
    ]
    assert [("with pseudo-labels" in line) for line in lines] == [False, True, False]
    assert lines[1].startswith("epoch 3/100  loss 1.0000 (from here on with pseudo-labels")
