"""NTU's .skeleton files: all bodies, in the project's order of joints, and one message about a damaged file."""

from pathlib import Path

import motions
import numpy as np
import pytest
from hostile import damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prepare.formats.ntu import read_ntu
from utils.errors import TakeError
from utils.skeleton import JOINT_NAMES

# The 25 joints as NTU RGB+D's paper lists them, 1 to 25
KINECT = (
    "base of the spine", "middle of the spine", "neck", "head", "left shoulder", "left elbow", "left wrist",
    "left hand", "right shoulder", "right elbow", "right wrist", "right hand", "left hip", "left knee", "left ankle",
    "left foot", "right hip", "right knee", "right ankle", "right foot", "spine", "tip of the left hand", "left thumb",
    "tip of the right hand", "right thumb",
)  # fmt: skip
OURS = {
    "base of the spine": "pelvis", "middle of the spine": "spine", "spine": "chest",
    "tip of the left hand": "left_index_tip", "tip of the right hand": "right_index_tip",
    "left thumb": "left_thumb_tip", "right thumb": "right_thumb_tip",
}  # fmt: skip


def random_joints(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).normal(size=(frames, 25, 3))


def test_joints_come_by_name_from_kinects_order(tmp_path: Path) -> None:
    lines = ["1", "1", "72057594037931101 0 1 1 1 1 0 0.02 -0.2 2", "25"]
    lines += [f"{number} 0.5 -1e-2 9 9 9 9 0 0 0 1 2" for number in range(25)]
    (tmp_path / "a.skeleton").write_text("\r\n".join(lines) + "\r\n")
    ((first, joints),) = read_ntu(tmp_path / "a.skeleton")
    assert (first, joints.shape, joints.dtype) == (0, (1, 25, 3), np.float32)
    for number, name in enumerate(KINECT):
        ours = OURS.get(name, name.replace(" ", "_"))
        np.testing.assert_allclose(joints[0, JOINT_NAMES.index(ours)], [number, 0.5, -0.01])


def test_each_body_has_joints_from_its_first_frame_to_its_last(tmp_path: Path) -> None:
    one, two = random_joints(5), random_joints(3)
    motions.write_ntu(tmp_path / "a.skeleton", 7, {"11": ([1, 2, 3, 4, 5], one), "7": ([0, 2, 6], two)})
    (first_two, found_two), (first_one, found_one) = read_ntu(tmp_path / "a.skeleton")
    assert (first_two, first_one) == (0, 1)
    to_z_up = motions.TO_Y_UP.as_matrix()  # of rows
    np.testing.assert_allclose(found_one @ to_z_up, one, atol=1e-6)
    assert len(found_two) == 7
    found_two = found_two @ to_z_up
    np.testing.assert_allclose(found_two[[0, 2, 6]], two, atol=1e-6)
    np.testing.assert_allclose(found_two[1], (two[0] + two[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(found_two[5], (two[1] + 3 * two[2]) / 4, atol=1e-6)


@pytest.mark.parametrize(
    ("number", "line", "message"),
    [
        (1, "x", "has 'x' as the number of frames"),
        (1, "0", "has no body in any frame"),
        (1, "3", "ends before the number of bodies in frame 2 of 3"),
        (1, "9999999999999999999", "as the number of frames"),
        (2, "-1", "has '-1' as the number of bodies in frame 0"),
        (2, "101", "has '101' as the number of bodies"),
        (3, "", "has a blank line in frame 0"),
        (4, "20", "has a body of 20 joints in frame 0"),
        (5, "1 2", "a joint in frame 0 that is not three finite numbers"),
        (5, "1 2 nan", "a joint in frame 0 that is not three finite numbers"),
        (5, "1 2 z", "a joint in frame 0 that is not three finite numbers"),
    ],
)
def test_the_error_names_what_is_wrong_and_the_frame(number: int, line: str, message: str, tmp_path: Path) -> None:
    motions.write_ntu(tmp_path / "a.skeleton", 2, {"1": ([0, 1], random_joints(2))})
    lines = (tmp_path / "a.skeleton").read_text().splitlines()
    lines[number - 1] = line
    (tmp_path / "a.skeleton").write_text("\n".join(lines) + "\n")
    with pytest.raises(TakeError) as error:
        read_ntu(tmp_path / "a.skeleton")
    assert message in str(error.value)


def test_a_body_twice_in_a_frame_is_refused(tmp_path: Path) -> None:
    body = ["5 0 0 0 0 0 0 0 0 2", "25", *["0 0 0"] * 25]
    (tmp_path / "a.skeleton").write_text("\n".join(["1", "2", *body, *body]))
    with pytest.raises(TakeError, match="body 5 twice in frame 0"):
        read_ntu(tmp_path / "a.skeleton")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_anywhere_gives_bodies_or_a_take_error(tmp_path: Path, data: st.DataObject) -> None:
    motions.write_ntu(tmp_path / "a.skeleton", 2, {"1": ([0, 1], random_joints(2)), "2": ([1], random_joints(1))})
    path = damaged(tmp_path / "a.skeleton", data)
    try:
        assert all(np.isfinite(joints).all() for _, joints in read_ntu(path))
    except TakeError as error:
        assert "\n" not in str(error)
