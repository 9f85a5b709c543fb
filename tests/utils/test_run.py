"""A run's folder: nothing is overwritten, and an interrupted run continues."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint import last_good, load_checkpoint
from utils import config
from utils.atomic import whole_file, write_whole
from utils.errors import UserError, run_command
from utils.run import Run, read_history, write_checkpoint

ROOT = Path(__file__).parents[2]
SETTINGS = config.load()
DATA = {"classes": ["walk"], "store": "0", "clips": 3}


def state(epoch: int) -> dict[str, Any]:
    weights = {**DATA, "settings": SETTINGS.model_dump(), "model": {"weight": torch.full((3,), epoch)}}
    return {"epoch": epoch, **weights, "best_score": 0.5, "optimizer": {}, "pseudo_labels": {}}


@pytest.fixture()
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run", SETTINGS, DATA, resume=False)
    for epoch in range(3):
        record(run, epoch)
    return run


def record(run: Run, epoch: int) -> None:
    states = {name: state(epoch)[name] for name in ("model", "optimizer", "pseudo_labels")}
    run.record({"epoch": epoch, "loss": {"total": 0.5}}, states, score=0.5)


def again(run: Run, settings: config.Settings = SETTINGS) -> tuple[Run, dict[str, Any] | None]:
    """Resume the run; `resumed` is the checkpoint from which it continues."""
    resumed = last_good(run.folder)
    return Run(run.folder, settings, DATA, True, resumed), resumed


def test_a_run_is_never_overwritten(run: Run) -> None:
    with pytest.raises(UserError, match=r"already holds files.*--resume.*--work-dir"):
        Run(run.folder, SETTINGS, DATA, resume=False)
    assert load_checkpoint(run.folder / "last.pt")["epoch"] == 2


def test_a_resumed_run_goes_on_from_the_last_epoch(run: Run) -> None:
    assert again(run)[1]["epoch"] == 2
    assert [row["epoch"] for row in read_history(again(run)[0].folder)] == [0, 1, 2]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(run: Run, capsys: pytest.CaptureFixture) -> None:
    last = run.folder / "last.pt"
    last.write_bytes(last.read_bytes()[:-200])
    resumed, checkpoint = again(run)
    assert checkpoint["epoch"] == 1
    assert [row["epoch"] for row in read_history(resumed.folder)] == [0, 1]
    assert "last.pt: cannot be read as a checkpoint" in capsys.readouterr().err


def test_a_kill_between_the_two_renames_loses_nothing(run: Run) -> None:
    record(run, 3)
    (run.folder / "last.pt").replace(run.folder / "next.pt")
    resumed, checkpoint = again(run)
    assert checkpoint["epoch"] == 3
    assert not (run.folder / "next.pt").exists()
    record(resumed, 4)
    assert again(run)[1]["epoch"] == 4
    assert not (run.folder / "next.pt").exists()


def test_a_line_that_was_cut_off_is_forgotten(run: Run) -> None:
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')
    assert [row["epoch"] for row in read_history(again(run)[0].folder)] == [0, 1, 2]


def test_a_run_that_stopped_in_its_first_epoch_starts_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = Run(tmp_path / "run", SETTINGS, DATA, resume=False)
    assert again(run)[1] is None
    assert "its run stopped before the first epoch ended; starting from the beginning" in capsys.readouterr().out


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run to resume"):
        last_good(tmp_path)


def test_other_settings_are_refused_by_name(run: Run) -> None:
    with pytest.raises(UserError, match=r"model\.width was 64 and is 32"):
        again(run, config.load([], ["model.width=32"]))
    assert again(run, config.load([], ["train.epochs=300", "data.workers=0"]))[1]["epoch"] == 2


def test_a_run_of_an_earlier_version_is_resumed_under_the_settings_of_today(run: Run) -> None:
    old = state(2)
    del old["settings"]["data"]["bucket_mix"]
    old["settings"]["data"]["bucket_noise"] = 0.15
    write_checkpoint(run.folder / "last.pt", old)
    assert again(run)[1]["epoch"] == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x80\x02}q\x00.", pickle.dumps([1, 2])])
def test_what_is_no_checkpoint_is_refused_in_one_message(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.pt: (cannot be read as a checkpoint|expected a checkpoint's dictionary)"):
        load_checkpoint(tmp_path / "x.pt")


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, save: Any) -> None:
    save({"model": Hostile(tmp_path / "payload")}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x\.pt: cannot be read"):
        load_checkpoint(tmp_path / "x.pt")
    assert not (tmp_path / "payload").exists()


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (UserError("mend this"), 2, "error: mend this\n"),
        (OSError(28, "No space left on device", "x.npy"), 2, "error: x.npy: No space left on device\n"),
        (OSError("no number"), 2, "error: no number\n"),
        (KeyboardInterrupt(), 130, "\nstopped\n"),
    ],
)
def test_a_command_ends_in_one_message(
    raised: BaseException, status: int, said: str, capsys: pytest.CaptureFixture
) -> None:
    def main() -> None:
        raise raised

    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == status
    assert capsys.readouterr().err == said


def test_ctrl_c_inside_a_destructor_is_not_lost() -> None:
    code = """
import signal, time
from utils.errors import run_command

class Interrupted:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def main():
    Interrupted()
    time.sleep(60)

run_command(main)
"""
    outcome = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (outcome.returncode, outcome.stderr) == (130, "\nstopped\n")


def test_a_write_that_fails_names_the_file_and_leaves_the_one_before(tmp_path: Path) -> None:
    write_whole(tmp_path / "x.json", b"before")
    with pytest.raises(OSError, match="No space left") as caught, whole_file(tmp_path / "x.json"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "x.json")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_bytes() == b"before"
