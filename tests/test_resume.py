"""A run is stopped and resumed: it ends as an uninterrupted one, or the message says why not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from runs import equal, rows, run, small
from torch import nn

import train
from model.checkpoint import load_checkpoint
from model.localizer import Localizer
from model.training_state import TrainingState
from utils.errors import UserError


def test_a_run_of_an_earlier_version_is_resumed_and_evaluated(trained: Path, prepared: Path, tmp_path: Path) -> None:
    """It had other settings."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    old = load_checkpoint(folder / "last.pt")
    keys = "data.mirror data.scale data.bucket_mix train.matrix_precision train.cuda_graphs train.compile train.timeout"
    for key in keys.split():
        group, name = key.split(".")
        del old["settings"][group][name]
    old["settings"]["data"] |= {"bucket_noise": 0.15, "workers": 2}
    torch.save(old, folder / "last.pt")
    test = ["--phase", "test", "--weights", str(folder / "last.pt"), "--set", f"data.root={prepared}"]
    assert run(*test) == 0
    before, after = (json.loads((f / "results.json").read_text()) for f in (trained, folder / "eval"))
    assert after["corrected"] == before["corrected"]
    assert run(*small(prepared, folder, "train.epochs=4"), "--resume") == 0
    assert load_checkpoint(folder / "last.pt")["pseudo_labels"]["epochs"] == 4


def test_a_network_with_a_frozen_layer_is_resumed(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Frozen(Localizer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.backbone.blocks[0].requires_grad_(requires_grad=False)

    monkeypatch.setattr(train, "Localizer", Frozen)
    assert run(*small(prepared, tmp_path / "run", "train.epochs=1")) == 0
    assert run(*small(prepared, tmp_path / "run", "train.epochs=2"), "--resume") == 0
    first, last = (load_checkpoint(tmp_path / "run" / name)["model"] for name in ("previous.pt", "last.pt"))
    assert torch.equal(first["backbone.blocks.0.tcn.weight"], last["backbone.blocks.0.tcn.weight"])
    assert not torch.equal(first["backbone.blocks.1.tcn.weight"], last["backbone.blocks.1.tcn.weight"])


def assert_resuming_changes_nothing(prepared: Path, tmp_path: Path) -> None:
    for folder, *epochs in (("whole", 2), ("resumed", 1, 2)):
        for number in epochs:
            line = small(prepared, tmp_path / folder, f"train.epochs={number}", "eval.every=9")
            assert run(*line, "--resume-or-start") == 0
    models = [load_checkpoint(tmp_path / folder / "last.pt")["model"] for folder in ("whole", "resumed")]
    assert equal(*models)


class Scaled(torch.optim.SGD):
    """An optimizer of one's own: its state also has a plain number, and its steps need an attribute."""

    def __init__(self, groups: Any) -> None:
        super().__init__(groups, momentum=0.9)
        self.scale = 0.5

    def step(self, closure: None = None) -> None:
        for parameter in (p for group in self.param_groups for p in group["params"]):
            parameter.grad *= self.scale
            self.state[parameter]["steps"] = self.state[parameter].get("steps", 0) + 1
        super().step(closure)


@pytest.mark.parametrize(
    "optimizer", [torch.optim.AdamW, lambda groups: torch.optim.Adam(groups, amsgrad=True), Scaled]
)
def test_a_run_with_an_optimizer_of_ones_own_is_resumed(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: Any
) -> None:
    new_state = train.new_state

    def heads_alone_first(*arguments: Any) -> TrainingState:
        state = new_state(*arguments)
        groups = ({"params": part.parameters()} for part in (state.model.heads, state.model.backbone.blocks[1:]))
        state.optimizer = optimizer(groups)
        return state

    monkeypatch.setattr(train, "new_state", heads_alone_first)
    assert_resuming_changes_nothing(prepared, tmp_path)


def test_a_resumed_run_with_dropout_is_that_of_an_uninterrupted_one(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drop(backbone: nn.Module, _: Any, output: tuple) -> tuple:
        return F.dropout(output[0], training=backbone.training), output[1]

    class Dropout(Localizer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.backbone.register_forward_hook(drop)

    monkeypatch.setattr(train, "Localizer", Dropout)
    assert_resuming_changes_nothing(prepared, tmp_path)


def test_a_run_is_resumed_with_its_own_settings(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run(*small(prepared, folder, "train.epochs=1")) == 0
    written = folder / "config.yaml"
    written.write_text(written.read_text().replace("data:\n", "data:\n  workers: 0\n", 1))  # of an earlier version
    line = ["--resume", "--work-dir", str(folder), "--device", "cpu", "--set", "train.epochs=2"]
    assert run(*line) == 0
    assert len(rows(folder)) == 2
    written.write_text(written.read_text().replace("width: 4", "width: 8"))
    with pytest.raises(UserError, match="config.yaml: was edited: model.width was 4 and is 8"):
        run(*line)


def test_a_checkpoint_alone_is_no_run_to_resume(trained: Path, tmp_path: Path) -> None:
    """Without config.yaml, the run would be compared with the default settings and the default split."""
    shutil.copy(trained / "last.pt", tmp_path)
    with pytest.raises(UserError, match=r"holds no run to resume: it has no config\.yaml; copy the whole folder"):
        run("--resume", "--work-dir", str(tmp_path))


def test_a_second_run_in_a_folder_is_refused_with_both_ways_out(trained: Path, prepared: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.iterdir()}
    with pytest.raises(UserError, match=r"--resume.*--work-dir"):
        run(*small(prepared, trained))
    assert {path: path.stat().st_mtime_ns for path in trained.iterdir()} == before
