"""BVH files: positions equal an independent calculation, and a damaged file gives one message."""

from pathlib import Path

import motions
import numpy as np
import pytest
from hostile import damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from prepare.formats.bvh import forward_kinematics, read_bvh
from utils.errors import TakeError
from utils.skeleton import JOINT_NAMES

PLAIN = [
    ("Hips", -1, (0, 90, 0), ("Xposition", "Yposition", "Zposition", "Zrotation", "Xrotation", "Yrotation")),
    ("Knee", 0, (10, -40, 0), ("Zrotation", "Xrotation", "Yrotation")),
    ("", 1, (0, -40, 5), None),
]
ODD = [
    ("root", -1, (1, 2, 3), ("Yrotation", "Xposition", "Zposition", "Xrotation")),
    ("no channel", 0, (4, 0, 0), ()),
    ("six", 1, (0, 5, 1), ("Xposition", "Yposition", "Zposition", "Xrotation", "Yrotation", "Zrotation")),
    ("", 2, (0, 0, 2), None),
    ("twice", 0, (0, 3, 0), ("Xrotation", "Yrotation", "Xrotation")),
    ("one", 4, (7, 0, 0), ("Zrotation",)),
    ("", 5, (1, 1, 1), None),
    ("", 5, (-1, 1, 1), None),
]


def numbers_for(nodes: list, frames: int) -> np.ndarray:
    columns = [name for *_, channels in nodes for name in channels or ()]
    values = np.random.default_rng(0).uniform(-180, 180, (frames, len(columns)))
    return values.astype(np.float32).astype(np.float64)


def expected(nodes: list, row: np.ndarray) -> list[np.ndarray]:
    """Positions by 4 x 4 matrices multiplied from the root down, one frame and one node at a time."""
    values = iter(row)
    local, places = [], []
    for _, parent, offset, channels in nodes:
        step, turn = np.eye(4), np.eye(4)
        step[:3, 3] = offset
        for name in channels or ():
            if name.endswith("position"):
                step["XYZ".index(name[0]), 3] = next(values)
            else:
                around = np.eye(4)
                around[:3, :3] = Rotation.from_euler(name[0].lower(), next(values), degrees=True).as_matrix()
                turn = turn @ around
        whole = (local[parent] if parent >= 0 else np.eye(4)) @ step
        places.append(whole[:3, 3])
        local.append(whole @ turn)
    return places


def all_positions(path: Path) -> np.ndarray:
    bvh = read_bvh(path)
    return forward_kinematics(bvh.nodes, bvh.values(np.arange(bvh.frames)))


@pytest.mark.parametrize("nodes", [PLAIN, ODD], ids=["plain", "odd"])
def test_positions_of_joints_and_end_sites_equal_those_by_matrices(nodes: list, tmp_path: Path) -> None:
    numbers = numbers_for(nodes, 5)
    motions.write_bvh(tmp_path / "a.bvh", nodes, numbers, 1 / 30)
    # the file has children after their parent, depth first, which is the order of `nodes`
    wanted = np.array([expected(nodes, row) for row in numbers])
    np.testing.assert_allclose(all_positions(tmp_path / "a.bvh"), wanted, atol=1e-4)


def test_end_sites_are_named_after_their_joint(tmp_path: Path) -> None:
    motions.write_bvh(tmp_path / "a.bvh", ODD, numbers_for(ODD, 1), 1 / 30)
    names = ["root", "no channel", "six", "six.end", "twice", "one", "one.end", "one.end"]
    assert [node.name for node in read_bvh(tmp_path / "a.bvh").nodes] == names


def test_a_skeleton_with_smplh_rotations_has_the_joints_of_smplh(tmp_path: Path) -> None:
    poses = motions.poses(1.0)
    motions.write_body_bvh(tmp_path / "a.bvh", poses)
    bvh = read_bvh(tmp_path / "a.bvh")
    joints = all_positions(tmp_path / "a.bvh") / 100
    chain = {ours: theirs for ours, theirs in motions.SMPLH_NAMES.items() if not theirs.endswith(".end")}
    assert len(chain) == 21
    names = [node.name for node in bvh.nodes]
    found = joints[:, [names.index(name) for name in chain.values()]]
    wanted = motions.joints_of(poses)[:, [JOINT_NAMES.index(name) for name in chain]]
    np.testing.assert_allclose(found, motions.TO_Y_UP.apply(wanted.reshape(-1, 3)).reshape(wanted.shape), atol=1e-5)


@pytest.mark.parametrize(
    ("frame_time", "fps"),
    [("0.0333333", 30), ("0.033333", 30), ("0.0083333", 120), ("0.00833", 120.048), ("0.0416667", 24),
     ("0.041708", 23.9762), ("0.016667", 60), ("0.01", 100), ("1", 1), ("5e-4", 2000), ("0", 0), ("-1", 0),
     ("nan", 0), ("inf", 0), ("1e-320", 0), ("2", 0.5), ("33.3", 0.03003)],
)  # fmt: skip
def test_a_frame_time_of_few_digits_gives_a_whole_rate(frame_time: str, fps: float, tmp_path: Path) -> None:
    motions.write_bvh(tmp_path / "a.bvh", PLAIN, numbers_for(PLAIN, 2), 1.0)
    text = (tmp_path / "a.bvh").read_text().replace("Frame Time: 1.0000000", f"Frame Time:\t{frame_time}")
    (tmp_path / "a.bvh").write_text(text)
    found = read_bvh(tmp_path / "a.bvh").fps
    assert found == fps or found == pytest.approx(fps, rel=1e-5)


