"""A run's folder: nothing is overwritten, and an interrupted run continues."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import Hostile

from model.checkpoint import load_checkpoint
from model.training_state import last_good
from utils import config
from utils.errors import UserError
from utils.lock import NAME
from utils.run import Run, lock_run, read_history, write_checkpoint

SETTINGS = config.load()
DATA = {"classes": ["walk"], "store": "0", "clips": 3}


def state(epoch: int) -> dict[str, Any]:
    weights = {**DATA, "settings": SETTINGS.model_dump(), "model": {"weight": torch.full((3,), epoch)}}
    return {"epoch": epoch, **weights, "best_score": 0.5, "optimizer": {}, "pseudo_labels": {}}


def new(folder: Path, settings: config.Settings = SETTINGS) -> Run:
    with lock_run(folder, resume=False):
        return Run(folder, settings, DATA, resume=False, checkpoint=None)


@pytest.fixture()
def run(tmp_path: Path) -> Run:
    run = new(tmp_path / "run")
    for epoch in range(3):
        record(run, epoch)
    return run


def record(run: Run, epoch: int) -> None:
    states = {name: state(epoch)[name] for name in ("model", "optimizer", "pseudo_labels")}
    run.record({"epoch": epoch + 1, "loss": {"total": 0.5}, "corrected": {"mAP": 0.5}}, states)


def again(run: Run, settings: config.Settings = SETTINGS) -> tuple[Run, dict[str, Any] | None]:
    """Resume the run; `resumed` is the checkpoint from which it continues."""
    resumed = last_good(run.folder)
    return Run(run.folder, settings, DATA, True, resumed), resumed


def test_a_run_is_never_overwritten(run: Run) -> None:
    for folder in (run.folder, run.folder.parent):
        with pytest.raises(UserError, match=r"already holds files.*--resume.*--work-dir"):
            lock_run(folder, resume=False)
    assert load_checkpoint(run.folder / "last.pt")["epoch"] == 2


def test_a_resumed_run_goes_on_from_the_last_epoch(run: Run) -> None:
    assert again(run)[1]["epoch"] == 2
    assert [row["epoch"] for row in read_history(again(run)[0].folder)] == [1, 2, 3]


def test_of_epochs_with_equal_scores_the_first_is_the_best_also_after_a_resume(run: Run) -> None:
    record(again(run)[0], 3)
    assert load_checkpoint(run.folder / "best.pt")["epoch"] == 0


def test_a_damaged_checkpoint_falls_back_to_the_one_before(run: Run, capsys: pytest.CaptureFixture) -> None:
    last = run.folder / "last.pt"
    last.write_bytes(last.read_bytes()[:-200])
    resumed, checkpoint = again(run)
    assert checkpoint["epoch"] == 1
    assert [row["epoch"] for row in read_history(resumed.folder)] == [1, 2]
    assert "last.pt: cannot be read as a checkpoint" in capsys.readouterr().err


def test_a_kill_between_the_two_renames_loses_one_epoch(run: Run) -> None:
    (run.folder / "last.pt").replace(run.folder / "previous.pt")
    (run.folder / "config.yaml").unlink()
    lock_run(run.folder, resume=True)
    resumed, checkpoint = again(run)
    assert checkpoint["epoch"] == 2
    record(resumed, 3)
    assert [load_checkpoint(run.folder / name)["epoch"] for name in ("last.pt", "previous.pt")] == [3, 2]


def test_a_line_that_was_cut_off_is_forgotten(run: Run) -> None:
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "lo')
    assert [row["epoch"] for row in read_history(again(run)[0].folder)] == [1, 2, 3]


def test_a_run_that_stopped_in_its_first_epoch_starts_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = new(tmp_path / "run")
    assert again(run)[1] is None
    assert "its run stopped before its first checkpoint; starting from the beginning" in capsys.readouterr().out


def test_another_script_cannot_continue_a_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (run.folder / "metrics.jsonl").read_bytes()
    monkeypatch.setattr("sys.argv", ["folder/my_train.py"])
    with pytest.raises(UserError, match=r"run: (\S+) began the run, not my_train\.py; resume it by \1, or "):
        again(run)
    assert (run.folder / "metrics.jsonl").read_bytes() == rows


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run to resume"):
        lock_run(tmp_path, resume=True)
    assert not list(tmp_path.iterdir())


def test_a_run_without_its_checkpoints_is_not_trained_again(run: Run) -> None:
    """Its best.pt and results would be overwritten."""
    for name in ("last.pt", "previous.pt"):
        (run.folder / name).unlink()
    with pytest.raises(UserError, match=r"has finished 3 epochs, but last\.pt and previous\.pt are missing"):
        last_good(run.folder)
    (run.folder / "metrics.jsonl").unlink()
    (run.folder / "results.json").touch()
    with pytest.raises(UserError, match=r"last\.pt and previous\.pt are missing"):
        last_good(run.folder)


def test_a_run_is_locked_while_it_is_trained(run: Run, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.name != NAME}
    with lock_run(run.folder, resume=True):
        with pytest.raises(UserError, match=r"another training is running in this folder \(process \d+ on "):
            lock_run(run.folder, resume=True).__enter__()
        assert {path.name: path.read_bytes() for path in run.folder.iterdir() if path.name != NAME} == before
    with lock_run(run.folder, resume=True):
        pass
    with lock_run(tmp_path / "new", resume=False), pytest.raises(UserError, match="another training"):
        lock_run(tmp_path / "new", resume=False).__enter__()


def test_an_edited_config_yaml_is_noticed(run: Run) -> None:
    path = run.folder / "config.yaml"
    content = path.read_text()
    path.write_text(content.replace("learning_rate: 0.001", "learning_rate: 0.1"))
    said = r"config\.yaml: was edited: train\.learning_rate was 0\.001 and is 0\.1\. .* --config \S+config\.yaml"
    with pytest.raises(UserError, match=said):
        again(run)
    path.write_text(content.replace("epochs: 100", "epochs: 200"))  # killed before the first epoch of a longer run
    assert again(run)[1]["epoch"] == 2


def test_fewer_epochs_than_are_done_are_refused(run: Run) -> None:
    rows = (run.folder / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"its run has done 3 epochs, train\.epochs is 2; give 3 or more"):
        again(run, config.load([], ["train.epochs=2"]))
    assert (run.folder / "metrics.jsonl").read_bytes() == rows


def test_a_cosine_schedule_keeps_its_number_of_epochs(tmp_path: Path) -> None:
    cosine, longer = (config.load([], ["train.schedule=cosine", *more]) for more in ([], ["train.epochs=300"]))
    run = new(tmp_path / "run", cosine)
    said = r"other settings: train\.epochs was 100 and is 300\. Resume with the settings .* or start a new run"
    with pytest.raises(UserError, match=said):
        again(run, longer)
    assert again(run, cosine)[1] is None


def test_a_history_of_an_earlier_version_counts_from_1_too(run: Run) -> None:
    old = "".join(f'{{"epoch": {epoch}, "loss": {{"total": 0.5}}}}\n' for epoch in range(3))
    (run.folder / "metrics.jsonl").write_text(old)
    record(again(run)[0], 3)
    assert [row["epoch"] for row in read_history(run.folder)] == [1, 2, 3, 4]
    assert (run.folder / "metrics.jsonl").read_text().startswith('{"epoch": 1,')


def test_other_settings_are_refused_by_name(run: Run) -> None:
    with pytest.raises(UserError, match=r"model\.width was 64 and is 32"):
        again(run, config.load([], ["model.width=32"]))
    may_change = config.load([], ["train.epochs=300", "train.timeout=5", "train.cuda_graphs=false"])
    assert again(run, may_change)[1]["epoch"] == 2


def test_a_run_of_an_earlier_version_is_resumed_under_the_settings_of_today(run: Run) -> None:
    old = state(2)
    del old["settings"]["data"]["bucket_mix"]
    old["settings"]["data"] |= {"bucket_noise": 0.15, "workers": 2}
    write_checkpoint(run.folder / "last.pt", old)
    assert again(run)[1]["epoch"] == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"cannot be read as a checkpoint; it is damaged or of another kind \(PyTorch cannot load it\)"),
        (b"PK\x03\x04 no zip", r"of another kind \(PyTorch cannot load it\)"),
        (b"this is text\n" * 20, r"of another kind \(PyTorch cannot load it\)"),
        (b"\x80\x02}q\x00.", r"of another kind \(PyTorch cannot load it\)"),
        (pickle.dumps([1, 2]), r"of another kind \(PyTorch cannot load it\)"),
        ({}, "expected a checkpoint's dictionary, found an empty dictionary"),
        ([1], "expected a checkpoint's dictionary, found a list"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_one_message(tmp_path: Path, content: Any, said: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / "x.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "x.pt")
    with pytest.raises(UserError, match=rf"x\.pt: .*{said}$"):
        load_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["best.pt", "last.pt"])
def test_flipped_bits_in_a_tensor_are_noticed(run: Run, name: str, capsys: pytest.CaptureFixture) -> None:
    path = run.folder / name
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        (name_inside,) = [name for name in archive.namelist() if name.endswith("/data/0")]
        content[content.index(archive.read(name_inside))] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)  # PyTorch notices nothing
    with pytest.raises(UserError, match=rf"{name}: cannot be read .*\(\S+/data/0 differs from its checksum\)"):
        load_checkpoint(path)
    assert last_good(run.folder)["epoch"] == (1 if name == "last.pt" else 2)
    assert ("resuming from" in capsys.readouterr().err) == (name == "last.pt")


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, save: Any) -> None:
    save({"model": Hostile(tmp_path / "payload")}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x\.pt: cannot be read") as caught:
        load_checkpoint(tmp_path / "x.pt")
    assert "weights_only" not in str(caught.value)  # PyTorch advises to switch the protection off
    assert not (tmp_path / "payload").exists()
