"""Recordings of all formats are found and give the same people, or an error that names the remedy."""

import os
import re
from pathlib import Path

import motions
import numpy as np
import pytest
from readings import JOINTS, PLAIN, POSES, THIRTY, read, refusal, saved
from scipy.spatial.transform import Rotation

from prepare.skeletons.checks import check_sides
from prepare.skeletons.joint_map import read_map
from prepare.skeletons.recordings import ReadOptions, find_inputs, read_recording
from reporting.predictions import PREDICTION
from utils.errors import UserError
from utils.skeleton import JOINT_NAMES


def test_every_format_gives_the_same_joints(tmp_path: Path) -> None:
    all_joints = motions.joints_of(POSES)
    np.savez_compressed(tmp_path / "amass.npz", poses=POSES, mocap_framerate=np.array(60.0))
    np.savez(tmp_path / "array.npz", joints=all_joints, fps=60)
    np.save(tmp_path / "array.npy", all_joints.astype(np.float64))
    motions.write_body_bvh(tmp_path / "motion.bvh", POSES, 60.0)
    motions.write_ntu(tmp_path / "motion.skeleton", len(JOINTS), {"7": (list(range(len(JOINTS))), JOINTS)})
    np.testing.assert_array_equal(read(tmp_path / "amass.npz"), JOINTS)
    np.testing.assert_allclose(read(tmp_path / "array.npz"), JOINTS, atol=1e-6)
    np.testing.assert_allclose(read(tmp_path / "array.npy", ReadOptions("synthetic", fps=60)), JOINTS, atol=1e-6)
    joint_map = read_map(motions.write_smplh_map(tmp_path / "map.yaml"))
    found = read(tmp_path / "motion.bvh", ReadOptions("synthetic", joint_map=joint_map))
    np.testing.assert_allclose(found[:, :21], JOINTS[:, :21], atol=1e-5)
    np.testing.assert_allclose(found[:, 21:], JOINTS[:, 21:], atol=2e-3)  # tips are vertices, which bend a little
    np.testing.assert_allclose(read(tmp_path / "motion.skeleton"), JOINTS, atol=1e-5)


def test_a_mixamo_skeleton_is_read_by_its_names(tmp_path: Path) -> None:
    motions.write_body_bvh(tmp_path / "motion.bvh", POSES, 60.0, named=motions.mixamo_name)
    found = read(tmp_path / "motion.bvh")
    np.testing.assert_allclose(found[:, :21], JOINTS[:, :21], atol=1e-5)
    np.testing.assert_allclose(found[:, 21:], JOINTS[:, 21:], atol=0.015)  # tips lie beyond the last joints


def test_a_skeleton_with_common_names_is_read_by_its_names(tmp_path: Path) -> None:
    motions.write_body_bvh(tmp_path / "motion.bvh", POSES, 60.0, named=motions.biovision_name)
    found = read(tmp_path / "motion.bvh")
    exact = [joint for joint, name in enumerate(JOINT_NAMES) if not name.endswith(("hand", "_tip", "chest"))]
    np.testing.assert_allclose(found[:, exact], JOINTS[:, exact], atol=1e-5)
    np.testing.assert_allclose(found, JOINTS, atol=0.12)  # the names have no fingers, and no joint for the chest


def test_people_are_numbered_by_appearance_and_have_a_first_frame(tmp_path: Path) -> None:
    bodies = {"late": (list(range(6, 18)), JOINTS[:12]), "early": (list(range(9)), JOINTS[3:12])}
    motions.write_ntu(tmp_path / "a.skeleton", 18, bodies)
    early, late = read_recording(tmp_path / "a.skeleton", PLAIN)
    assert (early.number, early.first, len(early.joints)) == (1, 0, 9)
    assert (late.number, late.first, len(late.joints)) == (2, 6, 12)
    (chosen,) = read_recording(tmp_path / "a.skeleton", ReadOptions("x", person=2))
    assert (chosen.number, chosen.first) == (2, 6)
    (faster,) = read_recording(tmp_path / "a.skeleton", ReadOptions("x", person=2, fps=60))
    assert (faster.first, len(faster.joints)) == (3, 6)
    assert "has no person 3: the highest --person is 2" in refusal(tmp_path / "a.skeleton", ReadOptions("x", person=3))


