"""Damaged and untrusted checkpoints are refused with one message. They run no code and take little memory."""

import errno
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from runs import ROOT, run, small
from torch import nn

from model.checkpoint import load_checkpoint, load_trained
from model.localizer import Localizer
from model.released import load_released, places
from model.training_state import last_good
from utils import config
from utils.errors import UserError
from utils.run import Run, write_checkpoint

Change = Callable[[dict[str, Any]], Any]
MEMORY = """
import resource, sys
from pathlib import Path
from model.checkpoint import load_checkpoint
from utils.errors import UserError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        load_checkpoint(Path(path))
    except UserError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch; not to be written to."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run(*small(prepared, folder, "train.epochs=1")) == 0
    return folder


@pytest.fixture()
def damage(trained: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Makes a run folder whose only checkpoint is the trained one after `change`."""

    def make(change: Change) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        for name in ("config.yaml", "metrics.jsonl"):
            (folder / name).write_bytes((trained / name).read_bytes())
        checkpoint = load_checkpoint(trained / "last.pt")
        change(checkpoint)
        torch.save(checkpoint, folder / "last.pt")
        return folder

    return make


def first_moments(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return checkpoint["optimizer"]["state"][0]


def put(name: str, value: Any) -> Change:
    return lambda checkpoint: checkpoint.update({name: value})


WEIGHTS = [
    (put("settings", 3), r"is damaged: settings is 3, expected a valid dictionary"),
    (put("settings", {}), "data is missing"),
    (lambda c: c.update(settings={}, classes=["elsewhere"]), "data is missing"),
    (put("settings", {"data": [torch.zeros(2)]}), r"data is \[tensor.*, expected a valid dictionary"),
    (lambda c: c["settings"]["train"].update(epochs="3"), r"train\.epochs is '3', expected a valid integer"),
    (lambda c: c["settings"]["model"].update(width=10**9), r"model\.width is 1000000000, expected less than"),
    (
        lambda c: c["settings"]["eval"].update({f"x{i}": 0 for i in range(999)}),
        r"eval\.x0 is 0: Extra inputs are not",
    ),
    (put("classes", "walk"), r"is damaged: classes is 'walk', expected a valid list"),
    (put("classes", [1, 2]), r"is damaged: classes\.0 is 1, expected a valid string"),
    (put("format", "1"), r"is damaged: format is '1', expected a valid integer"),
    (put("format", 2), r"is of format 2, this version reads format 1"),
    (put("model", [1]), r"is damaged: model is \[1\], expected a valid dictionary"),
    (lambda c: c["model"].popitem(), r"its tensors do not fit the network:\n  missing (model\.)?heads"),
    (lambda c: c["model"].update({3: torch.zeros(1)}), r"do not fit the network:\n  unknown (model\.)?3"),
    (lambda c: c["model"].update({next(iter(c["model"])): "text"}), r"is no plain tensor, expected \(3, 25, 25\)"),
    (
        lambda c: c["model"].update({next(iter(c["model"])): torch.zeros(3, 25, 25).to_sparse()}),
        r"is no plain tensor, expected \(3, 25, 25\)",
    ),
]
STATE = [
    (lambda c: c["settings"]["refine"].update(peak=True), r"refine\.peak is True: Extra .* another version"),
    (lambda c: c["settings"]["refine"].pop("balance"), r"refine\.balance is missing\. .* written by another version"),
    (lambda c: c.pop("epoch"), r"is damaged: epoch is missing"),
    (put("epoch", "3"), r"is damaged: epoch is '3', expected a valid integer"),
    (put("epoch", True), r"is damaged: epoch is True, expected a valid integer"),
    (put("epoch", -1), r"is damaged: epoch is -1, expected greater than or equal to 0"),
    (put("epoch", 1), r"metrics\.jsonl: ends before epoch 2, which the checkpoint holds; put a copy back"),
    (put("best_score", float("nan")), r"is damaged: best_score is nan, expected greater than or equal to -inf"),
    (lambda c: c.pop("optimizer"), r"is damaged: optimizer is missing"),
    (put("optimizer", {}), r"do not fit the network:\n  missing optimizer\.state\.0\.exp_avg"),
    (put("optimizer", {"state": [1]}), r"missing optimizer\.state\.0\.exp_avg"),
    (lambda c: first_moments(c).update(exp_avg=torch.zeros(2)), r"exp_avg has shape \(2,\), expected \(3, 25, 25\)"),
    (lambda c: first_moments(c).update(step="many"), r"optimizer\.state\.0\.step is no plain tensor"),
    (lambda c: first_moments(c).pop("exp_avg_sq"), r"missing optimizer\.state\.0\.exp_avg_sq"),
    (put("pseudo_labels", {}), r"missing pseudo_labels\.history"),
    (
        lambda c: c["pseudo_labels"].update(history=torch.zeros(2, 3)),
        r"pseudo_labels\.history has shape \(2, 3\), expected",
    ),
    (lambda c: c["pseudo_labels"].update(epochs="1"), r"its pseudo-labels are of '1' epochs, its weights of 1"),
    (put("store", "0" * 64), r"its run has other data: joints have changed; restore the data, or start a new run"),
    (put("labels", "labels-000000000000.npy"), "its run has other data: labels have changed; restore"),
    (put("untimed", {"another": [0]}), "its run has other data: labels without times have changed; restore"),
    (put("clips", 999), r"its run has other data: clips were 999 and are \d+; restore"),
]


@pytest.mark.parametrize(("change", "said"), [*WEIGHTS, *STATE])
def test_a_damaged_checkpoint_cannot_be_resumed_and_says_why(
    damage: Callable[[Change], Path], prepared: Path, change: Change, said: str
) -> None:
    folder = damage(change)
    with pytest.raises(UserError, match=said) as caught:
        run(*small(prepared, folder, "train.epochs=2"), "--resume")
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(("change", "said"), WEIGHTS)
def test_a_damaged_checkpoint_cannot_be_evaluated_and_says_why(
    damage: Callable[[Change], Path], prepared: Path, change: Change, said: str
) -> None:
    weights = damage(change) / "last.pt"
    with pytest.raises(UserError, match=said):
        run("--phase", "test", "--weights", str(weights), "--set", f"data.root={prepared}")


def test_weights_load_although_training_settings_were_added_or_removed(
    damage: Callable[[Change], Path], trained: Path, prepared: Path
) -> None:
    def age(checkpoint: dict[str, Any]) -> None:
        checkpoint["settings"]["refine"].update(peak=True)
        del checkpoint["settings"]["refine"]["balance"], checkpoint["settings"]["train"]["precision"]

    weights = damage(age) / "last.pt"
    assert run("--phase", "test", "--weights", str(weights), "--set", f"data.root={prepared}") == 0
    (old, aged, *_), (new, settings, _, skeletons) = (load_trained(path) for path in (weights, trained / "last.pt"))
    assert skeletons == {"model": "SMPL-H", "hands": "as-is"}  # of the training data
    assert (aged.model, aged.data, aged.eval) == (settings.model, settings.data, settings.eval)
    assert all(torch.equal(old.state_dict()[name], tensor) for name, tensor in new.state_dict().items())


def test_a_run_with_layers_of_an_earlier_version_is_not_resumed_and_stays_as_it_is(
    damage: Callable[[Change], Path], prepared: Path
) -> None:
    def age(checkpoint: dict[str, Any]) -> None:
        del checkpoint["script"]
        checkpoint["model"] = {name.replace(".tcn.", ".tcn.conv."): t for name, t in checkpoint["model"].items()}

    folder = damage(age)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match=r"last\.pt: an earlier version .* It can be evaluated, but not resumed"):
        run(*small(prepared, folder, "train.epochs=2"), "--resume")
    assert all((folder / name).read_bytes() == content for name, content in before.items())


