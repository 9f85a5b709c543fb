"""Arrays of joints in .npy and .npz files are read however they are stored, or refused with the reason."""

from pathlib import Path

import motions
import numpy as np
import pytest
import torch
from hostile import damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readings import JOINTS, POSES, THIRTY, read, refusal, saved
from smplx.body_models import SMPLH
from smplx.utils import Struct

from prepare.formats.frames import MAX_FRAMES, check_length_and_rate
from prepare.skeletons.joint_map import SMPL_JOINT_NAMES, read_map
from prepare.skeletons.recordings import ReadOptions
from prepare.synthetic.body import body_structure
from utils.errors import TakeError
from utils.skeleton import JOINT_NAMES


@pytest.fixture(scope="module")
def chain() -> np.ndarray:
    """All 52 joints of SMPL-H's kinematic chain (T, 52, 3), computed by smplx."""
    names, parts = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose"), POSES[::2]
    data = {"model_path": "", "data_struct": Struct(**body_structure()), "batch_size": len(parts)}
    model = SMPLH(**data, use_pca=False, flat_hand_mean=True)
    values = torch.from_numpy(np.ascontiguousarray(parts)).split([3, 63, 45, 45], dim=1)
    with torch.inference_mode():
        return model(**dict(zip(names, values, strict=True))).joints[:, :52].numpy()


@pytest.mark.parametrize(("count", "tolerance"), [(22, 0.12), (24, 0.1), (52, 0.015)])  # metres, at hands and tips
def test_an_array_of_smpls_joints_is_read_by_their_number(
    chain: np.ndarray, tmp_path: Path, count: int, tolerance: float
) -> None:
    array = chain[:, :count]
    if count == 24:  # SMPL's hands are at the middle fingers
        array = np.concatenate([chain[:, :22], chain[:, [25, 40]]], axis=1)
    np.savez(tmp_path / "a.npz", joints=array, fps=30)
    exact = [joint for joint, name in enumerate(JOINT_NAMES[:21]) if count == 52 or not name.endswith("hand")]
    for found in (read(saved(tmp_path / "a.npy", array), THIRTY), read(tmp_path / "a.npz")):
        np.testing.assert_allclose(found[:, exact], JOINTS[:, exact], atol=1e-5)
        np.testing.assert_allclose(found, JOINTS, atol=tolerance)


def test_humanml3d_is_read_at_20_fps_with_y_up(chain: np.ndarray, tmp_path: Path) -> None:
    theirs = motions.TO_Y_UP.apply(chain[:, :22].reshape(-1, 3)).reshape(-1, 22, 3)
    path = saved(tmp_path / "a.npy", theirs)
    assert "give them by --fps" in refusal(path)
    assert "give --up=y" in refusal(path, ReadOptions("x", fps=20))
    found = read(path, ReadOptions("x", fps=20, up="y"))
    assert len(found) == int((len(theirs) - 1) * 1.5) + 1
    np.testing.assert_allclose(found[::3, 0], chain[::2, 0], atol=1e-5)


def test_a_joint_map_names_the_joints_of_an_array_by_name_or_by_index(chain: np.ndarray, tmp_path: Path) -> None:
    by_name = read_map(motions.write_smplh_map(tmp_path / "names.yaml"))
    numbers = {name: joint for joint, name in enumerate(SMPL_JOINT_NAMES[52])}
    lines = {ours: numbers.get(theirs, 27) for ours, theirs in motions.SMPLH_NAMES.items()}
    (tmp_path / "map.yaml").write_text("".join(f"{name}: '{number}'\n" for name, number in lines.items()))
    for array in (chain, np.concatenate([chain, chain[:, :3]], axis=1)):  # of 55 joints, which have no names
        options = ReadOptions("x", fps=30, joint_map=read_map(tmp_path / "map.yaml"))
        found = read(saved(tmp_path / "a.npy", array), options)
        np.testing.assert_allclose(found[:, :21], JOINTS[:, :21], atol=1e-5)
    message = refusal(saved(tmp_path / "a.npy", chain), ReadOptions("x", fps=30, joint_map=by_name))
    assert "has no joint left_index3.end, left_thumb3.end" in message