def test_a_chosen_person_is_read_although_another_body_is_none(tmp_path: Path) -> None:
    bodies = {"person": (list(range(9)), JOINTS[:9]), "chair": (list(range(9)), 0.3 * JOINTS[:9])}
    motions.write_ntu(tmp_path / "a.skeleton", 9, bodies)
    assert refusal(tmp_path / "a.skeleton").endswith("; or choose another person than 2 by --person")
    (person,) = read_recording(tmp_path / "a.skeleton", ReadOptions("x", person=1))
    assert person.number == 1
    assert "--person" not in refusal(tmp_path / "a.skeleton", ReadOptions("x", person=2))


def test_a_given_frame_rate_replaces_that_of_the_file(tmp_path: Path) -> None:
    motions.write_body_bvh(tmp_path / "a.bvh", POSES, 60.0, named=motions.mixamo_name)
    np.savez(tmp_path / "a.npz", joints=JOINTS, fps=60)
    assert len(read(tmp_path / "a.bvh", THIRTY)) == len(POSES)
    assert len(read(tmp_path / "a.npz", THIRTY)) == len(JOINTS)


@pytest.mark.parametrize("sign", [[-1, 1, 1], [1, -1, 1]])
def test_a_mirrored_body_is_refused(sign: list[int], tmp_path: Path) -> None:
    assert "so it is mirrored: its axes are left-handed" in refusal(saved(tmp_path / "a.npy", JOINTS * sign), THIRTY)
    other = {"left": "right", "right": "left"}
    swapped = lambda name: motions.mixamo_name("_".join(other.get(part, part) for part in name.split("_")))  # noqa: E731
    motions.write_body_bvh(tmp_path / "a.bvh", POSES, named=swapped)
    assert "left and right joints are exchanged" in refusal(tmp_path / "a.bvh")


def bent(joints: np.ndarray, pattern: str, pivot: str, degrees: float) -> np.ndarray:
    """Joints whose names contain the pattern, turned about the axis from the left to the right hip, at the pivot."""
    joints, at = joints.copy(), {name: number for number, name in enumerate(JOINT_NAMES)}
    turned = [number for name, number in at.items() if re.search(pattern, name)]
    axis = joints[:, at["right_hip"]] - joints[:, at["left_hip"]]
    axis *= np.radians(degrees) / np.linalg.norm(axis, axis=1, keepdims=True)
    arms = (joints[:, turned] - joints[:, [at[pivot]]]).swapaxes(0, 1)
    joints[:, turned] = np.swapaxes([Rotation.from_rotvec(axis).apply(a) for a in arms], 0, 1) + joints[:, [at[pivot]]]
    return joints


def test_people_who_kneel_or_bend_are_not_mirrored() -> None:
    kneeling = JOINTS
    for side in ("left", "right"):  # the toes of the stretched feet point backwards
        kneeling = bent(kneeling, f"{side}_(ankle|foot)", f"{side}_knee", -90)
        kneeling = bent(kneeling, f"{side}_foot", f"{side}_ankle", -45)
    check_sides(kneeling)
    check_sides(bent(JOINTS, "spine|chest|neck|head", "pelvis", -150))


def test_a_slower_recording_is_interpolated_linearly_to_30_fps(tmp_path: Path) -> None:
    slow = JOINTS[::3]  # 10 fps
    found = read(saved(tmp_path / "a.npy", slow), ReadOptions("x", fps=10))
    assert len(found) == 3 * (len(slow) - 1) + 1
    np.testing.assert_allclose(found[::3], slow, atol=1e-6)
    np.testing.assert_allclose(found[1], (2 * slow[0] + slow[1]) / 3, atol=1e-6)
    assert len(read(saved(tmp_path / "b.npy", slow[:1]), ReadOptions("x", fps=10))) == 1


