"""What an interrupted training says: how to start it again."""

import subprocess
import sys
from pathlib import Path

import pytest
from runs import ROOT

from utils.stops import _how_to_continue


@pytest.mark.parametrize(
    ("begun", "ranks_here", "said"),
    [
        (True, 4, "every finished epoch is kept. Go on with: torchrun --nproc_per_node 4 train.py --set a=1 --resume"),
        (False, 4, "the training had not begun. Start it with: torchrun --nproc_per_node 4 train.py --set a=1"),
        (True, 2, "every finished epoch is kept. Submit the job again, with --resume"),  # two machines
        (False, 2, "the training had not begun. Submit the job again"),
    ],
)
def test_a_command_is_shown_for_the_ranks_of_one_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool, ranks_here: int, said: str
) -> None:
    monkeypatch.setattr("utils.distributed._SIZE", 4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks_here))
    monkeypatch.setattr("sys.argv", ["train.py", "--set", "a=1", "--resume-or-start"])
    if begun:
        (tmp_path / "config.yaml").touch()
    assert _how_to_continue(tmp_path) == said


UNANSWERED = """
import time
from pathlib import Path
from utils import distributed, stops
distributed._SIZE, stops.PATIENCE = 2, 0.1
with stops.explain_interruptions(Path(), 0.001):
    time.sleep({between})
    distributed.note_step(training=True)
    time.sleep({within})
    distributed.note_step(training=False)
    time.sleep({between})
print("ended")
"""


@pytest.mark.parametrize(
    ("between", "within", "status", "told"),
    [
        (
            0,
            60,
            1,
            "error: another process of this training was killed, lost its machine, or did not answer for 0.001 ",
        ),
        (1.5, 0, 0, ""),  # other work between the epochs may take longer
    ],
)
def test_a_step_that_waits_for_a_silent_rank_ends_the_process(
    between: float, within: float, status: int, told: str
) -> None:
    """Also if PyTorch waits without an error, as it does with NCCL."""
    code = UNANSWERED.format(between=between, within=within)
    outcome = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert outcome.returncode == status
    assert outcome.stderr.startswith(told)
    assert ("no answer); the training had not begun" in outcome.stderr) == bool(status)
    assert ("ended" in outcome.stdout) == (not status)
