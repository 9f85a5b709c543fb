"""Recordings of all formats give the same people; each error names what is missing or wrong, and the remedy."""

from __future__ import annotations

import os
from pathlib import Path

import motions
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smplx.body_models import SMPLH
from smplx.utils import Struct

from prepare.formats.errors import TakeError
from prepare.formats.frames import MAX_FRAMES
from prepare.skeletons.joint_map import ARRAY_NAMES, read_map
from prepare.skeletons.recordings import ReadOptions, find_inputs, read_recording
from prepare.synthetic.body import body_structure
from utils.errors import UserError
from utils.skeleton import JOINT_NAMES

MARK = "prediction.json"

PLAIN = ReadOptions(body="synthetic")
THIRTY = ReadOptions(body="synthetic", fps=30.0)


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    return motions.poses(2.0, 60.0)


@pytest.fixture(scope="module")
def joints(poses: np.ndarray) -> np.ndarray:
    """The joints that every file of these poses has to give."""
    return motions.joints_of(poses[::2])


def read(path: Path, options: ReadOptions = PLAIN) -> np.ndarray:
    (person,) = read_recording(path, options)
    assert person.joints.dtype == np.float32
    return person.joints


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def refusal(path: Path, options: ReadOptions = PLAIN) -> str:
    with pytest.raises(TakeError) as error:
        read_recording(path, options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_format_gives_the_same_joints(poses: np.ndarray, joints: np.ndarray, tmp_path: Path) -> None:
    all_joints = motions.joints_of(poses)
    np.savez_compressed(tmp_path / "amass.npz", poses=poses, mocap_framerate=np.array(60.0))
    np.savez(tmp_path / "array.npz", joints=all_joints, fps=60)
    np.save(tmp_path / "array.npy", all_joints.astype(np.float64))
    motions.write_body_bvh(tmp_path / "motion.bvh", poses, 60.0)
    motions.write_ntu(tmp_path / "motion.skeleton", len(joints), {"7": (list(range(len(joints))), joints)})
    np.testing.assert_array_equal(read(tmp_path / "amass.npz"), joints)
    np.testing.assert_allclose(read(tmp_path / "array.npz"), joints, atol=1e-6)
    np.testing.assert_allclose(read(tmp_path / "array.npy", ReadOptions("synthetic", fps=60)), joints, atol=1e-6)
    joint_map = read_map(motions.write_smplh_map(tmp_path / "map.yaml"))
    found = read(tmp_path / "motion.bvh", ReadOptions("synthetic", joint_map=joint_map))
    np.testing.assert_allclose(found[:, :21], joints[:, :21], atol=1e-5)
    np.testing.assert_allclose(found[:, 21:], joints[:, 21:], atol=2e-3)  # tips are vertices, which bend a little
    np.testing.assert_allclose(read(tmp_path / "motion.skeleton"), joints, atol=1e-5)


def test_a_mixamo_skeleton_is_read_by_its_names(poses: np.ndarray, joints: np.ndarray, tmp_path: Path) -> None:
    motions.write_body_bvh(tmp_path / "motion.bvh", poses, 60.0, named=motions.mixamo_name)
    found = read(tmp_path / "motion.bvh")
    np.testing.assert_allclose(found[:, :21], joints[:, :21], atol=1e-5)
    np.testing.assert_allclose(found[:, 21:], joints[:, 21:], atol=0.015)  # tips lie beyond the last joints


def test_a_skeleton_with_common_names_is_read_by_its_names(
    poses: np.ndarray, joints: np.ndarray, tmp_path: Path
) -> None:
    motions.write_body_bvh(tmp_path / "motion.bvh", poses, 60.0, named=motions.biovision_name)
    found = read(tmp_path / "motion.bvh")
    exact = [joint for joint, name in enumerate(JOINT_NAMES) if not name.endswith(("hand", "_tip", "chest"))]
    np.testing.assert_allclose(found[:, exact], joints[:, exact], atol=1e-5)
    np.testing.assert_allclose(found, joints, atol=0.12)  # the names have no fingers, and no joint for the chest


@pytest.fixture(scope="module")
def chain(poses: np.ndarray) -> np.ndarray:
    """All 52 joints of SMPL-H's kinematic chain (T, 52, 3), computed by smplx."""
    names, parts = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose"), poses[::2]
    data = {"model_path": "", "data_struct": Struct(**body_structure()), "batch_size": len(parts)}
    model = SMPLH(**data, use_pca=False, flat_hand_mean=True)
    values = torch.from_numpy(np.ascontiguousarray(parts)).split([3, 63, 45, 45], dim=1)
    with torch.inference_mode():
        return model(**dict(zip(names, values, strict=True))).joints[:, :52].numpy()


@pytest.mark.parametrize(("count", "tolerance"), [(22, 0.12), (24, 0.1), (52, 0.015)])  # metres, at hands and tips
def test_an_array_of_smpls_joints_is_read_by_their_number(
    chain: np.ndarray, joints: np.ndarray, tmp_path: Path, count: int, tolerance: float
) -> None:
    array = chain[:, :count]
    if count == 24:  # SMPL's hands are at the middle fingers
        array = np.concatenate([chain[:, :22], chain[:, [25, 40]]], axis=1)
    np.savez(tmp_path / "a.npz", joints=array, fps=30)
    exact = [joint for joint, name in enumerate(JOINT_NAMES) if not name.endswith(("hand", "_tip")) or count == 52]
    exact = [joint for joint in exact if joint < 21]
    for found in (read(saved(tmp_path / "a.npy", array), THIRTY), read(tmp_path / "a.npz")):
        np.testing.assert_allclose(found[:, exact], joints[:, exact], atol=1e-5)
        np.testing.assert_allclose(found, joints, atol=tolerance)


def test_humanml3d_is_read_at_20_fps_with_y_up(chain: np.ndarray, tmp_path: Path) -> None:
    theirs = motions.TO_Y_UP.apply(chain[:, :22].reshape(-1, 3)).reshape(-1, 22, 3)
    path = saved(tmp_path / "a.npy", theirs)
    assert "give them by --fps" in refusal(path)
    assert "give --up y" in refusal(path, ReadOptions("x", fps=20))
    found = read(path, ReadOptions("x", fps=20, up="y"))
    assert len(found) == int((len(theirs) - 1) * 1.5) + 1
    np.testing.assert_allclose(found[::3, 0], chain[::2, 0], atol=1e-5)


def test_a_joint_map_names_the_joints_of_an_array_by_name_or_by_index(
    chain: np.ndarray, joints: np.ndarray, tmp_path: Path
) -> None:
    by_name = read_map(motions.write_smplh_map(tmp_path / "names.yaml"))
    numbers = {name: joint for joint, name in enumerate(ARRAY_NAMES[52])}
    lines = {ours: numbers.get(theirs, 27) for ours, theirs in motions.SMPLH_NAMES.items()}
    (tmp_path / "map.yaml").write_text("".join(f"{name}: '{number}'\n" for name, number in lines.items()))
    for array in (chain, np.concatenate([chain, chain[:, :3]], axis=1)):  # of 55 joints, which have no names
        options = ReadOptions("x", fps=30, joint_map=read_map(tmp_path / "map.yaml"))
        found = read(saved(tmp_path / "a.npy", array), options)
        np.testing.assert_allclose(found[:, :21], joints[:, :21], atol=1e-5)
    message = refusal(saved(tmp_path / "a.npy", chain), ReadOptions("x", fps=30, joint_map=by_name))
    assert "has no joint left_index3.end, left_thumb3.end" in message


def test_order_byte_order_and_integers_of_an_array_do_not_matter(joints: np.ndarray, tmp_path: Path) -> None:
    for name, array in {"f": np.asfortranarray(joints), "big": joints.astype(">f8")}.items():
        np.testing.assert_array_equal(read(saved(tmp_path / f"{name}.npy", array), THIRTY), joints)
    millimetres = np.round(joints * 1000).astype(np.int16)
    found = read(saved(tmp_path / "int.npy", millimetres), ReadOptions("synthetic", fps=30, scale=0.001))
    np.testing.assert_allclose(found, joints, atol=6e-4)


@pytest.mark.parametrize(("up", "axes"), [("y", (0, 2, 1)), ("x", (2, 0, 1)), ("z", (0, 1, 2))])
def test_the_axis_that_points_up_becomes_z_without_mirroring(
    up: str, axes: tuple[int, ...], joints: np.ndarray, tmp_path: Path
) -> None:
    theirs = joints[..., axes] * ((1, 1, -1) if up == "y" else (1, 1, 1))
    found = read(saved(tmp_path / "a.npy", theirs), ReadOptions("synthetic", fps=30, up=up))
    np.testing.assert_allclose(found, joints, atol=1e-6)


@pytest.mark.parametrize(("axes", "own"), [((0, 2, 1), "y"), ((2, 1, 0), "x")])
def test_a_body_that_stands_along_another_axis_is_refused_unless_the_user_names_the_axis(
    axes: tuple[int, ...], own: str, joints: np.ndarray, tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.npy", joints[:10][..., axes])
    assert f"stands along {own}, not z: give --up {own}, or --up z if it does lie" in refusal(path, THIRTY)
    read(path, ReadOptions("synthetic", fps=30, up="z"))
    read(path, ReadOptions("synthetic", fps=30, up=own))


def test_a_file_that_is_z_up_against_its_custom_is_refused_with_its_axis(joints: np.ndarray, tmp_path: Path) -> None:
    frames = list(range(10))
    lying = motions.TO_Y_UP.inv().apply(joints[:10].reshape(-1, 3)).reshape(10, 25, 3)  # becomes z up in the file
    motions.write_ntu(tmp_path / "a.skeleton", 10, {"1": (frames, lying)})
    assert "stands along z, not y: give --up z, or --up y if it does lie" in refusal(tmp_path / "a.skeleton")
    np.testing.assert_allclose(read(tmp_path / "a.skeleton", ReadOptions("x", up="z")), joints[:10], atol=1e-5)


@pytest.mark.parametrize(
    ("factor", "hint"),
    [(100, "--scale 0.01 (centimetres)"), (1000, "--scale 0.001 (millimetres)"), (39.37, "--scale 0.0254 (inches)"),
     (3.281, "--scale 0.3048 (feet)"), (17.7, "--scale 0.0564 (the unit of CMU's captures)"), (1e-4, "--scale 9")],
)  # fmt: skip
def test_a_body_of_impossible_height_is_refused_with_the_fitting_scale(
    factor: float, hint: str, joints: np.ndarray, tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.npy", joints[:9].astype(np.float64) * factor)
    message = refusal(path, THIRTY)
    assert hint in message
    assert float(message.partition("a body ")[2].split()[0]) == pytest.approx(1.75 * factor, rel=0.03)
    scale = float(message.partition("--scale ")[2].split()[0])
    np.testing.assert_allclose(read(path, ReadOptions("x", fps=30, scale=scale)), joints[:9], rtol=0.05)


def test_a_bvh_is_read_in_centimetres(poses: np.ndarray, tmp_path: Path) -> None:
    joint_map = read_map(motions.write_smplh_map(tmp_path / "map.yaml"))
    motions.write_body_bvh(tmp_path / "metres.bvh", poses[:4], unit=1.0)
    assert "give --scale 1 (metres)" in refusal(tmp_path / "metres.bvh", ReadOptions("x", joint_map=joint_map))
    read(tmp_path / "metres.bvh", ReadOptions("x", joint_map=joint_map, scale=1.0))


def test_a_slower_recording_is_interpolated_linearly_to_30_fps(joints: np.ndarray, tmp_path: Path) -> None:
    slow = joints[::3]  # 10 fps
    found = read(saved(tmp_path / "a.npy", slow), ReadOptions("x", fps=10))
    assert len(found) == 3 * (len(slow) - 1) + 1
    np.testing.assert_allclose(found[::3], slow, atol=1e-6)
    np.testing.assert_allclose(found[1], (2 * slow[0] + slow[1]) / 3, atol=1e-6)
    assert len(read(saved(tmp_path / "b.npy", slow[:1]), ReadOptions("x", fps=10))) == 1


def test_people_are_numbered_by_appearance_and_have_a_first_frame(joints: np.ndarray, tmp_path: Path) -> None:
    bodies = {"late": (list(range(6, 18)), joints[:12]), "early": (list(range(9)), joints[3:12])}
    motions.write_ntu(tmp_path / "a.skeleton", 18, bodies)
    early, late = read_recording(tmp_path / "a.skeleton", PLAIN)
    assert (early.number, early.first, len(early.joints)) == (1, 0, 9)
    assert (late.number, late.first, len(late.joints)) == (2, 6, 12)
    (chosen,) = read_recording(tmp_path / "a.skeleton", ReadOptions("x", person=2))
    assert (chosen.number, chosen.first) == (2, 6)
    (faster,) = read_recording(tmp_path / "a.skeleton", ReadOptions("x", person=2, fps=60))
    assert (faster.first, len(faster.joints)) == (3, 6)
    assert "has no --person 3, only 2" in refusal(tmp_path / "a.skeleton", ReadOptions("x", person=3))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 25, 3)), "has all joints in one place"),
        (np.zeros((5, 23, 3)), "shape (5, 23, 3)"),
        (np.zeros((5, 24, 2)), "or SMPL's 22, 24, 52 joints; give --joint-map for others"),
        (np.zeros((5, 22, 3)), "has all joints in one place"),
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
        ({"joints": np.ones((2, 25, 3))}, "has no plausible frames per second: give them by --fps"),
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