def test_only_the_wanted_frames_are_read(tmp_path: Path) -> None:
    numbers = numbers_for(PLAIN, 9)
    motions.write_bvh(tmp_path / "a.bvh", PLAIN, numbers, 1 / 60)
    np.testing.assert_allclose(read_bvh(tmp_path / "a.bvh").values(np.arange(0, 9, 2)), numbers[::2], rtol=1e-6)


def test_line_ends_blank_lines_tabs_case_and_places_of_braces_do_not_matter(tmp_path: Path) -> None:
    numbers = numbers_for(PLAIN, 3)
    motions.write_bvh(tmp_path / "a.bvh", PLAIN, numbers, 1 / 30)
    before = all_positions(tmp_path / "a.bvh")
    text = (tmp_path / "a.bvh").read_text()
    odd = "\ufeff" + text.replace("\n\t{", " {").replace("\n", " \r\n\r\n").replace("Frames: ", "frames:\t")
    odd = odd.replace("HIERARCHY", "Hierarchy").replace("Frame Time", "FRAME TIME")
    (tmp_path / "a.bvh").write_bytes(odd.encode())
    np.testing.assert_array_equal(all_positions(tmp_path / "a.bvh"), before)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HIERARCHY", "HIERARCHIE", "does not begin with HIERARCHY"),
        ("JOINT Knee", "ROOT Knee", "'ROOT Knee' in line 6, expected a line of a BVH hierarchy"),
        ("OFFSET 10 -40 0", "OFFSET 10 -40", "has 2 numbers in line 8, expected three after OFFSET"),
        ("OFFSET 10 -40 0", "OFFSET 10 -40 inf", "not finite in line 8"),
        ("\t\tOFFSET 10 -40 0\n", "", "has no OFFSET, CHANNELS or closing brace of 'Knee'"),
        ("CHANNELS 3 Z", "CHANNELS 4 Z", "CHANNELS in line 9"),
        ("CHANNELS 3 Z", "CHANNELS 3 W", "CHANNELS in line 9"),
        ("MOTION", "MOTIONS", "'MOTIONS' in line 16"),
        ("Frames: 3", "Frames: 0", "has 0 frames in line 17, expected a whole number from 1 to 1,000,000,000"),
        ("Frames: 3", "Frames: 2.5", "has 2.5 frames"),
        ("Frames: 3", "Frames: 1e300", "has 1e+300 frames"),
        ("Frames: 3", "Frames: many", "expected 'Frames:' and a number"),
        ("Frames: 3", "Frames: nan", "has nan frames"),
        ("Frames: 3", "Frames: 4", "ends after 3 of 4 frames"),
        ("Frame Time: 0.0333333", "Frame Time:", "expected 'Frame Time:' and a number"),
        (
            "Frame Time: 0.0333333\n",
            "Frame Time: 0.0333333\n1 2 3\n",
            "has 3 numbers in line 19, expected one for each of its 9 channels",
        ),
        ("Frame Time: 0.0333333\n", "Frame Time: 0.0333333\n1 2 x\n", "no number in line 19"),
        ("Frame Time: 0.0333333\n", f"Frame Time: 0.0333333\n{'nan ' * 9}\n", "not finite in line 19"),
        ("ROOT Hips", "ROOT " + "x" * (1 << 20), "has a line 2 of more than"),
    ],
)
def test_the_error_names_what_is_wrong_and_the_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    motions.write_bvh(tmp_path / "a.bvh", PLAIN, numbers_for(PLAIN, 3), 1 / 30)
    text = (tmp_path / "a.bvh").read_text()
    assert text.count(old) == 1
    (tmp_path / "a.bvh").write_text(text.replace(old, new))
    with pytest.raises(TakeError) as error:
        all_positions(tmp_path / "a.bvh")
    assert message in str(error.value)


def test_an_empty_or_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.bvh").touch()
    (tmp_path / "binary.bvh").write_bytes(bytes(range(256)) * 9)
    for name in ("empty", "binary"):
        with pytest.raises(TakeError):
            read_bvh(tmp_path / f"{name}.bvh")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_anywhere_gives_positions_or_a_take_error(tmp_path: Path, data: st.DataObject) -> None:
    motions.write_bvh(tmp_path / "a.bvh", ODD, numbers_for(ODD, 3), 1 / 30)
    path = damaged(tmp_path / "a.bvh", data)
    try:
        assert all_positions(path).shape[1:] == (8, 3)
    except TakeError as error:
        assert "\n" not in str(error)