def test_a_joint_map_is_used_for_25_joints_in_another_order(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("".join(f"{name}: '{24 - joint}'\n" for joint, name in enumerate(JOINT_NAMES)))
    options = ReadOptions("x", fps=30, joint_map=read_map(tmp_path / "map.yaml"))
    np.testing.assert_array_equal(read(saved(tmp_path / "a.npy", JOINTS[:, ::-1]), options), JOINTS)


def test_order_byte_order_and_integers_of_an_array_do_not_matter(tmp_path: Path) -> None:
    for name, array in {"f": np.asfortranarray(JOINTS), "big": JOINTS.astype(">f8")}.items():
        np.testing.assert_array_equal(read(saved(tmp_path / f"{name}.npy", array), THIRTY), JOINTS)
    millimetres = np.round(JOINTS * 1000).astype(np.int16)
    found = read(saved(tmp_path / "int.npy", millimetres), ReadOptions("synthetic", fps=30, scale=0.001))
    np.testing.assert_allclose(found, JOINTS, atol=6e-4)


def test_other_arrays_in_an_npz_do_not_matter(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", joints=JOINTS, fps=30, notes=np.array({}, dtype=object), other=np.zeros((3, 3)))
    np.testing.assert_array_equal(read(tmp_path / "a.npz"), JOINTS)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 25, 3)), "has all joints in one place"),
        (np.zeros((5, 23, 3)), "shape (5, 23, 3)"),
        (np.zeros((5, 24, 2)), "or SMPL's 22, 24, 52 joints; give --joint-map for others"),
        (np.zeros((5, 22, 3)), "has all joints in one place"),
        (np.pad(JOINTS, ((0, 2), (0, 0), (0, 0))), f"in one place in 2 of the {len(JOINTS) + 2} frames"),
        (np.insert(np.tile(JOINTS, (20, 1, 1)), 5, 0, axis=0), "in one place in 1 of the 1201 frames"),
        (np.zeros((3, 5, 25, 1)), "expected numbers (T, 25, 3)"),
        (np.zeros(()), "shape ()"),
        (np.zeros((0, 25, 3)), "has no frame"),
        (np.full((5, 25, 3), np.nan), "not finite"),
        (np.full((5, 25, 3), 1e300), "not finite"),
        (np.zeros((5, 25, 3), bool), "type bool"),
        (np.zeros((5, 25, 3), complex), "type complex128"),
        (np.array(["a"]), "type <U1"),
    ],
)  # fmt: skip
def test_an_array_that_cannot_be_motion_is_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    assert message in refusal(saved(tmp_path / "a.npy", array), THIRTY)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", joints=np.array([{}], dtype=object))
    for name in ("a.npy", "b.npz"):
        assert "of numbers or text" in refusal(tmp_path / name, THIRTY)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "only nothing"),
        ({"x": np.zeros(3)}, "has no array called joints or poses, only x"),
        ({"joints": np.ones((2, 25, 3))}, "has no frames per second: give them by --fps"),
        ({"joints": np.ones((2, 25, 3)), "fps": np.ones(2)}, "has fps of shape (2,)"),
        ({"joints": np.ones((2, 25, 3)), "fps": np.array("x")}, "has fps of shape ()"),
        ({"joints": np.ones((2, 25, 3)), "fps": np.nan}, "has nan frames per second"),
        ({"joints": np.ones((2, 25, 3)), "fps": 0}, "has 0 frames per second"),
        ({"poses": np.zeros((2, 72)), "mocap_framerate": 30}, "poses (T, 72)"),
    ],
)  # fmt: skip
def test_the_error_names_what_an_npz_lacks(arrays: dict, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    assert message in refusal(tmp_path / "a.npz")


def test_a_recording_that_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    frames = MAX_FRAMES + 1
    header = {"descr": "|i1", "fortran_order": False, "shape": (frames, 25, 3)}
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + frames * 75)
    assert "has more than 1,000,000 frames at 30 fps" in refusal(tmp_path / "a.npy", THIRTY)
    check_length_and_rate(2 * MAX_FRAMES, 60.0)
    with pytest.raises(TakeError, match="has more than 1,000,000 frames at 30 fps"):
        check_length_and_rate(MAX_FRAMES, 29.0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_array_gives_joints_or_a_take_error(tmp_path: Path, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(["npy", "npz"]))
    if suffix == "npy":
        np.save(tmp_path / "a.npy", JOINTS[:2])
    else:
        np.savez_compressed(tmp_path / "a.npz", joints=JOINTS[:2], fps=30)
    path = damaged(tmp_path / f"a.{suffix}", data)
    try:
        assert np.isfinite(read(path, THIRTY)).all()
    except TakeError as error:
        assert "\n" not in str(error)
