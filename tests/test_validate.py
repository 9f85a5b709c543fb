"""Evaluation: the labels of both protocols, and the released code's weights through the entry point."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import ROOT, run

from evaluation.localization import CORRECTED, RELEASED, ground_truth
from feeders.label_policy import corrected_policy, used_labels
from model.localizer import Localizer
from utils import config
from utils.errors import UserError
from validate import Validation


def test_released_weights_are_evaluated(
    golden: Path, make_split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = golden / "model_state.pt"
    classes = len(torch.load(path, weights_only=True)["classifier_1.ac_center"]) - 1
    make_split(tuple("abcdefghijklmnopqrstuvwxyz"[:classes]), train=[20], val=[40, 33])
    data = ["--set", f"data.root={tmp_path}", "data.split=tiny"]
    layers = ["--config", str(ROOT / "config/released.yaml"), "--work-dir", str(tmp_path / "eval")]
    assert run(monkeypatch, "--phase", "test", "--weights", str(path), *layers, *data, pictures=True) == 0
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
def test_weights_that_do_not_fit_are_listed(
    golden: Path, make_split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, said: str
) -> None:
    state = torch.load(golden / "model_state.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "partial.pt")
    make_split(tuple("abcdefghij"[: len(state["classifier_1.ac_center"]) - 1]), train=[20], val=[40])
    data = ["--set", f"data.root={tmp_path}", "data.split=tiny"]
    with pytest.raises(UserError, match=rf"partial\.pt: these weights do not fit the network:\n  {said}"):
        run(monkeypatch, "--phase", "test", "--weights", str(tmp_path / "partial.pt"), *data)
