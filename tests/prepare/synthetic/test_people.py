"""The people in synthetic data have a human build, move like people, and do what the labels say."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from prepare.formats.amass import find_takes, read_poses
from prepare.formats.body_model import read_body
from prepare.formats.flavours import SMPLH
from prepare.synthetic.actions import ACTIONS
from prepare.synthetic.body import JOINTS, REST_POINTS

BODY_JOINTS = 22  # before the fingers
Skeleton = dict[str, np.ndarray]  # point: its course (T,3) in metres


@dataclass
class Take:
    entry: dict[str, Any]
    poses: np.ndarray  # (T,52,3) at 30 fps
    trans: np.ndarray  # (T,3)


@pytest.fixture(scope="module")
def takes(folder: Path, entries: dict[str, dict[str, Any]]) -> list[Take]:
    """Every take, through the reader that licensed data go through."""
    files = find_takes(folder / "amass", SMPLH, [entry["feat_p"] for entry in entries.values()])
    found = []
    for entry in entries.values():
        file = files[entry["feat_p"]]
        fps, blocks = read_poses(folder / "amass" / file, SMPLH)
        poses = np.concatenate(list(blocks)).reshape(-1, len(JOINTS), 3)
        with np.load(folder / "amass" / file, allow_pickle=False) as arrays:
            frames = len(arrays["poses"])
            trans = arrays["trans"][np.floor(np.arange(len(poses)) * round(fps) / 30).astype(int)]
            assert arrays["betas"].shape == (16,)
            assert arrays["dmpls"].shape == (frames, 8)
            assert entry["dur"] == pytest.approx(frames / fps, abs=0.006)
        found.append(Take(entry, poses, trans))
    return found


@pytest.fixture(scope="module")
def skeletons(takes: list[Take], folder: Path) -> list[tuple[Take, Skeleton]]:
    """Every second take with its skeleton."""
    body = read_body(folder / "SMPLH_male.npz")
    rest = body["J_regressor"].astype(float) @ body["v_template"].astype(float)
    return [(take, skeleton(take, rest, body["parents"])) for take in takes[::2]]


def skeleton(take: Take, rest: np.ndarray, parents: np.ndarray) -> Skeleton:
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


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("tc,tc->t", a, b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-12)


def features(poses: np.ndarray) -> np.ndarray:
    """Joint angles of the body and their speeds in each frame, and the turn about the vertical (T,F)."""
    root = Rotation.from_rotvec(poses[:, 0])
    turn = ((root[1:] * root[:-1].inv()).as_rotvec()[:, 2:] * 30).repeat(2, axis=1)
    body = poses[:, 1:22].reshape(len(poses), -1)
    return np.concatenate([body[1:], np.abs(np.diff(body, axis=0)) * 30, np.abs(turn)], axis=1)


def nearest_centroid(train_y: np.ndarray, train_x: np.ndarray, val_y: np.ndarray, val_x: np.ndarray) -> float:
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


def test_the_body_is_a_man_of_common_height() -> None:
    height = REST_POINTS["head_top"][1] - min(REST_POINTS["left_heel"][1], REST_POINTS["left_toe"][1])
    assert 1.6 < height < 1.9
    assert REST_POINTS["left_hip"][0] > 0 > REST_POINTS["right_hip"][0]
    for upper, lower in (("hip", "knee"), ("knee", "ankle")):
        length = np.linalg.norm(REST_POINTS[f"left_{upper}"] - REST_POINTS[f"left_{lower}"])
        assert 0.22 < length / height < 0.27


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
            bent = np.degrees(np.arccos(np.clip(cosine(knee - hip, ankle - knee), -1, 1))) > 15
            assert (cosine(axis, left_of_body)[bent] > 0).all(), take.entry["feat_p"]
        # a forearm folds towards the front or upper side of the arm: about -y on the left, +y on the right
        left, right = (take.poses[:, JOINTS.index(f"{side}_elbow")] for side in ("left", "right"))
        assert (left[:, 1] <= 1e-6).all()
        assert (right[:, 1] >= -1e-6).all()


def test_whoever_runs_or_jogs_faces_where_they_go(skeletons: list[tuple[Take, Skeleton]]) -> None:
    ways = []
    for take, joints in skeletons:
        for label in take.entry["labels"]:
            if label["act_cat"] in (["run"], ["jog"]):
                first, last = int(30 * label["start_t"]) + 10, int(30 * label["end_t"]) - 10
                gone = np.diff(joints["pelvis"][first:last, :2], axis=0)
                across = (joints["left_hip"] - joints["right_hip"])[first : last - 1, :2]
                facing = np.stack([across[:, 1], -across[:, 0]], axis=1)
                ways.append(cosine(gone, facing).mean())
    assert len(ways) > 5
    assert min(ways) > 0.7


def test_actions_can_be_told_apart_across_performers_but_not_by_single_frames(takes: list[Take]) -> None:
    names = sorted(ACTIONS)
    segments = {"train": [], "val": []}
    for take in takes:
        for label in take.entry["labels"]:
            known = [name for name in label["act_cat"] or () if name in ACTIONS]
            first, last = max(0, math.ceil(30 * label["start_t"])), int(30 * label["end_t"])
            if known and last - first >= 20:
                segments[take.entry["subset"]].append((names.index(known[0]), features(take.poses[first:last])))
    whole, frames = {}, {}  # by subset: classes and features
    for subset, some in segments.items():
        summaries = [np.concatenate([x.mean(axis=0), x.std(axis=0)]) for _, x in some]
        whole[subset] = np.array([c for c, _ in some]), np.stack(summaries)
        frames[subset] = np.concatenate([np.full(len(x), c) for c, x in some]), np.concatenate([x for _, x in some])
    assert nearest_centroid(*whole["train"], *whole["val"]) > 0.7
    assert nearest_centroid(*frames["train"], *frames["val"]) < 0.9
