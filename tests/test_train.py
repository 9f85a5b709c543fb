"""The one loop, by its real entry point: trained, evaluated, refused. tests/test_resume.py stops and resumes it."""

import itertools
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any
from unittest.mock import ANY, Mock

import numpy as np
import pytest
import torch
from runs import ROOT, command, equal, rows, run, scalars, small
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import arguments
import train
from feeders.dataset import SkeletonClips
from model.checkpoint import load_checkpoint
from model.localizer import Localizer, Output
from model.refinement import PseudoLabels
from utils import config
from utils.errors import UserError
from utils.store import Split
from validate import PICTURED


def test_a_run_leaves_all_that_the_readme_names(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names >= {"config.yaml", "metrics.jsonl", "last.pt", "best.pt", "results.json", "detections.json"}
    for name in ("time_line.png", "diagnosis.png"):
        assert (trained / name).read_bytes().startswith(b"\x89PNG")
    assert (trained / "report.html").read_text().startswith("<!DOCTYPE html>")
    diagnosis = json.loads((trained / "diagnosis.json").read_text())
    results = json.loads((trained / "results.json").read_text())
    assert set(results) >= {"about", "corrected", "released", "oracle_epoch", "store", "commit", "versions"}
    assert results["corrected"]["whole_clip_baseline"]["mAP"] > 0
    assert diagnosis["mAP"] == pytest.approx(results["corrected"]["mAP_at_tIoU"]["0.5"])
    assert config.load([trained / "config.yaml"]).model_dump() == results["settings"]
    last = rows(trained)[-1]
    assert last["epoch"] == 3
    assert last["corrected"]["mAP"] == pytest.approx(results["corrected"]["mAP"])
    assert ["pseudo_label" in row["loss"] for row in rows(trained)] == [False, True, True]  # refine.start=1
    assert set(last["loss"]) == {"total", "mil", "multi_view", "pseudo_label"}
    assert results["skeletons"] == {"model": "SMPL-H", "hands": "as-is"}
    adam = load_checkpoint(trained / "last.pt")["optimizer"]["param_groups"][0]
    assert (adam["lr"], adam["weight_decay"]) == (0.001, 0.0001)


def test_tensorboard_shows_each_epoch_once(trained: Path) -> None:
    found = scalars(trained)
    assert {"loss/total", "loss/mil", "learning_rate", "corrected/mAP", "released/mAP", "corrected/AP/walk"} <= set(
        found
    )
    assert [step for step, _ in found["loss/total"]] == [1, 2, 3]
    board = EventAccumulator(str(trained), size_guidance={"images": 0, "histograms": 0}).Reload()
    clips = {tag.removeprefix("time_line/") for tag in board.Tags()["images"] if tag != "confusion"}
    assert 1 < len(clips) <= PICTURED
    assert clips <= set(json.loads((trained / "detections.json").read_text())["results"])
    for tag in board.Tags()["images"]:
        assert [event.step for event in board.Images(tag)] == [1, 2, 3]
    assert [event.step for event in board.Histograms("pseudo-label confidence")] == [1, 2, 3]
    assert "precision_recall/walk" in board.Tags()["tensors"]


def test_the_best_epoch_is_the_one_that_best_pt_holds(trained: Path) -> None:
    best = max(rows(trained), key=lambda row: row["corrected"]["mAP"])
    assert load_checkpoint(trained / "best.pt")["epoch"] == best["epoch"] - 1
    assert json.loads((trained / "results.json").read_text())["oracle_epoch"]["epoch"] == best["epoch"]


def test_the_history_has_the_scores_of_the_first_view(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, added = [], []
    forward, add = Localizer.forward, PseudoLabels.add

    def seen(model: Localizer, *batch: torch.Tensor) -> Output:
        output = forward(model, *batch)
        if model.training:
            views.append(output.views)
        return output

    monkeypatch.setattr(Localizer, "forward", seen)
    monkeypatch.setattr(PseudoLabels, "add", lambda self, index, probs: added.append(probs) or add(self, index, probs))
    assert run(*small(prepared, tmp_path / "run", "train.epochs=1")) == 0
    for (first, second), probs in zip(views, added, strict=True):
        assert torch.equal(probs, first.frame_probs)
        assert not torch.equal(probs, second.frame_probs)


def test_the_graph_of_a_step_is_gone_before_the_next_step(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a batch with two people, which is not captured, would make CUDA refuse to capture the next batch."""
    forward, alive, last = Localizer.forward, [], []

    def seen(model: Localizer, *batch: torch.Tensor) -> Output:
        output = forward(model, *batch)
        if model.training:
            alive.extend(reference() is not None for reference in last)
            last[:] = [weakref.ref(output.features)]
        return output

    monkeypatch.setattr(Localizer, "forward", seen)
    assert run(*small(prepared, tmp_path / "run", "train.epochs=1")) == 0
    assert alive
    assert not any(alive)


def test_held_out_clips_choose_by_video_labels_alone(prepared: Path, tmp_path: Path) -> None:
    run(*small(prepared, tmp_path / "run", "data.holdout=0.3", "eval.every=3"))
    best = max(rows(tmp_path / "run"), key=lambda row: row["held_out_classification_mAP"])
    assert load_checkpoint(tmp_path / "run" / "best.pt")["epoch"] == best["epoch"] - 1
    assert ["corrected" in row for row in rows(tmp_path / "run")] == [False, False, True]


@pytest.mark.parametrize(
    "layers", [pytest.param([], marks=pytest.mark.slow), ["config/best.yaml"]], ids=["default", "best"]
)
def test_no_frame_label_of_a_training_clip_is_read(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: list[str]
) -> None:
    honest = Split.labels

    def scrambled(split: Split, sid: str) -> np.ndarray:
        labels = honest(split, sid)
        if sid not in split.clip_ids("train"):
            return labels
        return np.random.default_rng(len(labels)).permutation(labels)

    ends = []
    for name, labels in {"honest": honest, "scrambled": scrambled}.items():
        monkeypatch.setattr(Split, "labels", labels)
        config = ["--config", *(str(ROOT / layer) for layer in layers)] if layers else []
        assert run(*small(prepared, tmp_path / name, "train.epochs=2", "eval.every=2"), *config) == 0
        ends.append(load_checkpoint(tmp_path / name / "last.pt"))
    assert equal(*ends)


def test_the_supervised_bound_learns_from_frame_labels_from_the_first_epoch_on(
    trained: Path, prepared: Path, tmp_path: Path
) -> None:
    settings = ("train.supervised=true", "train.epochs=2", "eval.every=2")
    assert run(*small(prepared, tmp_path / "run", *settings)) == 0
    losses = [row["loss"]["pseudo_label"] for row in rows(tmp_path / "run")]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    assert ["pseudo_label" in row["loss"] for row in rows(trained)] == [False, True, True]


def test_a_loss_that_is_not_finite_stops_with_the_clips_and_keeps_the_last_good_epoch(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, calls = train.objective, []

    def failing(*arguments: Any) -> dict[str, torch.Tensor]:
        calls.append(arguments)
        terms = honest(*arguments)
        return terms if len(calls) < 5 else {**terms, "total": terms["total"] * torch.nan}

    monkeypatch.setattr(train, "objective", failing)
    with pytest.raises(
        UserError, match=r"the loss is not finite \(total nan.*\) on clips .*last good epoch is kept"
    ) as e:
        run(*small(prepared, tmp_path / "run"))
    named = str(e.value).split("on clips ")[1].split(". The last")[0].split(", ")
    assert set(named) <= set(Split.open(prepared, "split1").clip_ids("train"))
    assert load_checkpoint(tmp_path / "run" / "last.pt")["epoch"] >= 0


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_comes_through_the_entry_point(path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere holds no split.*make it with `bash prepare/"):
        run("--config", str(path), "--set", "data.root=nowhere")


def test_a_second_config_option_adds_files_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [str(ROOT / "config" / name) for name in ("train_split2.yaml", "released.yaml")]
    monkeypatch.setattr(sys, "argv", ["train.py", "--config", files[0], "--config", files[1]])
    settings = arguments.train("")[1]
    assert settings.data.split == "split2"
    assert not settings.model.mask_padding


def test_a_requeued_job_may_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    """cluster/train.sbatch then adds --resume-or-start, whatever the job does."""
    monkeypatch.setattr(sys, "argv", ["train.py", "--phase", "test", "--weights", "last.pt", "--resume-or-start"])
    assert arguments.train("")[0].phase == "test"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--phase", "test"], "--phase test needs --weights FILE"),
        (["--weights", "LAST"], "--weights is for --phase test; a training starts from random weights"),
        (
            ["--phase", "test", "--weights", "LAST", "--resume", "--work-dir", "nowhere"],
            "--phase test has nothing to resume; leave out --resume",
        ),
        (["--phase", "test", "--weights", "nowhere.pt"], "nowhere.pt: no such file"),
        (["--phase", "test", "--weights", "."], ".: is a folder; expected a checkpoint"),
        (
            ["--phase", "test", "--weights", "LAST", "--set", "data.split=split2"],
            "was trained for walk, stand, turn, jump",
        ),
        (["--set", "data.split=split9"], "holds no split 'split9' .did you mean 'split"),
        (["--set", "data.max_frames=2"], r"and at most 2 frames \(data\.max_frames\)"),
        (["--device", "cuda:99"], "expected cpu, cuda or cuda:N"),
        (["--device", "meta"], "this project does not use such devices; expected cpu, cuda or cuda:N"),
        (["--resume", "--work-dir", "nowhere"], "holds no run to resume"),
    ],
)
def test_a_mistake_is_one_clear_message(trained: Path, prepared: Path, arguments: list[str], said: str) -> None:
    arguments = [str(trained / "last.pt") if argument == "LAST" else argument for argument in arguments]
    with pytest.raises(UserError, match=said):
        run(*arguments, "--set", f"data.root={prepared}")


@pytest.mark.parametrize("more", [[], ["--phase", "test", "--weights", "last.pt"]])
def test_a_work_dir_that_is_a_file_is_refused_at_once(capsys: pytest.CaptureFixture, more: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("--work-dir", "train.py", *more)
    assert "argument --work-dir: train.py: expected a folder, this is a file" in capsys.readouterr().err


def test_a_mistake_ends_the_command_without_a_traceback() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    outcome = subprocess.run(
        command("--set", "train.epoch=3"), capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert outcome.returncode == 2
    assert outcome.stderr.startswith(
        "error: --set train.epoch=3: unknown setting 'train.epoch'; did you mean 'train.epochs'"
    )
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("mirror", [0.0, 0.5])
def test_mirror_images_of_pieces_are_compared_if_clips_are_mirrored(
    make_split: Any, monkeypatch: pytest.MonkeyPatch, mirror: float
) -> None:
    settings = config.load(assignments=["refine.change_penalty=2", "refine.neighbours=3", f"data.mirror={mirror}"])
    find_pieces = Mock(return_value=None)
    monkeypatch.setattr(train, "find_pieces", find_pieces)
    train.make_pseudo_labels(SkeletonClips(make_split(train=[9]), "train", settings.data), settings)
    find_pieces.assert_called_once_with(ANY, 2.0, 3, mirrored=mirror > 0)


def test_a_cosine_schedule_falls_from_the_whole_rate_to_nearly_nothing() -> None:
    settings = config.load(assignments=["train.schedule=cosine", "train.epochs=50"]).train
    rates = [train.learning_rate(settings, epoch) for epoch in range(50)]
    assert rates[0] == settings.learning_rate
    assert rates[25] == pytest.approx(settings.learning_rate / 2)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))
    assert 0 < rates[-1] < 0.01 * rates[0]
    assert {train.learning_rate(config.load().train, epoch) for epoch in range(50)} == {settings.learning_rate}