def test_other_arrays_in_an_npz_do_not_matter(joints: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", joints=joints, fps=30, notes=np.array({}, dtype=object), other=np.zeros((3, 3)))
    np.testing.assert_array_equal(read(tmp_path / "a.npz"), joints)


def test_an_amass_take_without_a_body_is_refused_with_the_option_for_one(poses: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", poses=poses, mocap_framerate=60)
    message = refusal(tmp_path / "a.npz", ReadOptions(str(tmp_path / "nowhere.pkl")))
    assert "needs a body (--body FILE, or --body synthetic)" in message


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".bvh", ".skeleton"])
def test_a_folder_or_missing_file_is_refused_in_every_format(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"folder{suffix}").mkdir()
    for name, reason in (("folder", "Is a directory"), ("missing", "No such file or directory")):
        assert refusal(tmp_path / f"{name}{suffix}", THIRTY) == f"cannot be read ({reason})"


def test_a_recording_that_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    frames = MAX_FRAMES + 1
    header = {"descr": "|i1", "fortran_order": False, "shape": (frames, 25, 3)}
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + frames * 75)
    assert "has more than 1,000,000 frames at 30 fps" in refusal(tmp_path / "a.npy", THIRTY)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_array_gives_joints_or_a_take_error(joints: np.ndarray, tmp_path: Path, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(["npy", "npz"]))
    if suffix == "npy":
        np.save(tmp_path / "a.npy", joints[:2])
    else:
        np.savez_compressed(tmp_path / "a.npz", joints=joints[:2], fps=30)
    content = bytearray((tmp_path / f"a.{suffix}").read_bytes())
    del content[data.draw(st.integers(0, len(content))) :]
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content)), st.integers(0, 255)), max_size=3)):
        content[place : place + 1] = bytes([byte])
    (tmp_path / f"b.{suffix}").write_bytes(content)
    try:
        assert np.isfinite(read(tmp_path / f"b.{suffix}", THIRTY)).all()
    except TakeError as error:
        assert "\n" not in str(error)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_recordings_are_named_by_their_paths_below_the_given_folder(tmp_path: Path) -> None:
    names = [
        "b.npy",
        "s1/A.BVH",
        "s1/x.skeleton",
        "s1/shape.npz",
        "s1/male_stagei.npz",
        "s1/take_poses.npz",
        "notes.txt",
    ]
    touch(tmp_path / "in", *names, "found/old.npy")
    touch(tmp_path, "single.npz")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    given = [tmp_path / "in", tmp_path / "single.npz", tmp_path / "in"]
    found = find_inputs(given, tmp_path / "in" / "found", MARK)
    names = ["b.npy", "s1/A.BVH", "s1/take_poses.npz", "s1/x.skeleton", "single.npz"]
    assert sorted(set(found)) == [(name, dict(found)[name]) for name in names]
    assert dict(found)["s1/A.BVH"] == tmp_path / "in" / "s1" / "A.BVH"


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".bvh", ".skeleton"])
def test_only_regular_files_are_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    (tmp_path / f"loop{suffix}").symlink_to(f"loop{suffix}")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    found = find_inputs([tmp_path, tmp_path / f"loop{suffix}"], tmp_path / "out", MARK)
    said = {}
    for name, path in found:
        with pytest.raises(TakeError) as caught:
            read_recording(path, ReadOptions("synthetic", fps=30))
        said[name.removesuffix(suffix)] = str(caught.value)
    assert said == {
        "device": "cannot be read (it is a device, not a regular file)",
        "loop": "cannot be read (Too many levels of symbolic links)",
        "pipe": "cannot be read (it is a named pipe, not a regular file)",
    }


def test_inputs_without_recordings_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    for path, message in (
        ("missing", "no such file or folder"),
        ("notes.txt", "is no recording; expected a name in .npz"),
    ):
        with pytest.raises(UserError, match=message):
            find_inputs([tmp_path / path], tmp_path / "out", MARK)
    with pytest.raises(UserError, match="contains no recording; expected .npz, .npy, .bvh, .skeleton"):
        find_inputs([tmp_path], tmp_path / "out", MARK)
