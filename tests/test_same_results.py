"""A change of the code that should not change results does not change them: a short training on real motion."""

import json
from pathlib import Path

import pytest
from runs import ROOT, command, finish, rows

from prepare.build import build

LOSSES = (1.9557436744460743, 3.3952911344375236, 3.2612268925848737)
MAP = 17.153642720313545


@pytest.mark.slow
def test_three_epochs_on_real_motion_have_the_losses_and_the_map_of_earlier_versions(
    real_mocap: Path, tmp_path: Path
) -> None:
    """In float64, with refinement from the second epoch on. A change that alters results gives these figures anew."""
    actions = json.loads((real_mocap / "actions.json").read_text())
    build(
        real_mocap / "amass",
        real_mocap / "babel_v1.0_release",
        "synthetic",
        tmp_path,
        {"real": sorted(actions, key=actions.get)},
    )
    settings = ["model.width=8", "train.precision=float64", "train.epochs=3", "refine.start=1", "refine.history=2"]
    data = [f"data.root={tmp_path}", "data.split=real", "eval.every=3"]
    config = ["--config", str(ROOT / "config" / "screening.yaml"), "--device", "cpu"]
    finish(command(*config, "--work-dir", str(tmp_path / "run"), "--set", *data, *settings))
    found = rows(tmp_path / "run")
    assert [row["loss"]["total"] for row in found] == pytest.approx(LOSSES, rel=1e-9)
    assert found[-1]["corrected"]["mAP"] == pytest.approx(MAP, abs=1e-6)
