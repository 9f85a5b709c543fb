"""The 25 joints from a few vertices equal those that smplx gives by its full mesh."""

from pathlib import Path

import motions
import numpy as np
import pytest
import torch
from smplx.body_models import SMPLH, SMPLX
from smplx.utils import Struct
from smplx.vertex_ids import vertex_ids

from prepare.formats.body_model import check_body, read_body
from prepare.formats.flavours import FLAVOURS, HANDS
from prepare.skeletons import body_joints
from prepare.skeletons.body_joints import BodyJoints
from prepare.synthetic.body import body_structure
from utils.errors import UserError

Structure = dict[str, np.ndarray]
# The released code's choice of the 25 joints among smplx's 73 joints of SMPL-H
RELEASED = [0, 3, 12, 15, 16, 18, 20, 22, 17, 19, 21, 37, 1, 4, 7, 10, 2, 5, 8, 11, 9, 63, 64, 68, 69]
# The same joints among smplx's joints of SMPL-X: 55 of the chain, 11 of face and feet, 10 finger tips
OF_SMPLX = [*RELEASED[:7], 25, *RELEASED[8:11], 40, *RELEASED[12:21], 66, 67, 71, 72]
PARTS = {"global_orient": 3, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45}
PARTS_OF_SMPLX = {
    "global_orient": 3, "body_pose": 63, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3, "left_hand_pose": 45,
    "right_hand_pose": 45,
}  # fmt: skip


@pytest.fixture(scope="module")
def structure() -> Structure:
    return body_structure()


@pytest.fixture(scope="module")
def joints_of(structure: Structure) -> BodyJoints:
    return BodyJoints(check_body(structure, "the synthetic body"))


@pytest.fixture(scope="module")
def smplx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return motions.write_smplx_body(tmp_path_factory.mktemp("body") / "SMPLX_NEUTRAL.npz")


def random_poses(frames: int, width: int = 156) -> np.ndarray:
    """Random poses; each joint turns by up to half a turn."""
    return np.random.default_rng(frames).uniform(-1.8, 1.8, (frames, width)).astype(np.float32)


def full_mesh_joints(model: torch.nn.Module, parts: dict[str, int], poses: np.ndarray) -> np.ndarray:
    values = torch.from_numpy(poses).split(list(parts.values()), dim=1)
    with torch.inference_mode():
        return model(**dict(zip(parts, values, strict=True))).joints.numpy()


def full_smplh(structure: Structure, frames: int, flat: bool) -> torch.nn.Module:
    data = {"model_path": "", "data_struct": Struct(**structure), "gender": "male"}
    return SMPLH(**data, use_pca=False, flat_hand_mean=flat, batch_size=frames)


@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("frames", [1, 20])
def test_joints_equal_those_of_smplxs_full_mesh(structure: Structure, frames: int, hands: str) -> None:
    poses = random_poses(frames)
    found = BodyJoints(check_body(structure, "the synthetic body"), hands)(poses)
    assert found.shape == (frames, 25, 3)
    assert found.dtype == np.float32
    expected = full_mesh_joints(full_smplh(structure, frames, flat=hands == "as-is"), PARTS, poses)
    assert expected.shape[1] == 73
    assert np.abs(found - expected[:, RELEASED]).max() < 1e-5


@pytest.mark.parametrize("hands", HANDS)
def test_joints_of_smplx_equal_those_of_smplxs_full_mesh(smplx_file: Path, hands: str) -> None:
    poses = random_poses(5, 165)
    model = SMPLX(str(smplx_file), use_pca=False, flat_hand_mean=hands == "as-is", batch_size=5)
    expected = full_mesh_joints(model, PARTS_OF_SMPLX, poses)
    body = read_body(smplx_file)
    assert np.abs(BodyJoints(body, hands)(poses) - expected[:, OF_SMPLX]).max() < 1e-5


def test_smplx_has_smplhs_joints_where_the_bodies_are_the_same(smplx_file: Path, joints_of: BodyJoints) -> None:
    poses = random_poses(5)
    found = BodyJoints(read_body(smplx_file))(motions.as_smplx(poses))
    assert np.abs(found - joints_of(poses))[:, :21].max() < 1e-5


def test_all_of_the_computation_runs_on_the_device(structure: Structure) -> None:
    """The meta device computes only shapes, and refuses tensors on the CPU."""
    elsewhere = BodyJoints(check_body(structure, "the synthetic body"), device="meta")
    found = elsewhere._batch(torch.zeros(5, 156, device="meta"))
    assert (found.shape, found.device.type) == ((5, 25, 3), "meta")


def test_released_hands_bend_the_fingers_only(structure: Structure, joints_of: BodyJoints) -> None:
    poses = random_poses(5)
    released = BodyJoints(check_body(structure, "the synthetic body"), "released")(poses)
    apart = np.abs(released - joints_of(poses)).max(axis=(0, 2))
    assert (apart[-4:] > 1e-3).all()
    assert apart[:-4].max() < 1e-6
    body = check_body({name: values for name, values in structure.items() if name != "hands_meanl"}, "a body")
    with pytest.raises(UserError, match="--hands released needs a body model with mean hand poses"):
        BodyJoints(body, "released")
    assert np.array_equal(BodyJoints(body)(poses), joints_of(poses))


@pytest.mark.parametrize("batch", [1, 7, 23])
def test_joints_do_not_depend_on_the_batch_size(
    joints_of: BodyJoints, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    poses = random_poses(23)
    whole = joints_of(poses)
    monkeypatch.setattr(body_joints, "BATCH_FRAMES", batch)
    found = joints_of(poses)
    assert found.shape == whole.shape
    assert np.abs(found - whole).max() < 1e-6


def test_poses_may_be_of_any_type_and_layout(joints_of: BodyJoints) -> None:
    poses = random_poses(6)
    assert np.array_equal(joints_of(np.asfortranarray(poses, np.float64)), joints_of(poses))


def test_the_pelvis_stays_in_place_and_bones_keep_their_length(joints_of: BodyJoints) -> None:
    joints = joints_of(random_poses(40))
    assert np.abs(joints[:, 0] - joints[0, 0]).max() < 1e-6
    shins = np.linalg.norm(joints[:, 13] - joints[:, 14], axis=1)
    assert np.ptp(shins) < 1e-5
    assert 0.3 < shins[0] < 0.6


def test_the_tips_are_the_vertices_that_smplx_appends() -> None:
    for flavour, ids in zip(FLAVOURS, (vertex_ids["smplh"], vertex_ids["smplx"]), strict=True):
        assert flavour.tips == tuple(ids[name] for name in ("lthumb", "lindex", "rthumb", "rindex"))
