"""Trainings that are killed, stopped or starved: at most the epoch in progress is lost, and the end is the same."""

import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import ROOT, assert_same_end, command, finish, run, small, start, wait_until

import train
from model.checkpoint import load_checkpoint
from utils import config
from utils.errors import UserError
from utils.run import Run, lock_run

EPOCHS = 3
DYING = """
import os, runpy, signal, sys
import utils.atomic, utils.run
where, moment = sys.argv[1], int(sys.argv[2])
sys.path[0] = sys.argv[3]
sys.argv = sys.argv[4:]
calls = 0

def die_at(path, half=False):
    global calls
    calls += path.name in where.split()
    if calls == moment and path.name in where.split():
        if half:
            os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

def dying_sync(file, sync=utils.atomic.sync):
    sync(file)
    die_at(utils.run.Path(file.name), half=True)

def dying_replace(source, target, replace=utils.run.Path.replace):
    die_at(utils.run.Path(f"{source.name}>{target.name}"))
    return replace(source, target)

utils.atomic.sync, utils.run.Path.replace = dying_sync, dying_replace
runpy.run_path(sys.argv[0], run_name="__main__")
"""
STOPPED_EARLY = """
import runpy, signal, sys
import validate
validate.Validation = lambda *_: signal.raise_signal(signal.SIGINT)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

Resume = Callable[[list[str], Path], str]


@pytest.fixture(scope="module")
def uninterrupted(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed; not to be written to."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert run(*arguments(prepared, folder)) == 0
    return folder


@pytest.fixture()
def go_on(capsys: pytest.CaptureFixture) -> Resume:
    """Resumes a run to its end, makes sure that no finished epoch is trained again, and returns what was said."""

    def resume(line: list[str], folder: Path) -> str:
        already = last_epoch(folder) + 1
        capsys.readouterr()
        time.sleep(1)  # TensorBoard orders a run's files by the second in which they were begun
        assert run(*line, "--resume") == 0
        said = "".join(capsys.readouterr())
        assert len([text for text in said.splitlines() if text.startswith("epoch ")]) <= EPOCHS - already
        assert last_epoch(folder) == EPOCHS - 1
        return said

    return resume


def arguments(prepared: Path, folder: Path, *more: str) -> list[str]:
    return small(prepared, folder, f"train.epochs={EPOCHS}", "eval.every=2", *more)


def last_epoch(folder: Path) -> int:
    return load_checkpoint(folder / "last.pt")["epoch"] if (folder / "last.pt").exists() else -1


def killed_in(where: str, moment: int, line: list[str]) -> None:
    """Run until a file named in `where` is half written or a renaming named there is due, for the `moment`th time."""
    dying = start([sys.executable, "-c", DYING, where, str(moment), str(ROOT), str(ROOT / "train.py"), *line], cwd=ROOT)
    said = dying.communicate(timeout=120)[1]
    assert dying.returncode == -signal.SIGKILL, said


@pytest.mark.parametrize(
    ("where", "moment"),
    [
        ("last.pt.tmp", 2),
        *(
            pytest.param(where, moment, marks=pytest.mark.slow)
            for where, moment in [
                ("last.pt.tmp", 1),
                ("last.pt.tmp", EPOCHS),
                ("last.pt>previous.pt", 1),
                ("last.pt>previous.pt", EPOCHS - 1),
                ("last.pt.tmp>last.pt", 1),
                ("last.pt.tmp>last.pt", 2),
                ("last.pt.tmp>last.pt", EPOCHS),
                ("best.pt.tmp", 1),
                ("best.pt.tmp>best.pt", 1),
                ("metrics.jsonl.tmp", 1),
                ("metrics.jsonl.tmp>metrics.jsonl", 3),
                ("config.yaml.tmp", 1),
                ("results.json.tmp", 1),
                ("time_line.png.tmp", 1),
            ]
        ),
    ],
)
def test_a_run_killed_while_it_writes_ends_as_if_it_had_not_been(
    uninterrupted: Path, prepared: Path, tmp_path: Path, go_on: Resume, where: str, moment: int
) -> None:
    folder = tmp_path / "run"
    line = arguments(prepared, folder)
    killed_in(where, moment, line)
    if (folder / "config.yaml").exists():
        go_on(line, folder)
    else:  # nothing had begun, so it begins
        finish(command(*line))
    assert_same_end(folder, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(
    uninterrupted: Path, prepared: Path, tmp_path: Path, seed: int
) -> None:
    folder, rng = tmp_path / "run", random.Random(seed)
    line = command(*arguments(prepared, folder))
    for kill in range(4 if seed else 1):
        started = start([*line, *(["--resume"] if (folder / "config.yaml").exists() else [])])
        wait_until(lambda: (folder / "config.yaml").exists(), started)
        time.sleep(rng.uniform(0, 4 if kill else 2))
        os.killpg(started.pid, rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]) if kill else signal.SIGKILL)
        started.communicate(timeout=120)
    finish([*line, "--resume"])
    assert_same_end(folder, uninterrupted)


def test_a_folder_in_which_a_run_was_killed_before_it_began_is_free(tmp_path: Path) -> None:
    (tmp_path / "config.yaml.tmp").write_bytes(b"data: {ro")
    with lock_run(tmp_path, resume=False):
        Run(tmp_path, config.load(), {}, resume=False, checkpoint=None)
    assert (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize("sent", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_run_that_is_told_to_stop_says_how_to_go_on(
    uninterrupted: Path, prepared: Path, tmp_path: Path, go_on: Resume, sent: signal.Signals
) -> None:
    folder = tmp_path / "run with a space"
    started = start(command(*arguments(prepared, folder)))
    wait_until(lambda: (folder / "last.pt").exists(), started)
    os.killpg(started.pid, sent)
    said = started.communicate(timeout=60)[1]
    assert started.returncode == 130
    assert "stopped; every finished epoch is kept. Go on with: python " in said
    assert f"--work-dir '{folder}'" in said
    assert said.rstrip().endswith("--resume")
    assert "Traceback" not in said
    assert last_epoch(folder) >= 0
    go_on(arguments(prepared, folder), folder)
    assert_same_end(folder, uninterrupted)


@pytest.mark.parametrize("full", ["last.pt", pytest.param("events.*", marks=pytest.mark.slow)])
def test_a_full_disk_is_one_message_and_the_run_can_go_on(
    uninterrupted: Path, prepared: Path, tmp_path: Path, go_on: Resume, full: str
) -> None:
    folder, line = tmp_path / "run", arguments(prepared, tmp_path / "run")
    started = start(command(*line))
    wait_until(lambda: (folder / "last.pt").exists(), started)
    limit = next(folder.glob(full)).stat().st_size * 2 // 3
    resource.prlimit(started.pid, resource.RLIMIT_FSIZE, (limit, limit))  # no file may grow beyond
    said = started.communicate(timeout=60)[1]
    assert started.returncode == 2
    assert re.fullmatch(rf"error: {folder}/\S+: File too large; every finished epoch is kept\. Go on with: .*\n", said)
    assert last_epoch(folder) >= 0
    assert not list(folder.glob("*.tmp"))  # what was half written no longer takes space
    go_on(line, folder)
    assert_same_end(folder, uninterrupted)


@pytest.mark.slow
def test_of_two_resumed_at_once_the_second_changes_nothing(uninterrupted: Path, prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    line = command(*arguments(prepared, folder))
    first = start(line)
    wait_until(lambda: (folder / "last.pt").exists(), first)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=60)
    first = start([*line, "--resume"])
    wait_until(lambda: str(first.pid) in (folder / ".lock").read_text(), first)
    first.send_signal(signal.SIGSTOP)  # it holds the lock while the other one starts
    before = (folder / "metrics.jsonl").read_bytes()
    second = start([*line, "--resume"])
    said = second.communicate(timeout=120)[1]
    assert second.returncode == 2
    assert re.fullmatch(rf"error: \S+: another training .* \(process {first.pid} on .*\); wait for it, .*\n", said)
    assert (folder / "metrics.jsonl").read_bytes() == before
    first.send_signal(signal.SIGCONT)
    assert first.communicate(timeout=120)[0]
    assert first.returncode == 0
    assert_same_end(folder, uninterrupted)


def test_memory_that_runs_out_is_one_message(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "objective", lambda *_: torch.empty(1 << 50))
    with pytest.raises(UserError, match=r"out of memory \(.*\); every finished .*smaller train\.batch_size"):
        run(*arguments(prepared, tmp_path / "run"))


def test_a_stop_before_anything_has_begun_says_how_to_start(prepared: Path, tmp_path: Path) -> None:
    line = [str(ROOT / "train.py"), *arguments(prepared, tmp_path / "run")]
    stopped = start([sys.executable, "-c", STOPPED_EARLY, *line], cwd=ROOT)
    said = stopped.communicate(timeout=120)[1]
    assert stopped.returncode == 130
    assert f"stopped; the training had not begun. Start it with: python {ROOT}/train.py" in said
    assert "--resume" not in said
    assert not (tmp_path / "run").exists()
