"""Joint maps: the meaning of their lines, the choice of a shipped map, and the messages about a wrong one."""

from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from prepare.skeletons.joint_map import SHIPPED_MAPS, choose_map, read_map
from utils.errors import TakeError, UserError
from utils.skeleton import JOINT_NAMES

MAPS = sorted(SHIPPED_MAPS.glob("*.yaml"))
# Joint names in files of these sources, more than the maps need


def both_sides(pattern: str, parts: str) -> list[str]:
    """Names of the left and right joints, in which `pattern` places side and part."""
    return [pattern.format(side=side, part=part) for side in ("Left", "Right") for part in parts.split()]


FINGERS = " ".join(f"Hand{finger}{n}" for finger in ("Thumb", "Index", "Middle", "Ring", "Pinky") for n in (1, 2, 3, 4))
LIMBS = "Shoulder Arm ForeArm Hand UpLeg Leg Foot"
MIXAMO = [
    *(f"mixamorig:{name}" for name in ["Hips", "Spine", "Spine1", "Spine2", "Neck", "Head", "HeadTop_End"]),
    *both_sides("mixamorig:{side}{part}", f"{LIMBS} ToeBase Toe_End {FINGERS}"),
]
CMU = [
    *["Hips", "LHipJoint", "RHipJoint", "LowerBack", "Spine", "Spine1", "Neck", "Neck1", "Head", "Head.end"],
    *both_sides("{side}{part}", f"{LIMBS} FingerBase HandIndex1 HandIndex1.end ToeBase ToeBase.end"),
    *["LThumb", "LThumb.end", "RThumb", "RThumb.end"],
]
LAFAN = [
    *["Hips", "Spine", "Spine1", "Spine2", "Neck", "Head", "Head.end"],
    *both_sides("{side}{part}", f"{LIMBS} Toe"),
]
XSENS = [
    *["Hips", "Chest", "Chest2", "Chest3", "Chest4", "Neck", "Head"],
    *both_sides("{side}{part}", "Collar Shoulder Elbow Wrist Hip Knee Ankle Toe"),
]
NAMCO_PARTS = "Shoulder UpperArm LowerArm Hand UpperLeg LowerLeg Foot Toes"
NAMCO = [
    *["joint_Root", "Hips", "Spine", "Chest", "Neck", "Head"],
    *(f"{part}_{side}" for side in "LR" for part in NAMCO_PARTS.split()),
]
BIOVISION = [
    "Hips",
    "Chest",
    "Neck",
    "Head",
    *both_sides("{side}{part}", "Collar Shoulder Elbow Wrist Hip Knee Ankle Toe"),
]
NO_FINGERS = [name for name in MIXAMO if "Thumb" not in name and "Index" not in name]


@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.stem)
def test_a_ready_map_makes_all_joints_and_treats_both_sides_alike(path: Path) -> None:
    joint_map = read_map(path)
    names = sorted(joint_map.names)
    matrix = joint_map.matrix(names)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert len({tuple(row) for row in matrix}) == 25  # no two joints at one place
    for joint, part in joint_map.parts.items():
        if joint.startswith("left"):
            other = joint_map.parts[joint.replace("left", "right")]
            sides = {"Left": "Right", "left_": "right_", "_L": "_R", "LThumb": "RThumb"}
            swapped = [(reduce(lambda n, side: n.replace(*side), sides.items(), name), w) for name, w in part]
            assert other == swapped


@pytest.mark.parametrize(
    ("names", "chosen"),
    [(MIXAMO, "mixamo"), (CMU, "cmu"), (LAFAN, "lafan1"), (XSENS, "xsens"), (BIOVISION, "biovision"),
     (NAMCO, "bandai_namco"), (NO_FINGERS, "motionbuilder")],
)  # fmt: skip
def test_a_common_skeleton_gets_its_map(names: list[str], chosen: str) -> None:
    joint_map = choose_map(names)
    assert joint_map.name == chosen
    assert joint_map.matrix(names).shape == (25, len(names))


def test_an_unknown_skeleton_is_refused_with_its_names_and_the_remedy() -> None:
    with pytest.raises(TakeError) as error:
        choose_map(["bip01", "bip01 Spine", "bip01 Head"])
    for part in ("none of the joint maps in config/joint_maps", "mixamo", "--joint-map", "bip01 Spine"):
        assert part in str(error.value)


def test_a_skeleton_that_fits_two_maps_equally_is_refused() -> None:
    with pytest.raises(TakeError, match="fits several of the joint maps in config/joint_maps .*--joint-map"):
        choose_map([*XSENS, *NAMCO[1:]])


def write(path: Path, **changes: str) -> Path:
    lines = {name: name for name in JOINT_NAMES} | changes
    path.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
    return path


def test_a_line_names_a_joint_or_the_middle_of_several_or_a_point_between_two(tmp_path: Path) -> None:
    changes = {"chest": "[spine, neck]", "head": "{from: spine, to: neck, share: 1.5}", "neck": "a:b:neck"}
    joint_map = read_map(write(tmp_path / "m.yaml", **changes, left_hand="[spine, spine, neck]"))
    names = [f"someone:{name}" for name in JOINT_NAMES]
    places = np.random.default_rng(0).normal(size=(25, 3))
    made = dict(zip(JOINT_NAMES, joint_map.matrix(names) @ places, strict=True))
    spine, neck = (places[JOINT_NAMES.index(name)] for name in ("spine", "neck"))
    np.testing.assert_allclose(made["chest"], (spine + neck) / 2)
    np.testing.assert_allclose(made["head"], spine + 1.5 * (neck - spine))
    np.testing.assert_allclose(made["left_hand"], (2 * spine + neck) / 3)
    np.testing.assert_allclose(made["neck"], neck)
    np.testing.assert_allclose(made["left_foot"], places[JOINT_NAMES.index("left_foot")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a joint map: one line for each of the 25 joints"),
        ("- head", "expected a joint map: one line"),
        ("head: [", "is not valid YAML"),
        ("hed: Head", "unknown joint 'hed'; did you mean 'head'"),
        ("head: Head", "has no line for pelvis, spine, neck,"),
        ("head: Head\nhead: Head", "the key 'head' stands twice"),
    ],
)
def test_a_file_that_is_no_map_is_refused_with_the_reason(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        read_map(tmp_path / "m.yaml")
    assert message in str(error.value)
    assert "m.yaml" in str(error.value)


@pytest.mark.parametrize(
    "value",
    ["3", "null", "[]", "[1]", "''", "{from: a, to: b}", "{from: a, to: b, share: far}", "{from: a, to: 1, share: 1}",
     "{from: a, to: b, share: 11}", "{from: a, to: b, share: true}", "{from: a, to: b, share: .nan}"],
)  # fmt: skip
def test_a_line_without_meaning_is_named(value: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="m.yaml: head is .*expected a joint's name"):
        read_map(write(tmp_path / "m.yaml", head=value))


def test_a_missing_or_binary_map_gives_one_message(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.yaml", "binary.yaml"):
        with pytest.raises(UserError, match=f"{name}: .*expected a joint map"):
            read_map(tmp_path / name)


def test_missing_and_repeated_joints_are_named(tmp_path: Path) -> None:
    joint_map = read_map(write(tmp_path / "m.yaml"))
    with pytest.raises(TakeError, match="has no joint head, which the joint map m names"):
        joint_map.matrix([name for name in JOINT_NAMES if name != "head"])
    with pytest.raises(TakeError, match="two joints called head"):
        joint_map.matrix([*JOINT_NAMES, "second:head"])