@pytest.mark.parametrize(
    ("up", "axes", "signs"),
    [
        ("y", (0, 2, 1), (1, 1, -1)), ("x", (2, 0, 1), (1, 1, 1)), ("z", (0, 1, 2), (1, 1, 1)),
        ("-y", (0, 2, 1), (1, -1, 1)), ("-x", (2, 0, 1), (-1, 1, -1)), ("-z", (0, 1, 2), (1, -1, -1)),
    ],
)  # fmt: skip
def test_the_axis_that_points_up_becomes_z_without_mirroring(
    up: str, axes: tuple[int, ...], signs: tuple[int, ...], tmp_path: Path
) -> None:
    theirs = JOINTS[..., axes] * signs
    found = read(saved(tmp_path / "a.npy", theirs), ReadOptions("synthetic", fps=30, up=up))
    np.testing.assert_allclose(found, JOINTS, atol=1e-6)


@pytest.mark.parametrize(("axes", "signs", "own"), [((0, 2, 1), (1, 1, -1), "y"), ((2, 1, 0), (1, 1, -1), "x")])
def test_a_body_that_stands_along_another_axis_is_refused_unless_the_user_names_the_axis(
    axes: tuple[int, ...], signs: tuple[int, ...], own: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.npy", JOINTS[:10][..., axes] * signs)
    assert f"stands along {own}, not z: give --up={own}, or --up=z if it is lying" in refusal(path, THIRTY)
    read(path, ReadOptions("synthetic", fps=30, up="z"))
    read(path, ReadOptions("synthetic", fps=30, up=own))


def test_a_body_that_lies_at_first_and_then_stands_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prepare.skeletons.checks.MAX_CHECKED", 10)
    lying = JOINTS[:10][..., (0, 2, 1)]
    read(saved(tmp_path / "a.npy", np.concatenate([lying, JOINTS])), THIRTY)


def test_a_body_that_stands_upside_down_is_refused_with_its_axis(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", JOINTS[:10][..., (0, 2, 1)] * (1, -1, 1))  # y points down, as for cameras
    assert "stands along -y, not z: give --up=-y, or --up=z if it is lying" in refusal(path, THIRTY)
    wrong = ReadOptions("synthetic", fps=30, up="y")
    assert refusal(path, wrong) == "has a body that stands upside down: give --up=-y"
    read(path, ReadOptions("synthetic", fps=30, up="-y"))


def test_a_file_that_is_z_up_against_its_custom_is_refused_with_its_axis(tmp_path: Path) -> None:
    lying = motions.TO_Y_UP.inv().apply(JOINTS[:10].reshape(-1, 3)).reshape(10, 25, 3)  # becomes z up in the file
    motions.write_ntu(tmp_path / "a.skeleton", 10, {"1": (list(range(10)), lying)})
    assert "stands along z, not y: give --up=z, or --up=y if it is lying" in refusal(tmp_path / "a.skeleton")
    np.testing.assert_allclose(read(tmp_path / "a.skeleton", ReadOptions("x", up="z")), JOINTS[:10], atol=1e-5)


@pytest.mark.parametrize(
    ("factor", "hint"),
    [(100, "--scale 0.01 (centimetres)"), (1000, "--scale 0.001 (millimetres)"), (39.37, "--scale 0.0254 (inches)"),
     (3.281, "--scale 0.3048 (feet)"), (17.7, "--scale 0.0564 (the unit of CMU's captures)"), (1e-4, "--scale 9")],
)  # fmt: skip
def test_a_body_of_impossible_height_is_refused_with_the_fitting_scale(
    factor: float, hint: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "a.npy", JOINTS[:9].astype(np.float64) * factor)
    message = refusal(path, THIRTY)
    assert hint in message
    assert float(message.partition("a body ")[2].split()[0]) == pytest.approx(1.75 * factor, rel=0.03)
    scale = float(message.partition("--scale ")[2].split()[0])
    np.testing.assert_allclose(read(path, ReadOptions("x", fps=30, scale=scale)), JOINTS[:9], rtol=0.05)


def test_a_bvh_is_read_in_centimetres(tmp_path: Path) -> None:
    joint_map = read_map(motions.write_smplh_map(tmp_path / "map.yaml"))
    motions.write_body_bvh(tmp_path / "metres.bvh", POSES[:4], unit=1.0)
    assert "give --scale 1 (metres)" in refusal(tmp_path / "metres.bvh", ReadOptions("x", joint_map=joint_map))
    read(tmp_path / "metres.bvh", ReadOptions("x", joint_map=joint_map, scale=1.0))


def test_an_amass_take_without_a_body_is_refused_with_the_option_for_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", poses=POSES, mocap_framerate=60)
    message = refusal(tmp_path / "a.npz", ReadOptions(str(tmp_path / "nowhere.pkl")))
    assert "is an AMASS take and needs a body (" in message
    assert message.endswith("use --body FILE or --body synthetic")


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".bvh", ".skeleton"])
def test_a_folder_or_missing_file_is_refused_in_every_format(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"folder{suffix}").mkdir()
    for name, reason in (("folder", "Is a directory"), ("missing", "No such file or directory")):
        assert refusal(tmp_path / f"{name}{suffix}", THIRTY) == f"cannot be read ({reason})"


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_recordings_are_named_by_their_paths_below_the_given_folder(tmp_path: Path) -> None:
    touch(tmp_path / "in", "b.npy", "s1/A.BVH", "s1/x.skeleton", "s1/take_poses.npz", "found/old.npy")
    touch(tmp_path / "in", "s1/shape.npz", "s1/male_stagei.npz", "notes.txt")  # no recordings
    touch(tmp_path / "in", f"earlier/{PREDICTION}", "earlier/features.npy")  # results of another command
    touch(tmp_path, "single.npz")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    given = [tmp_path / "in", tmp_path / "single.npz", tmp_path / "in"]
    found = find_inputs(given, tmp_path / "in" / "found", PREDICTION)
    names = ["b.npy", "s1/A.BVH", "s1/take_poses.npz", "s1/x.skeleton", "single.npz"]
    assert sorted(set(found)) == [(name, dict(found)[name]) for name in names]
    assert dict(found)["s1/A.BVH"] == tmp_path / "in" / "s1" / "A.BVH"


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".bvh", ".skeleton"])
def test_only_regular_files_are_read(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    (tmp_path / f"loop{suffix}").symlink_to(f"loop{suffix}")
    os.mkfifo(tmp_path / f"pipe{suffix}")
    found = find_inputs([tmp_path, tmp_path / f"loop{suffix}"], tmp_path / "out", PREDICTION)
    assert {name.removesuffix(suffix): refusal(path, THIRTY) for name, path in found} == {
        "device": "cannot be read (it is a device, not a regular file)",
        "loop": "cannot be read (Too many levels of symbolic links)",
        "pipe": "cannot be read (it is a named pipe, not a regular file)",
    }


def test_inputs_without_recordings_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(UserError, match="no such file or folder"):
        find_inputs([tmp_path / "missing"], tmp_path / "out", PREDICTION)
    with pytest.raises(UserError, match="is no recording; expected a name in .npz"):
        find_inputs([tmp_path / "notes.txt"], tmp_path / "out", PREDICTION)
    with pytest.raises(UserError, match="contains no recording; expected .npz, .npy, .bvh, .skeleton"):
        find_inputs([tmp_path], tmp_path / "out", PREDICTION)
