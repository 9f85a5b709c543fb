"""predict.py as a command: its files, its messages, repeated runs, and its exit status."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import motions
import numpy as np
import pytest
import runs
import torch

import predict
from evaluation import detections
from model.localizer import Localizer
from prepare.formats.amass import read_poses
from prepare.skeletons import recordings
from prepare.skeletons.body_joints import BodyJoints
from reporting import player
from tests.reporting.test_player import player_of
from utils import config
from utils.errors import run_command
from utils.lock import lock_folder
from utils.run import FORMAT, write_checkpoint
from utils.store import Split
from validate import Validation

CLASSES = ("walk", "stand", "turn", "jump")


def checkpoint(path: Path, *assignments: str, hands: str | None = "as-is") -> Path:
    """A checkpoint of a small random network, which finds something everywhere. hands: of its training data."""
    torch.manual_seed(0)
    settings = config.load([], ["model.width=4", *assignments])
    model = Localizer(len(CLASSES), settings.model)
    weights = {"model": model.state_dict(), "classes": list(CLASSES), "settings": settings.model_dump()}
    if hands:
        weights["skeletons"] = {"model": "SMPL-H", "hands": hands}
    write_checkpoint(path, {"format": FORMAT, **weights})
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("weights") / "best.pt")


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five recordings, one of each format; the last has two people."""
    folder = tmp_path_factory.mktemp("motion")
    poses = motions.poses(3.0, seed=1)
    joints = motions.joints_of(poses)
    (folder / "takes").mkdir()
    np.savez(folder / "takes" / "a_poses.npz", poses=poses, mocap_framerate=30.0)
    np.save(folder / "b.npy", joints)
    np.savez(folder / "c.npz", joints=joints, fps=30)
    motions.write_body_bvh(folder / "d.bvh", poses)
    bodies = {"1": (list(range(90)), joints), "2": (list(range(30, 90)), joints[30:])}
    motions.write_ntu(folder / "e.skeleton", 90, bodies)
    motions.write_smplh_map(folder / "map.yaml")
    return folder


ALL = ["b", "c", "d", "e:person1", "e:person2", "takes/a_poses"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The command's exit status."""
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments), "--device", "cpu"])
    with pytest.raises(SystemExit) as end:
        run_command(predict.main)
    return end.value.code


def options(motion: Path, weights: Path, out: Path) -> list[object]:
    more = ["--body", "synthetic", "--fps", 30, "--joint-map", motion / "map.yaml"]
    return [motion, "--weights", weights, "--out", out, *more]