def test_layers_of_ones_own_may_have_the_names_of_an_earlier_version(
    damage: Callable[[Change], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(Localizer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.backbone.tcn = nn.ModuleDict({"conv": nn.Linear(1, 1)})

    weights = {"backbone.tcn.conv.weight": torch.ones(1, 1), "backbone.tcn.conv.bias": torch.ones(1)}
    monkeypatch.setattr("model.checkpoint.Localizer", Own)
    folder = damage(lambda checkpoint: checkpoint["model"].update(weights))
    assert last_good(folder)["epoch"] == 0
    assert load_trained(folder / "last.pt")[0].backbone.tcn.conv.weight.item() == 1


def test_learning_rates_come_from_the_settings_and_not_from_the_checkpoint(
    damage: Callable[[Change], Path], prepared: Path
) -> None:
    folder = damage(lambda c: c["optimizer"].update(param_groups=[{"lr": "fast"}, 3]))
    assert run(*small(prepared, folder, "train.epochs=2"), "--resume") == 0
    assert load_checkpoint(folder / "last.pt")["optimizer"]["param_groups"][0]["lr"] == 0.001


def test_previous_pt_is_used_if_last_pt_lacks_an_entry(
    damage: Callable[[Change], Path], trained: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = damage(lambda c: c.pop("optimizer"))
    write_checkpoint(folder / "previous.pt", load_checkpoint(trained / "last.pt"))
    assert last_good(folder)["epoch"] == 0
    warned = r"warning: \S+last\.pt: is damaged: optimizer is missing; resuming from \S+previous\.pt, one epoch"
    assert re.search(warned, capsys.readouterr().err)


def test_an_error_of_the_disk_does_not_replace_last_pt(
    damage: Callable[[Change], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = damage(lambda c: c)
    (folder / "previous.pt").write_bytes((folder / "last.pt").read_bytes())
    intact = (folder / "last.pt").stat()
    monkeypatch.setattr(torch, "load", Mock(side_effect=OSError(errno.EIO, os.strerror(errno.EIO))))
    with pytest.raises(OSError, match=r"Input/output error: '\S+last\.pt'"):
        last_good(folder)
    assert (folder / "last.pt").stat() == intact
    assert (folder / "previous.pt").exists()


def test_if_all_checkpoints_are_damaged_the_message_names_each(damage: Callable[[Change], Path]) -> None:
    folder = damage(lambda c: c.pop("optimizer"))
    (folder / "previous.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"last\.pt: is damaged.*; \S+previous\.pt: cannot be read as a checkpoint"):
        last_good(folder)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (b'{"epoch": 0}\n{"epo\n', "is damaged"),
        (b'{"epoch": 2}\n', "its epochs are not 1, 2, 3"),
        (b"[]\n", "is damaged"),
        (b"\xff\n", "is damaged"),
        (b'{"epoch": 0, "corrected": 3}\n', "is damaged"),
        (b'{"epoch": 0, "corrected": {"mAP": NaN}}\n', "an mAP is no number"),
        (b"", "ends before epoch 1, which the checkpoint holds"),
    ],
)
def test_a_damaged_metrics_jsonl_is_refused(
    damage: Callable[[Change], Path], monkeypatch: pytest.MonkeyPatch, lines: bytes, said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    folder = damage(lambda c: c)
    (folder / "metrics.jsonl").write_bytes(lines)
    settings = config.load([folder / "config.yaml"])
    with pytest.raises(UserError, match=rf"metrics\.jsonl: .*{said}.*put a copy back, or start a new run"):
        Run(folder, settings, {}, resume=True, checkpoint=last_good(folder))


def test_a_run_whose_epochs_are_reduced_to_those_done_is_evaluated(prepared: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def record_and_stop(self: Run, *epoch: Any, record: Any = Run.record) -> None:
        record(self, *epoch)
        raise StopError

    line = small(prepared, tmp_path / "run", "eval.every=9", "train.epochs=9")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopError):
        patch.setattr(Run, "record", record_and_stop)
        run(*line)
    assert run(*line, "train.epochs=1", "--resume") == 0
    assert '"oracle_epoch": {\n  "epoch": 1' in (tmp_path / "run" / "results.json").read_text()


def _packed(path: Path) -> None:
    torch.save({"weight": torch.zeros(30_000_000)}, path.with_suffix(".plain"))
    with zipfile.ZipFile(path.with_suffix(".plain")) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in plain.namelist():
            file.writestr(name, plain.read(name))


def test_a_compressed_file_is_refused_because_a_call_could_hide_in_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", os.urandom(200))  # deflate makes it no smaller
    with pytest.raises(UserError, match="its entries are compressed"):
        load_checkpoint(tmp_path / "packed.pt")


def test_a_checkpoint_may_contain_the_word_bytearray(trained: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(trained / "best.pt")
    checkpoint["settings"]["data"]["root"] = "/data/bytearray"
    torch.save(checkpoint, tmp_path / "best.pt")
    assert load_checkpoint(tmp_path / "best.pt")["settings"]["data"]["root"] == "/data/bytearray"


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    _packed(tmp_path / "packed.pt")
    (tmp_path / "call.pt").write_bytes(b"\x80\x02cbuiltins\nbytearray\n\x8a\x04\x00\xca\x9a;\x85R.")  # of 10**9 bytes
    reasons = {
        tmp_path / "packed.pt": "its entries are larger than the file",
        tmp_path / "call.pt": "it makes a bytearray",
    }
    assert all(path.stat().st_size < 1 << 20 for path in reasons)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    outcome = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, reasons)], capture_output=True, text=True, env=environment
    )
    *said, taken = outcome.stdout.splitlines()
    kind = "cannot be read as a checkpoint; it is damaged or of another kind"
    assert said == [f"{path}: {kind} ({reason})" for path, reason in reasons.items()]
    assert int(taken) < 50  # MiB


def test_weights_of_earlier_versions_load_under_their_old_names_and_shapes(tmp_path: Path) -> None:
    settings = config.load([], ["model.width=4"])
    state, old = Localizer(2, settings.model).state_dict(), {}
    for name, tensor in state.items():
        if ".affinity." in name:
            for layer, part in zip(("theta", "phi"), tensor.chunk(2), strict=True):
                old[name.replace("affinity", layer)] = part
        elif ".mix." in name:
            for subset, part in enumerate(tensor.chunk(3, 1) if name.endswith("weight") else 3 * [tensor / 3]):
                old[name.replace("mix", f"values.{subset}")] = part
        elif name.endswith("shortcut.conv.weight"):
            old[name] = tensor.flatten(1)
        elif re.match(r"backbone\.blocks\.\d+\.bn\.", name):
            old[name.replace(".bn.", ".tcn.bn.")] = tensor
        else:
            old[name.replace(".tcn.", ".tcn.conv.")] = tensor
    weights = {"model": old, "classes": ["walk", "wave"], "settings": settings.model_dump()}
    write_checkpoint(tmp_path / "old.pt", weights)
    torch.testing.assert_close(dict(load_trained(tmp_path / "old.pt")[0].state_dict()), dict(state))


def test_released_weights_that_were_trained_on_several_gpus_load() -> None:
    """DataParallel adds "module." to their names."""
    trained, model = (Localizer(4, config.load([], ["model.width=4"]).model) for _ in range(2))
    state = trained.state_dict()
    load_released(model, {f"module.{name}": place.of(state) for name, place in places(model).items()}, "x.pt")
    assert torch.equal(model.heads[0].prototypes, trained.heads[0].prototypes)


def test_released_weights_of_another_kind_are_refused() -> None:
    model = Localizer(4, config.load([], ["model.width=4"]).model)
    with pytest.raises(UserError, match=r"(?s)x\.pt: its tensors do not fit.*… and \d+ more\nExpected a whole"):
        load_released(model, {"l1.gcn1.PA": 3}, "x.pt")
