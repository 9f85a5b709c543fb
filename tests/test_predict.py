"""predict.py finds in recordings of every format what evaluation finds, and writes what was asked for."""

import csv
import subprocess
import sys
from pathlib import Path

import motions
import numpy as np
import pytest
import torch
from commands import ROOT
from predictions import ALL, CLASSES, checkpoint, contents, options, results, run

import predict
from evaluation import detections
from prepare.formats.amass import read_poses
from prepare.formats.flavours import SMPLH
from prepare.skeletons import recordings
from prepare.skeletons.body_joints import BodyJoints
from utils import config
from utils.store import Split
from validate import Validation


def test_all_formats_of_one_motion_are_predicted_alike(
    motion: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.progress.FIRST", 3600)  # seconds; no progress line on a busy machine
    before, out = contents(motion), tmp_path / "out"
    assert run(*options(motion, weights, out), "--features", pictures=True) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # no progress bar outside a terminal
    assert printed.out.startswith("5 of 5 recordings done")
    assert len(printed.out.splitlines()) == 1
    assert contents(motion) == before  # inputs are untouched
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    found = results(out)
    assert list(found) == ALL
    assert all(found.values())
    for name in ("b", "c", "d", "e:person1"):  # the same motion in other formats
        theirs, ours = found[name], found["takes/a_poses"]
        assert [s["label"] for s in theirs] == [s["label"] for s in ours]
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(one["segment"], other["segment"], atol=0.11)
            assert one["score"] == pytest.approx(other["score"], abs=0.01)
    assert min(s["segment"][0] for s in found["e:person2"]) >= 1.0  # appears after a second
    read_back = detections.read(out / "segments.json", ALL, CLASSES)  # as any detections file
    rows = list(csv.DictReader((out / "segments.csv").open()))
    assert len(read_back) == len(rows) == sum(map(len, found.values()))
    files = {path.name for path in (out / "e").iterdir()}
    each = {f"person{n}_{what}" for n in (1, 2) for what in ("time_line.png", "features.npy", "scores.npz")}
    assert files == each | {"segments.json", "segments.csv", "prediction.json"}
    assert np.load(out / "e" / "person2_scores.npz")["first"] == 30
    scores = np.load(out / "b" / "scores.npz")
    assert scores["frame_probs"].shape == (90, 5)
    assert (out / "b" / "time_line.png").read_bytes().startswith(b"\x89PNG")
    assert list(scores["classes"]) == [*CLASSES, "background"]
    assert np.load(out / "b" / "features.npy").shape == (90, 16)


@pytest.mark.parametrize("normalization", ["upright", "released"])
def test_predictions_equal_the_detections_of_evaluation(
    normalization: str, synthetic: Path, prepared: Path, tmp_path: Path
) -> None:
    travelling = [f"data.normalization={normalization}", "eval.min_video_score=0.4", "eval.thresholds=[0.15]"]
    path = checkpoint(tmp_path / "best.pt", *travelling)
    here = [f"data.root={prepared}", "model.width=4", "eval.batch_size=1", *travelling]
    settings = config.load([], here)
    split = Split.open(prepared, "split1")
    validation = Validation(split, settings, torch.device("cpu"))
    model, *_ = predict.load_trained(path)
    corrected, _ = validation.evaluate(model)
    clips = validation.clips
    files = [synthetic / "amass" / split.store.clips[sid].source["file"] for sid in clips.clip_ids]
    assert run(*files, "--weights", path, "--body", "synthetic", "--out", tmp_path / "out") == 0
    compared = 0
    for clip, file in enumerate(files):
        if len(read_poses(file, SMPLH)[1]) > clips.lengths[clip]:
            continue  # BABEL's rounded duration cuts off the last frame
        ours = detections.read(tmp_path / "out" / file.stem / "segments.json", [file.stem], split.classes)
        theirs = corrected.detections.of_clip(clip)
        rows = [np.column_stack([some.label, some.scores, some.segments]).tolist() for some in (ours, theirs)]
        assert sorted(rows[0]) == sorted(rows[1])
        compared += len(ours)
    assert compared > 3


@pytest.mark.parametrize(
    ("trained", "given", "used"),
    [("as-is", [], "as-is"), ("released", [], "released"), (None, [], "released"),
     (None, ["--hands", "as-is"], "as-is")],
)  # fmt: skip
def test_a_take_has_the_hands_of_the_training_data(
    motion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: str | None, given: list[str], used: str
) -> None:
    path = checkpoint(tmp_path / "best.pt", hands=trained)
    seen = []
    read = recordings.read_recording
    monkeypatch.setattr(recordings, "read_recording", lambda *given: seen.append(read(*given)) or seen[-1])
    take = motion / "takes" / "a_poses.npz"
    assert run(take, "--weights", path, "--out", tmp_path / "out", "--body", "synthetic", *given) == 0
    ((person,),) = seen
    expected = BodyJoints(motions.BODY, used)(motions.poses(3.0, seed=1))
    np.testing.assert_allclose(person.joints, expected, atol=1e-6)


def test_a_long_recording_is_scored_in_windows_as_long_as_the_longest_training_clip_or_as_asked(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poses = motions.poses(12.0, seed=3)
    np.save(tmp_path / "long.npy", motions.joints_of(np.concatenate([poses] * 4)))  # 1440 frames
    seen = []
    original = predict.network_input
    monkeypatch.setattr(predict, "network_input", lambda part, how: seen.append(len(part)) or original(part, how))
    arguments = [tmp_path / "long.npy", "--weights", weights, "--fps", 30, "--out", tmp_path / "out", "--features"]
    assert run(*arguments) == 0
    assert max(seen) <= 1000
    assert len(seen) == 2
    ends = [s["segment"][1] for s in results(tmp_path / "out")["long"]]
    assert 1000 / 30 < max(ends) <= 48
    assert len(np.load(tmp_path / "out" / "long" / "features.npy")) == 1440
    seen.clear()
    assert run(*arguments, "--window", 200) == 0
    assert max(seen) <= 200
    assert len(seen) > 7


def test_bfloat16_scores_are_near_those_of_float32(motion: Path, weights: Path, tmp_path: Path) -> None:
    arguments = [motion / "b.npy", "--fps", 30, "--weights", weights, "--out", tmp_path / "out", "--features"]
    found = []
    for precision in ("float32", "bfloat16"):
        assert run(*arguments, "--precision", precision) == 0
        found.append(np.load(tmp_path / "out" / "b" / "scores.npz")["frame_probs"])
    assert 0 < np.abs(found[0] - found[1]).max() < 0.01


def test_an_animation_is_written_when_asked_for(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    original = predict.animation.animate
    monkeypatch.setattr(predict.animation, "animate", lambda *given: asked.append(given) or original(*given))
    arguments = [motion / "e.skeleton", "--weights", weights, "--out", tmp_path, "--animate", "gif"]
    assert run(*arguments) == 0
    for n, frames in ((1, 90), (2, 60)):
        assert (tmp_path / "e" / f"person{n}_animation.gif").read_bytes().startswith(b"GIF8")
        path, joints, labels, title, *_ = asked[n - 1]
        assert (len(joints), len(labels), title) == (frames, frames, f"e:person{n}")
        assert any(label.split()[0] in CLASSES for label in labels if label)


MEASURED = """
import resource, sys, predict
sys.argv = ["predict.py", *sys.argv[1:]]
status = predict.main()
print("peak MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(status)
"""


@pytest.mark.slow
def test_memory_grows_with_a_recording_only_by_its_joints_and_scores(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "best.pt", "model.width=16")
    poses = motions.joints_of(motions.poses(20.0))
    peaks = []
    for name, times in (("short", 2), ("long", 100)):  # 60,000 frames take 720 MiB as one clip
        np.save(tmp_path / f"{name}.npy", np.concatenate([poses] * times))
        arguments = [tmp_path / f"{name}.npy", "--weights", path, "--fps", 30, "--out", tmp_path / name, "--features"]
        command = [sys.executable, "-c", MEASURED, *map(str, arguments), "--device", "cpu"]
        outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert outcome.returncode == 0, outcome.stderr
        peaks.append(int(outcome.stdout.split("peak MiB ")[1]))
    assert peaks[1] - peaks[0] < 120, peaks


def test_the_command_does_not_load_preparation_or_the_synthetic_body() -> None:
    code = "import sys, predict; print([name for name in sys.modules if name.startswith('prepare.')])"
    outcome = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "prepare.formats.body_model" in outcome.stdout
    for name in ("prepare.build", "prepare.store", "prepare.synthetic"):
        assert name not in outcome.stdout