def results(folder: Path) -> dict[str, list]:
    return json.loads((folder / "segments.json").read_text())["results"]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_all_formats_of_one_motion_are_predicted_alike(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    before, out = contents(motion), tmp_path / "out"
    assert run(monkeypatch, *options(motion, weights, out), "--features") == 0
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
    scores = np.load(out / "b" / "scores.npz")
    assert scores["frame_probs"].shape == (90, 5)
    assert list(scores["classes"]) == [*CLASSES, "background"]
    assert np.load(out / "b" / "features.npy").shape == (90, 16)


@pytest.mark.parametrize("normalization", ["upright", "released"])
def test_predictions_equal_the_detections_of_evaluation(
    normalization: str, synthetic: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    travelling = [f"data.normalization={normalization}", "eval.min_video_score=0.4", "eval.thresholds=[0.15]"]
    path = checkpoint(tmp_path / "best.pt", *travelling)
    here = [f"data.root={prepared}", "model.width=4", "eval.batch_size=1", *travelling]
    settings = config.load([], here)
    split = Split.open(prepared, "split1")
    validation = Validation(split, settings, torch.device("cpu"))
    model, *_ = predict.load_trained(path)
    corrected, _ = validation.evaluate(model)
    clips = validation.corrected
    files = [synthetic / "amass" / split.store.clips[sid].source["file"] for sid in clips.clip_ids]
    assert run(monkeypatch, *files, "--weights", path, "--body", "synthetic", "--out", tmp_path / "out") == 0
    compared = 0
    for clip, file in enumerate(files):
        if len(read_poses(file)[1]) > clips.lengths[clip]:
            continue  # BABEL's rounded duration cuts off the last frame
        ours = detections.read(tmp_path / "out" / file.stem / "segments.json", [file.stem], split.classes)
        theirs = corrected.detections.of_clip(clip)
        for part in ("label", "segments", "scores"):
            np.testing.assert_array_equal(np.sort(getattr(ours, part), axis=0), np.sort(getattr(theirs, part), axis=0))
        compared += len(ours)
    assert compared > 3


@pytest.mark.parametrize(
    ("trained", "given", "used"),
    [
        ("as-is", [], "as-is"),
        ("released", [], "released"),
        (None, [], "released"),
        (None, ["--hands", "as-is"], "as-is"),
    ],
)
def test_a_take_has_the_hands_of_the_training_data(
    motion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: str | None, given: list[str], used: str
) -> None:
    path = checkpoint(tmp_path / "best.pt", hands=trained)
    seen = []
    read = recordings.read_recording
    monkeypatch.setattr(recordings, "read_recording", lambda *given: seen.append(read(*given)) or seen[-1])
    take = motion / "takes" / "a_poses.npz"
    assert run(monkeypatch, take, "--weights", path, "--out", tmp_path / "out", "--body", "synthetic", *given) == 0
    ((person,),) = seen
    expected = BodyJoints(motions.BODY, used)(motions.poses(3.0, seed=1))
    np.testing.assert_allclose(person.joints, expected, atol=1e-6)


def test_a_second_run_processes_only_what_changed(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    mine, out = shutil.copytree(motion, tmp_path / "in"), tmp_path / "out"
    made = []
    original = predict.predict
    monkeypatch.setattr(predict, "predict", lambda p, name, *rest: made.append(name) or original(p, name, *rest))
    arguments = options(mine, weights, out)

    def again(*more: object) -> list[str]:
        made.clear()
        assert run(monkeypatch, *arguments, *more) == 0
        return list(made)

    assert len(again()) == 5
    before, first = contents(out), results(out)
    capsys.readouterr()
    assert again() == []
    assert "5 of 5 recordings done (5 of them before)" in capsys.readouterr().out
    assert {name: now[0] for name, now in contents(out).items()} == {name: then[0] for name, then in before.items()}
    np.save(mine / "b.npy", motions.joints_of(motions.poses(2.0, seed=5)))
    (out / "c" / "time_line.png").unlink()
    assert again() == ["b", "c"]
    assert results(out)["c"] == first["c"]
    assert results(out)["b"] != first["b"]
    assert again("--person", "1") == ["b", "c", "d", "e", "takes/a_poses"]
    assert {path.name for path in (out / "e").glob("*.png")} == {"time_line.png"}
    assert "e" in results(out)


def test_a_damaged_recording_is_reported_and_the_others_are_processed(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    mine, out = tmp_path / "in", tmp_path / "out"
    mine.mkdir()
    joints = np.load(motion / "b.npy")
    np.save(mine / "good.npy", joints)
    np.save(mine / "giant.npy", joints * 100)
    (mine / "cut.bvh").write_text("HIERARCHY\nROOT Hips\n")
    (mine / "caf\udce9 $x$.npz").write_bytes(b"PK")
    (mine / "empty.skeleton").touch()
    arguments = [mine, "--weights", weights, "--out", out, "--fps", 30]
    assert run(monkeypatch, *arguments) == 1
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 4
    assert "1 of 5 recordings done" in printed.out
    assert "4 failed" in printed.out
    failed = {row["recording"]: row["reason"] for row in csv.DictReader((out / "failed.csv").open())}
    assert set(failed) == {"giant", "cut", "caf\\udce9 $x$", "empty"}
    assert "--scale 0.01" in failed["giant"]
    assert list(results(out)) == ["good"]
    for name in ("cut.bvh", "caf\udce9 $x$.npz", "empty.skeleton"):
        (mine / name).unlink()
    np.save(mine / "giant.npy", joints)
    assert run(monkeypatch, *arguments) == 0
    assert list(results(out)) == ["giant", "good"]
    assert (out / "failed.csv").read_text() == "recording,reason,file\n"


def test_a_long_recording_is_scored_in_windows_as_long_as_the_longest_training_clip_or_as_asked(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poses = motions.poses(12.0, seed=3)
    np.save(tmp_path / "long.npy", motions.joints_of(np.concatenate([poses] * 4)))  # 1440 frames
    seen = []
    original = predict.network_input
    monkeypatch.setattr(predict, "network_input", lambda part, how: seen.append(len(part)) or original(part, how))
    arguments = [tmp_path / "long.npy", "--weights", weights, "--fps", 30, "--out", tmp_path / "out", "--features"]
    assert run(monkeypatch, *arguments) == 0
    assert max(seen) <= 1000
    assert len(seen) == 2
    ends = [s["segment"][1] for s in results(tmp_path / "out")["long"]]
    assert 1000 / 30 < max(ends) <= 48
    assert len(np.load(tmp_path / "out" / "long" / "features.npy")) == 1440
    seen.clear()
    assert run(monkeypatch, *arguments, "--window", 200) == 0
    assert max(seen) <= 200
    assert len(seen) > 7


def test_bfloat16_scores_are_near_those_of_float32(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [motion / "b.npy", "--fps", 30, "--weights", weights, "--out", tmp_path / "out", "--features"]
    found = []
    for precision in ("float32", "bfloat16"):
        assert run(monkeypatch, *arguments, "--precision", precision) == 0
        found.append(np.load(tmp_path / "out" / "b" / "scores.npz")["frame_probs"])
    assert 0 < np.abs(found[0] - found[1]).max() < 0.01


def test_an_animation_is_written_when_asked_for(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    original = predict.animation.animate
    monkeypatch.setattr(predict.animation, "animate", lambda *given: asked.append(given) or original(*given))
    arguments = [motion / "e.skeleton", "--weights", weights, "--out", tmp_path, "--animate", "gif"]
    assert run(monkeypatch, *arguments) == 0
    for n, frames in ((1, 90), (2, 60)):
        assert (tmp_path / "e" / f"person{n}_animation.gif").read_bytes().startswith(b"GIF8")
        path, joints, labels, title, *_ = asked[n - 1]
        assert (len(joints), len(labels), title) == (frames, frames, f"e:person{n}")
        assert any(label.split()[0] in CLASSES for label in labels if label)


def test_a_page_shows_all_recordings_also_those_that_were_done_before(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--weights", weights, "--fps", 30, "--out", tmp_path, "--page"]
    given = [motion / "b.npy", motion / "e.skeleton", *more]
    assert run(monkeypatch, *given) == 0
    data = player_of((tmp_path / "player.html").read_text(encoding="utf-8"))
    assert [clip["name"] for clip in data["clips"]] == ["b", "e:person1", "e:person2"]
    assert [(clip["first"], clip["frames"]) for clip in data["clips"]] == [(0, 90), (0, 90), (30, 60)]
    assert [len(clip["found"][0]) for clip in data["clips"]] == [len(found) for found in results(tmp_path).values()]
    assert (data["truth"], data["classes"]) == (False, list(CLASSES))
    monkeypatch.setattr(player, "PAGE_BYTES", 1)
    assert run(monkeypatch, *given) == 0
    said = capsys.readouterr().out
    assert "2 of them before" in said
    assert "player.html, which shows 1 of 3 clips" in said
    assert len(player_of((tmp_path / "player.html").read_text(encoding="utf-8"))["clips"]) == 1


def test_ctrl_c_keeps_finished_recordings_and_ends_with_130(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    arguments = options(motion, weights, tmp_path / "out")
    with monkeypatch.context() as patch:
        original = recordings._READERS[".bvh"]

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setitem(recordings._READERS, ".bvh", stop)
        assert run(patch, *arguments) == 130
        assert original is not stop
    assert capsys.readouterr().err == "\nstopped\n"
    assert list(results(tmp_path / "out")) == ["b", "c"]
    assert run(monkeypatch, *arguments) == 0
    assert "(2 of them before)" in capsys.readouterr().out
    assert list(results(tmp_path / "out")) == ALL


def test_a_full_disk_gives_one_message(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("utils.atomic.sync", full)
    assert run(monkeypatch, *options(motion, weights, tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert "time_line.png: No space left on device" in error
    assert "Traceback" not in error
    assert not list(tmp_path.rglob("*.tmp"))


def test_several_commands_make_one_set_and_each_recording_keeps_its_name(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    joints, out = np.load(motion / "b.npy"), tmp_path / "out"
    for place, part in {"one": joints, "two": joints[:60]}.items():
        (tmp_path / place).mkdir()
        np.save(tmp_path / place / "walk.npy", part)
    (tmp_path / "two" / "cut.npy").touch()
    told = ["--weights", weights, "--out", out, "--fps", 30]
    assert run(monkeypatch, tmp_path / "one", *told) == 0
    first = results(out)
    assert list(first) == ["walk"]
    for _ in range(2):  # the second time nothing changes
        assert run(monkeypatch, tmp_path / "two", *told) == 1
        assert list(results(out)) == ["walk", "walk-2"]
        assert results(out)["walk"] == first["walk"] != results(out)["walk-2"]
        rows = list(csv.DictReader((out / "segments.csv").open()))
        assert {row["recording"] for row in rows} == {"walk", "walk-2"}
        assert [row["recording"] for row in csv.DictReader((out / "failed.csv").open())] == ["cut"]
    assert run(monkeypatch, tmp_path / "one", *told) == 0
    assert "1 of 1 recordings done (1 of them before)" in capsys.readouterr().out
    assert not list(csv.DictReader((out / "failed.csv").open()))
    np.save(tmp_path / "one" / "walk.npy", joints * 100)  # what was made of it before no longer counts
    assert run(monkeypatch, tmp_path / "one", *told) == 1
    assert list(results(out)) == ["walk-2"]


def test_recordings_of_two_checkpoints_are_not_mixed(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out, other = tmp_path / "out", checkpoint(tmp_path / "other.pt", "model.cosine_scale=4.0")
    told = ["--out", out, "--fps", 30]
    assert run(monkeypatch, motion / "c.npz", "--weights", weights, *told) == 0
    before = contents(out)
    assert run(monkeypatch, motion / "b.npy", "--weights", other, *told) == 2
    assert re.search(r"out: 1 recordings in it, such as c, were made by another checkpoint", capsys.readouterr().err)
    assert contents(out) == before


def test_a_second_command_in_the_same_folder_waits_for_no_one(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with lock_folder(tmp_path, "prediction", "wait"):
        assert run(monkeypatch, motion / "b.npy", "--weights", weights, "--out", tmp_path, "--fps", 30) == 2
    assert "another prediction is running in this folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("value", [float("nan"), 1e38])
def test_weights_that_are_not_finite_or_overflow_give_one_message(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
    value: float,
) -> None:  # fmt: skip
    content = torch.load(weights)
    for tensor in content["model"].values():
        if tensor.is_floating_point():
            tensor.fill_(value)
    torch.save(content, tmp_path / "damaged.pt")
    told = ["--weights", tmp_path / "damaged.pt", "--out", tmp_path / "out", "--fps", 30]
    assert run(monkeypatch, motion / "b.npy", *told) in (1, 2)
    said = capsys.readouterr().err
    assert re.search(r"the network gave probabilities that are not finite", said)
    assert "Traceback" not in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--weights": "nowhere.pt"}, "nowhere.pt: no such file"),
        ({"--weights": "bare.pt"}, "holds weights alone, without classes and settings"),
        (
            {"--joint-map": "nowhere.yaml"},
            "nowhere.yaml: cannot be read (No such file or directory); expected a joint map",
        ),
        ({"--body": "nowhere.pkl"}, "nowhere.pkl: cannot be read (No such file or directory); expected a body model"),
        ({"--fps": "0"}, "--fps is 0: expected 1 to 2000"),
        ({"--fps": "nan"}, "--fps is nan: expected 1 to 2000"),
        ({"--scale": "0"}, "--scale is 0: expected 1e-06 to 1e+06"),
        ({"--scale": "cm"}, "argument --scale: invalid"),
        ({"--person": "0"}, "--person is 0: expected 1 or more"),
        ({"--window": "3"}, "--window is 3: expected 30 or more"),
        ({"--up": "w"}, "argument --up: invalid choice"),
        ({"--out": "bare.pt"}, "--out is bare.pt: expected a folder"),
        ({"--out": "."}, "is both an input and --out"),
        ({"--wait": "1"}, "unrecognized arguments"),
    ],
)
def test_a_wrong_command_writes_nothing_and_ends_with_2_and_one_message(
    changes: dict[str, str], message: str, weights: Path, motion: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    torch.save({"l1.bn.weight": torch.ones(3)}, "bare.pt")
    shutil.copy(motion / "b.npy", "b.npy")
    given = {"--weights": str(weights), "--out": "out", "--fps": "30"} | changes
    assert run(monkeypatch, ".", *[part for pair in given.items() for part in pair]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith(("error: ", "predict.py: error: "))
    assert {path.name for path in tmp_path.iterdir()} == {"bare.pt", "b.npy"}


def test_help_gives_examples_and_a_default_for_every_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    assert run(monkeypatch, "--help") == 0
    helps = capsys.readouterr().out
    assert "python predict.py --weights work_dir/split1/last.pt" in helps
    options = [line for line in helps.splitlines() if line.startswith("  --")]
    without = [line.split()[0] for line in options if "(default: " not in line]
    assert len(options) == 15
    assert without == ["--weights", "--out"]  # required


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
        outcome = subprocess.run(command, cwd=runs.ROOT, capture_output=True, text=True)
        assert outcome.returncode == 0, outcome.stderr
        peaks.append(int(outcome.stdout.split("peak MiB ")[1]))
    assert peaks[1] - peaks[0] < 120, peaks


def test_the_command_does_not_load_preparation_or_the_synthetic_body() -> None:
    code = "import sys, predict; print([name for name in sys.modules if name.startswith('prepare.')])"
    outcome = subprocess.run([sys.executable, "-c", code], cwd=runs.ROOT, capture_output=True, text=True, check=True)
    assert "prepare.formats.body_model" in outcome.stdout
    for name in ("prepare.build", "prepare.store", "prepare.synthetic"):
        assert name not in outcome.stdout
