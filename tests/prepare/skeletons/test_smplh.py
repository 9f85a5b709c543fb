"""The 25 joints from a few vertices equal those that smplx gives by its full mesh."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from smplx.body_models import SMPLH
from smplx.utils import Struct

from prepare.formats.smplh_body import check_body
from prepare.skeletons import smplh
from prepare.skeletons.smplh import TIP_VERTICES, SmplhJoints, one_thread
from prepare.synthetic.body import body_structure
from utils.skeleton import SMPLH_OUTPUT_INDEX

Structure = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def structure() -> Structure:
    return body_structure()


@pytest.fixture(scope="module")
def joints_of(structure: Structure) -> SmplhJoints:
    return SmplhJoints(check_body(structure, "the synthetic body"))


def random_poses(frames: int) -> np.ndarray:
    """Random poses; each joint turns by up to half a turn."""
    return np.random.default_rng(frames).uniform(-1.8, 1.8, (frames, 156)).astype(np.float32)


def full_mesh_joints(structure: Structure, poses: np.ndarray) -> np.ndarray:
    model = SMPLH(
        model_path="", data_struct=Struct(**structure), gender="male", use_pca=False, flat_hand_mean=False,
        batch_size=len(poses),
    )  # fmt: skip
    parts = torch.from_numpy(poses).split([3, 63, 45, 45], dim=1)
    names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose")
    with torch.inference_mode():
        joints = model(**dict(zip(names, parts, strict=True))).joints
    assert joints.shape[1] == 73
    return joints[:, SMPLH_OUTPUT_INDEX].numpy()


@pytest.mark.parametrize("frames", [1, 20])
def test_joints_equal_those_of_smplxs_full_mesh(structure: Structure, joints_of: SmplhJoints, frames: int) -> None:
    poses = random_poses(frames)
    found = joints_of(poses)
    assert found.shape == (frames, 25, 3)
    assert found.dtype == np.float32
    assert np.abs(found - full_mesh_joints(structure, poses)).max() < 1e-5


def test_all_of_the_computation_runs_on_the_device(structure: Structure) -> None:
    """The meta device computes only shapes, and refuses tensors on the CPU."""
    elsewhere = SmplhJoints(check_body(structure, "the synthetic body"), "meta")
    found = elsewhere._batch(torch.zeros(5, 156, device="meta"))
    assert (found.shape, found.device.type) == ((5, 25, 3), "meta")


def test_without_a_hand_mean_joints_equal_those_of_the_full_mesh(structure: Structure, joints_of: SmplhJoints) -> None:
    flat = {**structure, "hands_meanl": np.zeros(45, np.float32), "hands_meanr": np.zeros(45, np.float32)}
    poses = random_poses(5)
    found = SmplhJoints(check_body(flat, "flat"))(poses)
    assert np.abs(found - full_mesh_joints(flat, poses)).max() < 1e-5
    apart = np.abs(found - joints_of(poses)).max(axis=(0, 2))
    assert (apart[-4:] > 1e-3).all()  # the mean bends the fingers only
    assert apart[:11].max() < 1e-6


@pytest.mark.parametrize("batch", [1, 7, 23])
def test_joints_do_not_depend_on_the_batch_size(
    joints_of: SmplhJoints, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    poses = random_poses(23)
    whole = joints_of(poses)
    monkeypatch.setattr(smplh, "BATCH_FRAMES", batch)
    found = joints_of(poses)
    assert found.shape == whole.shape
    assert np.abs(found - whole).max() < 1e-6


def test_poses_may_be_of_any_type_and_layout(joints_of: SmplhJoints) -> None:
    poses = random_poses(6)
    assert np.array_equal(joints_of(np.asfortranarray(poses, np.float64)), joints_of(poses))


def test_the_pelvis_stays_in_place_and_bones_keep_their_length(joints_of: SmplhJoints) -> None:
    joints = joints_of(random_poses(40))
    assert np.abs(joints[:, 0] - joints[0, 0]).max() < 1e-6
    shins = np.linalg.norm(joints[:, 13] - joints[:, 14], axis=1)
    assert np.ptp(shins) < 1e-5
    assert 0.3 < shins[0] < 0.6


def test_the_tips_are_the_vertices_that_smplx_appends() -> None:
    assert TIP_VERTICES == (2746, 2319, 6191, 5782)


def test_the_number_of_threads_is_restored() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
