"""Synthetic data: in the real formats, the same at every run, and like people who do what the labels say."""

from __future__ import annotations

import json
import math
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from prepare.formats.amass import AmassIndex, read_poses
from prepare.formats.body_model import read_body
from prepare.synthetic import generate
from prepare.synthetic.actions import ACTIONS
from prepare.synthetic.body import JOINTS, REST_POINTS
from prepare.synthetic.generate import write_synthetic
from prepare.synthetic.take import GROUPS
from utils.errors import UserError, run_command

CLIPS = 72
BODY_JOINTS = 22  # before the fingers

Skeleton = dict[str, np.ndarray]  # point: its course (T,3) in metres


@dataclass
class Take:
    subset: str
    entry: dict[str, Any]
    poses: np.ndarray  # (T,52,3) at 30 fps
    trans: np.ndarray  # (T,3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "data"
    write_synthetic(out, CLIPS)
    return out


@pytest.fixture(scope="module")
def entries(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for subset in ("train", "val"):
        content = json.loads((folder / f"babel_v1.0_release/{subset}.json").read_text())
        found |= {sid: {"subset": subset, **entry} for sid, entry in content.items()}
    return found


@pytest.fixture(scope="module")
def takes(folder: Path, entries: dict[str, dict[str, Any]]) -> list[Take]:
    """Every take, through the reader that licensed data go through."""
    index = AmassIndex(folder / "amass")
    found = []
    for entry in entries.values():
        file = index.find(entry["feat_p"])
        assert file is not None, entry["feat_p"]
        fps, blocks = read_poses(folder / "amass" / file)
        poses = np.concatenate(list(blocks)).reshape(-1, len(JOINTS), 3)
        with np.load(folder / "amass" / file, allow_pickle=False) as arrays:
            frames = len(arrays["poses"])
            trans = arrays["trans"][np.floor(np.arange(len(poses)) * round(fps) / 30).astype(int)]
            assert arrays["betas"].shape == (16,)
            assert arrays["dmpls"].shape == (frames, 8)
            assert entry["dur"] == pytest.approx(frames / fps, abs=0.006)
        found.append(Take(entry["subset"], entry, poses, trans))
    return found


def _labels(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return (entry["frame_ann"] or {"labels": []})["labels"]


@pytest.fixture(scope="module")
def skeletons(takes: list[Take], folder: Path) -> list[tuple[Take, Skeleton]]:
    """Every second take with its skeleton."""
    body = read_body(folder / "SMPLH_male.npz")
    rest = body["J_regressor"].astype(float) @ body["v_template"].astype(float)
    return [(take, _skeleton(take, rest, body["parents"])) for take in takes[::2]]


def _skeleton(take: Take, rest: np.ndarray, parents: np.ndarray) -> Skeleton:
    """Joints down to the wrists, and soles: the kinematic chain of a body with joints at `rest` (52,3)."""
    turned, place = [], []
    for joint, parent in enumerate(parents[:BODY_JOINTS]):
        local = Rotation.from_rotvec(take.poses[:, joint])
        if parent < 0:
            turned.append(local)
            place.append(rest[0] + take.trans)
        else:
            turned.append(turned[parent] * local)
            place.append(place[parent] + turned[parent].apply(rest[joint] - rest[parent]))
    found = dict(zip(JOINTS[:BODY_JOINTS], place, strict=True))
    for side in ("left", "right"):
        for sole, joint in (("heel", "ankle"), ("toe", "foot")):
            j = JOINTS.index(f"{side}_{joint}")
            found[f"{side}_{sole}"] = place[j] + turned[j].apply(REST_POINTS[f"{side}_{sole}"] - rest[j])
    return found


def _files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_every_run_gives_the_same_bytes(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "a", 9)
    write_synthetic(tmp_path / "b", 9)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")


def test_a_clip_does_not_depend_on_how_many_there_are(folder: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "few", 9)
    few = {name: content for name, content in _files(tmp_path / "few").items() if name.startswith("amass")}
    assert len(few) == 9
    assert few.items() <= _files(folder).items()
    for subset in ("train", "val"):
        name = f"babel_v1.0_release/{subset}.json"
        assert (
            json.loads((tmp_path / "few" / name).read_text()).items() <= json.loads((folder / name).read_text()).items()
        )


def test_labels_are_babels_and_lie_within_the_clip(entries: dict[str, dict[str, Any]]) -> None:
    for entry in entries.values():
        for label in _labels(entry):
            assert set(label) == {"raw_label", "proc_label", "seg_id", "act_cat", "start_t", "end_t"}
            assert -0.3 <= label["start_t"] < label["end_t"] <= entry["dur"] + 0.05


def test_labels_have_the_irregularities_of_the_real_ones(entries: dict[str, dict[str, Any]]) -> None:
    every = [_labels(entry) for entry in entries.values()]
    starts = [[label["start_t"] for label in labels] for labels in every]
    assert any(entry["frame_ann"] is None for entry in entries.values())
    assert any(entry["dur"] * 30 > 1000 for entry in entries.values())
    assert any(label["act_cat"] is None for labels in every for label in labels)
    assert any(len(label["act_cat"] or ()) > 1 for labels in every for label in labels)
    assert any(start != sorted(start) for start in starts)
    assert any(label["end_t"] > entry["dur"] for entry in entries.values() for label in _labels(entry))
    walks = [(walk, other) for labels in every for walk in labels for other in labels if walk["act_cat"] == ["walk"]]
    assert any(
        other["act_cat"] == ["turn"] and walk["start_t"] < other["start_t"] and other["end_t"] < walk["end_t"]
        for walk, other in walks
    )


def test_some_time_is_not_annotated(entries: dict[str, dict[str, Any]]) -> None:
    seen, total = 0, 0
    for entry in entries.values():
        if entry["frame_ann"]:
            t = np.arange(int(30 * entry["dur"])) / 30
            covered = np.zeros(len(t), bool)
            for label in _labels(entry):
                covered |= (label["start_t"] <= t) & (t < label["end_t"])
            seen, total = seen + covered.sum(), total + len(t)
    assert 0.02 < 1 - seen / total < 0.15


@pytest.mark.parametrize("subset", ["train", "val"])
def test_every_class_occurs(entries: dict[str, dict[str, Any]], subset: str) -> None:
    chosen = [entry for sid, entry in entries.items() if entry["subset"] == subset and int(sid) <= 48]
    found = {name for entry in chosen for label in _labels(entry) for name in label["act_cat"] or ()}
    assert {name for group in GROUPS for name in group} <= found
    assert set(ACTIONS) == {name for group in GROUPS for name in group}


def test_no_performer_is_in_both_subsets(entries: dict[str, dict[str, Any]]) -> None:
    who = {subset: set() for subset in ("train", "val")}
    for entry in entries.values():
        who[entry["subset"]].add(entry["feat_p"].split("/")[2])
    assert who["train"].isdisjoint(who["val"])


def test_the_body_is_a_man_of_common_height() -> None:
    height = REST_POINTS["head_top"][1] - min(REST_POINTS["left_heel"][1], REST_POINTS["left_toe"][1])
    assert 1.6 < height < 1.9
    assert REST_POINTS["left_hip"][0] > 0 > REST_POINTS["right_hip"][0]
    thigh, shank = (
        np.linalg.norm(REST_POINTS[f"left_{a}"] - REST_POINTS[f"left_{b}"])
        for a, b in (("hip", "knee"), ("knee", "ankle"))
    )
    assert 0.22 < thigh / height < 0.27
    assert 0.22 < shank / height < 0.27


def test_people_stand_on_the_ground_upright_and_move_at_human_speed(skeletons: list[tuple[Take, Skeleton]]) -> None:
    for take, joints in skeletons:
        every = np.stack(list(joints.values()), axis=1)  # (T,V,3)
        assert np.isfinite(every).all()
        assert every[..., 2].min() > -0.02
        speed = np.linalg.norm(np.diff(every - every[:, :1], axis=0), axis=-1) * 30
        assert speed.max() < 15.0, (take.entry["feat_p"], speed.max())
        assert (joints["head"][:, 2] > joints["pelvis"][:, 2]).mean() > 0.9


def test_knees_and_elbows_bend_the_right_way(skeletons: list[tuple[Take, Skeleton]]) -> None:
    for take, joints in skeletons:
        left_of_body = joints["left_hip"] - joints["right_hip"]
        for side in ("left", "right"):
            hip, knee, ankle = (joints[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
            axis = np.cross(knee - hip, ankle - knee)  # of the bend: to the body's left where the heel goes back
            bent = np.degrees(np.arccos(np.clip(_cosine(knee - hip, ankle - knee), -1, 1))) > 15
            assert (_cosine(axis, left_of_body)[bent] > 0).all(), take.entry["feat_p"]
        # a forearm folds towards the front or upper side of the arm: about -y on the left, +y on the right
        left, right = (take.poses[:, JOINTS.index(f"{side}_elbow")] for side in ("left", "right"))
        assert (left[:, 1] <= 1e-6).all()
        assert (right[:, 1] >= -1e-6).all()


def test_whoever_walks_ahead_faces_where_they_go(skeletons: list[tuple[Take, Skeleton]]) -> None:
    ways = []
    for take, joints in skeletons:
        for label in _labels(take.entry):
            if label["act_cat"] in (["run"], ["jog"]):
                first, last = int(30 * label["start_t"]) + 10, int(30 * label["end_t"]) - 10
                gone = np.diff(joints["pelvis"][first:last, :2], axis=0)
                across = (joints["left_hip"] - joints["right_hip"])[first : last - 1, :2]
                facing = np.stack([across[:, 1], -across[:, 0]], axis=1)
                ways.append(_cosine(gone, facing).mean())
    assert len(ways) > 5
    assert min(ways) > 0.7


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("tc,tc->t", a, b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-12)


def test_actions_can_be_told_apart_across_performers_but_not_by_single_frames(takes: list[Take]) -> None:
    names = sorted(ACTIONS)
    segments = {"train": [], "val": []}
    for take in takes:
        for label in _labels(take.entry):
            known = [name for name in label["act_cat"] or () if name in ACTIONS]
            first, last = max(0, math.ceil(30 * label["start_t"])), int(30 * label["end_t"])
            if known and last - first >= 20:
                segments[take.subset].append((names.index(known[0]), _features(take.poses[first:last])))
    whole = {
        subset: (np.array([c for c, _ in some]), np.stack([_summary(x) for _, x in some]))
        for subset, some in segments.items()
    }
    frames = {
        subset: (np.concatenate([np.full(len(x), c) for c, x in some]), np.concatenate([x for _, x in some]))
        for subset, some in segments.items()
    }
    told, told_by_frame = (_nearest_centroid(*some["train"], *some["val"]) for some in (whole, frames))
    assert told > 0.7
    assert told_by_frame < 0.9


def _features(poses: np.ndarray) -> np.ndarray:
    """Joint angles of the body and their speeds in each frame, and the turn about the vertical (T,F)."""
    root = Rotation.from_rotvec(poses[:, 0])
    turn = ((root[1:] * root[:-1].inv()).as_rotvec()[:, 2:] * 30).repeat(2, axis=1)
    body = poses[:, 1:22].reshape(len(poses), -1)
    return np.concatenate([body[1:], np.abs(np.diff(body, axis=0)) * 30, np.abs(turn)], axis=1)


def _summary(features: np.ndarray) -> np.ndarray:
    return np.concatenate([features.mean(axis=0), features.std(axis=0)])


def _nearest_centroid(train_y: np.ndarray, train_x: np.ndarray, val_y: np.ndarray, val_x: np.ndarray) -> float:
    """Share of `val` told right by the nearest class mean, features at unit scale."""
    scale = train_x.std(axis=0) + 1e-6
    classes = np.unique(train_y)
    centres = np.stack([train_x[train_y == c].mean(axis=0) for c in classes])
    apart = (((val_x[:, None] - centres) / scale) ** 2).sum(axis=2)
    return float((classes[apart.argmin(axis=1)] == val_y).mean())


def test_the_body_file_loads_like_smplh(folder: Path) -> None:
    body = read_body(folder / "SMPLH_male.npz")
    assert np.allclose(body["weights"].sum(axis=1), 1.0, atol=1e-5)
    assert np.allclose(body["J_regressor"].sum(axis=1), 1.0, atol=1e-5)
    rest = body["J_regressor"] @ body["v_template"]
    assert np.allclose(rest, [REST_POINTS[name] for name in JOINTS], atol=1e-4)


def test_a_folder_with_anything_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "amass").mkdir()
    (tmp_path / "amass" / "real.npz").write_bytes(b"licensed")
    with pytest.raises(UserError, match=r"does not hold these synthetic data.*--out"):
        write_synthetic(tmp_path, 4)
    assert _files(tmp_path) == {"amass/real.npz": b"licensed"}


def test_a_second_run_redoes_nothing_and_other_settings_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert write_synthetic(out, 4)
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    assert not write_synthetic(out, 4)
    with pytest.raises(UserError, match="does not hold these synthetic data"):
        write_synthetic(out, 5)
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_sigterm_stops_at_once_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    begun: list[int] = []
    write = generate._write_take

    def stop(*facts: Any) -> Any:
        begun.append(facts[-1])
        if len(begun) == 2:
            signal.raise_signal(signal.SIGTERM)
        return write(*facts)

    monkeypatch.setattr(generate, "_write_take", stop)
    monkeypatch.setattr("sys.argv", ["generate", "--out", str(tmp_path / "data"), "--clips", "900"])
    with pytest.raises(SystemExit) as caught:
        run_command(generate.main)
    assert caught.value.code == 130
    assert capsys.readouterr().err.strip() == "stopped"
    assert len(begun) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"clips": 0}, {"clips": 3, "gap_share": -0.1}])
def test_impossible_settings_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="--"):
        write_synthetic(tmp_path / "data", **wrong)
    assert not (tmp_path / "data").exists()
