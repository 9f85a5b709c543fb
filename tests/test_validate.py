"""Evaluation of a checkpoint by the real entry point, the labels of both protocols, and the released code's weights."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from runs import ROOT, run

import validate
from evaluation.localization import CORRECTED, RELEASED, ground_truth
from feeders.dataset import SkeletonClips
from feeders.label_policy import corrected_policy, used_labels
from model.checkpoint import load_checkpoint
from model.localizer import Localizer
from utils import config, distributed
from utils.errors import UserError
from utils.files import sha256
from utils.lock import lock_folder
from validate import Validation


def test_evaluating_a_checkpoint_gives_the_figures_of_its_epoch(
    trained: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    test = ["--phase", "test", "--weights", str(tmp_path / "run" / "last.pt"), "--set", f"data.root={prepared}"]
    for _ in range(2):  # refuses nothing; these settings travel with the checkpoint
        assert run(*test, "data.normalization=released", "data.frame_step=3", "model.width=64") == 0
    said = capsys.readouterr().out
    overruled = "data.normalization was 'released' and is 'upright'; data.frame_step was 3 and is 1; model.width was 64"
    assert f"settings of its training replace those given: {overruled} and is 4\n" in said
    assert "not evaluated as in its training" not in said
    assert "whole-clip baseline, corrected" in said
    assert "model, released evaluation" in said
    before, after = (json.loads((tmp_path / p / "results.json").read_text()) for p in ("run", "run/eval"))
    assert after["corrected"] == before["corrected"]
    assert after["released"] == before["released"]
    assert run(*test, "eval.outer_weight=0.5", "eval.batch_size=3") == 0
    assert "not evaluated as in its training: eval.outer_weight was 0.6 and is 0.5. To use" in capsys.readouterr().out


def test_another_body_model_is_refused_and_other_hands_are_told(
    trained: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    checkpoint = load_checkpoint(trained / "best.pt")
    test = ["--phase", "test", "--weights", str(tmp_path / "best.pt"), "--set", f"data.root={prepared}"]
    torch.save({**checkpoint, "skeletons": {"model": "SMPL-X", "hands": "as-is"}}, tmp_path / "best.pt")
    with pytest.raises(UserError, match=r"was trained on skeletons of SMPL-X, \S+split1 has SMPL-H; use the same body"):
        run(*test)
    earlier = {name: entry for name, entry in checkpoint.items() if name != "skeletons"}
    for other in ({**checkpoint, "skeletons": {"model": "SMPL-H", "hands": "released"}}, earlier):
        torch.save(other, tmp_path / "best.pt")
        assert run(*test) == 0
        assert "was trained with hands released" in capsys.readouterr().out


def test_memory_that_runs_out_in_an_evaluation_is_one_message(
    trained: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = ["--phase", "test", "--weights", str(trained / "best.pt"), "--work-dir", str(tmp_path / "eval")]
    monkeypatch.setattr(Localizer, "forward", Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(UserError, match=r"^out of memory \(CUDA out of memory\); set a smaller eval\.batch_size$"):
        run(*test, "--set", f"data.root={prepared}")


def test_an_evaluation_that_is_stopped_leaves_no_results_and_can_be_repeated(
    trained: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = ["--phase", "test", "--weights", str(shutil.copy(trained / "best.pt", tmp_path))]
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "results.json").write_text("of an earlier evaluation")
    with monkeypatch.context() as patch:
        patch.setattr(validate, "report_html", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(*test, "--set", f"data.root={prepared}")
    assert not (tmp_path / "eval" / "results.json").exists()
    with lock_folder(tmp_path / "eval", "evaluation", ""), pytest.raises(UserError, match="another evaluation"):
        run(*test, "--set", f"data.root={prepared}")
    assert run(*test, "--set", f"data.root={prepared}") == 0
    assert (tmp_path / "eval" / "results.json").exists()


def test_a_class_that_no_held_out_clip_has_does_not_count(make_split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = SkeletonClips(make_split(train=[9, 9]), "train", config.load().data)
    clips.video_labels = np.array([[True, False], [False, False]])
    scores = {0: (None, np.array([0.2, 0.5, 0.9])), 1: (None, np.array([0.4, 0.5, 0.9]))}
    monkeypatch.setattr(validate, "gather_scores", lambda *_: scores)
    assert validate.video_label_score(None, clips, None, None) == pytest.approx(50)


def test_the_digest_of_an_evaluation_is_that_of_the_weights_that_were_read(
    trained: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, digest = shutil.copy(trained / "last.pt", tmp_path / "last.pt"), sha256(trained / "last.pt")
    test = ["--phase", "test", "--weights", str(weights), "--set", f"data.root={prepared}"]

    def replace_weights(function: str) -> None:
        original = getattr(validate, function)

        def replaced(*arguments: Any) -> Any:
            result = original(*arguments)
            shutil.copy(trained / "best.pt", weights)
            return result

        monkeypatch.setattr(validate, function, replaced)

    replace_weights("gather_scores")
    assert run(*test) == 0
    assert json.loads((tmp_path / "eval" / "results.json").read_text())["weights_sha256"] == digest
    shutil.copy(trained / "last.pt", weights)
    replace_weights("load_localizer")
    with pytest.raises(UserError, match=r"last\.pt: was replaced while it was read"):
        run(*test)


def test_ranks_with_different_data_are_refused(make_split, monkeypatch: pytest.MonkeyPatch) -> None:
    split = make_split(train=[20], val=[40, 33])
    monkeypatch.setattr(distributed, "gather", lambda own: [own, ("of another", "rank")])
    with pytest.raises(UserError, match="tiny: is not the same on all machines"):
        Validation(split, config.load(), torch.device("cpu"))


def test_an_evaluation_never_overwrites_results(trained: Path, prepared: Path) -> None:
    before = (trained / "results.json").read_bytes()
    test = ["--phase", "test", "--weights", str(trained / "best.pt"), "--work-dir", str(trained)]
    with pytest.raises(UserError, match=r"already holds a results\.json.*--work-dir, or leave it out"):
        run(*test, "--set", f"data.root={prepared}")
    assert (trained / "results.json").read_bytes() == before


def test_released_weights_are_evaluated(golden: Path, make_split, tmp_path: Path) -> None:
    path = golden / "model_state.pt"
    classes = len(torch.load(path, weights_only=True)["classifier_1.ac_center"]) - 1
    make_split(tuple("abcdefghijklmnopqrstuvwxyz"[:classes]), train=[20], val=[40, 33])
    data = ["--set", f"data.root={tmp_path}", "data.split=tiny"]
    layers = ["--config", str(ROOT / "config/released.yaml"), "--work-dir", str(tmp_path / "eval")]
    assert run("--phase", "test", "--weights", str(path), *layers, *data, pictures=True) == 0
    results = json.loads((tmp_path / "eval" / "results.json").read_text())
    assert results["weights"] == str(path)
    assert results["settings"]["data"]["normalization"] == "released"


def test_the_released_evaluation_has_the_labels_of_the_settings(make_split) -> None:
    split = make_split(train=[20], val=[40, 33], gaps=True)
    settings = config.load([ROOT / "config/released.yaml"], ["model.width=4"])
    model = Localizer(len(split.classes), settings.model)
    validation = Validation(split, settings, torch.device("cpu"))
    corrected, released = validation.evaluate(model)
    for evaluation, protocol, data in (
        (corrected, CORRECTED, corrected_policy(settings.data)),
        (released, RELEASED, settings.data),
    ):
        used = [used_labels(split.labels(sid), split.annotated(sid), data) for sid in split.clip_ids("val")]
        truth = ground_truth(used, protocol)
        assert np.array_equal(evaluation.truth.segments, truth.segments)
        assert np.array_equal(evaluation.truth.label, truth.label)
    assert len(corrected.truth) != len(released.truth)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("l3.gcn1.PA"), "missing l3.gcn1.PA"),
        (lambda state: state.update(extra=torch.zeros(1)), "unknown extra"),
        (
            lambda state: state.update({"l1.gcn1.PA": torch.zeros(3, 9, 9)}),
            r"l1\.gcn1\.PA has shape \(3, 9, 9\), expected",
        ),
    ],
)
def test_weights_that_do_not_fit_are_listed(golden: Path, make_split, tmp_path: Path, change: Any, said: str) -> None:
    state = torch.load(golden / "model_state.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "partial.pt")
    make_split(tuple("abcdefghij"[: len(state["classifier_1.ac_center"]) - 1]), train=[20], val=[40])
    data = ["--set", f"data.root={tmp_path}", "data.split=tiny"]
    with pytest.raises(UserError, match=rf"partial\.pt: its tensors do not fit the network:\n  {said}"):
        run("--phase", "test", "--weights", str(tmp_path / "partial.pt"), *data)
