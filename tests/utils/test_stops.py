"""What an interrupted training says: how to start it again."""

import json
import os
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


WAITING = """
import time
from pathlib import Path
from utils import distributed, stops
distributed.uses_nccl, stops.PATIENCE = lambda: True, 0.1
with stops.explain_interruptions(Path(), 0.001):
    time.sleep({before})
    distributed.begin_pass()
    time.sleep({step})
    distributed.end_passes()
    time.sleep({before})
"""


def run_waiting(before: float, step: float, error_file: Path) -> subprocess.CompletedProcess:
    """A process whose training step takes so many seconds, without an error from PyTorch. 0.16 are allowed."""
    line = [sys.executable, "-c", WAITING.format(before=before, step=step)]
    environment = {**os.environ, "TORCHELASTIC_ERROR_FILE": str(error_file)}
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, env=environment)


def test_a_step_that_waits_for_a_silent_rank_ends_the_process_with_a_message_for_torchrun_too(tmp_path: Path) -> None:
    told = "another process of this training was killed, lost its machine, or did not answer for 0.001 minutes"
    outcome = run_waiting(0, 60, tmp_path / "error.json")
    assert outcome.returncode == 1
    assert outcome.stderr.startswith(f"error: {told}")
    assert "(no answer); the training had not begun" in outcome.stderr
    assert f"UserError: {told}" in json.loads((tmp_path / "error.json").read_text())["message"]["message"]


def test_a_silent_rank_ends_the_process_even_if_torchrun_cannot_be_told() -> None:
    assert run_waiting(0, 60, Path("/dev/full")).returncode == 1


def test_other_work_between_epochs_may_take_longer(tmp_path: Path) -> None:
    outcome = run_waiting(2.5, 0, tmp_path / "error.json")
    assert (outcome.returncode, outcome.stderr) == (0, "")


BLOCKED = """
import ctypes, os, signal, threading
from pathlib import Path
from utils import distributed, stops
distributed.size, distributed.report_failure, stops.PATIENCE = lambda: 2, lambda: {first}, 0.1
with stops.explain_interruptions(Path(), 1):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # the wait is not interrupted, as with NCCL
    ctypes.CDLL(None).sleep(60)
"""


@pytest.mark.parametrize("first", [True, False])
def test_a_main_rank_that_waits_in_nccl_is_silent_if_another_rank_has_failed_first(first: bool) -> None:
    line = [sys.executable, "-c", BLOCKED.format(first=first)]
    outcome = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert outcome.returncode == 130
    assert ("stopped; " in outcome.stderr) == first
