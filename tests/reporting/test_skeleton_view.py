"""The drawn skeleton is upright, lies within the picture, and has a left and a right side that differ."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from reporting.skeleton_view import FLOOR, LEFT, PAPER, RIGHT, SCALE, TRUNK, SkeletonView
from utils.skeleton import NUM_JOINTS

SIZE = (200, 160)


def star(facing: float = 0.0) -> np.ndarray:
    """A body (25, 3) with arms and legs spread that faces this horizontal angle. 0 is along x."""
    y = {"shoulder": 0.2, "elbow": 0.45, "wrist": 0.7, "hand": 0.75, "hip": 0.1, "knee": 0.2, "ankle": 0.3, "foot": 0.3}
    z = {"hip": 0.9, "knee": 0.5, "ankle": 0.1, "foot": 0.05}
    joints = np.zeros((NUM_JOINTS, 3))
    trunk = {0: 0.95, 1: 1.1, 2: 1.5, 3: 1.6, 20: 1.4}
    for joint, height in trunk.items():
        joints[joint, 2] = height
    limbs = {4: "shoulder", 5: "elbow", 6: "wrist", 7: "hand", 12: "hip", 13: "knee", 14: "ankle", 15: "foot"}
    for joint, part in limbs.items():
        for side, place in ((1, joint), (-1, joint + 4)):
            joints[place] = [0.1 if part == "foot" else 0, side * y[part], z.get(part, 1.4)]
    joints[[21, 22]] = joints[7] + [0, 0.03, 0]
    joints[[23, 24]] = joints[11] - [0, 0.03, 0]
    cos, sin = np.cos(facing), np.sin(facing)
    return joints @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def pixels(image: Image.Image | np.ndarray, colour: str) -> np.ndarray:
    """The x and y of the pixels of exactly this colour, (n, 2)."""
    y, x = np.nonzero((np.asarray(image) == ImageColor.getrgb(colour)).all(axis=-1))
    return np.stack([x, y], axis=1)


@pytest.mark.parametrize("facing", [0.0, 1.0, 3.0, -2.0])
def test_a_body_is_seen_upright_and_from_the_front_whichever_way_it_faces(facing: float) -> None:
    image = SkeletonView(star(facing)[None], SIZE).draw(star(facing))
    assert image.size == SIZE
    assert pixels(image, TRUNK)[:, 1].mean() < image.height / 2  # the head, y down
    assert pixels(image, LEFT)[:, 0].mean() > pixels(image, RIGHT)[:, 0].mean()


def test_every_joint_of_a_motion_lies_within_the_picture_even_if_the_body_travels_far() -> None:
    way = np.linspace(0, 1, 20)[:, None, None] * [7.0, -3.0, 0.4]
    joints = star() + way
    view = SkeletonView(joints, SIZE)
    seen = view.project(joints)
    assert (seen > 0).all()
    assert (seen < SCALE * np.array(SIZE)).all()
    for frame in (0, 19):
        image = np.asarray(view.draw(joints[frame]))
        edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert (edge == ImageColor.getrgb(PAPER)).all()  # nothing is cut off


def test_the_camera_does_not_move_with_the_body() -> None:
    joints = star() + np.linspace(0, 2, 5)[:, None, None] * [0, 1.0, 0]
    view = SkeletonView(joints, SIZE)
    floors = [pixels(view.draw(pose), FLOOR)[:, 0].max() for pose in joints]
    heads = [pixels(view.draw(pose), TRUNK)[:, 0].mean() for pose in joints]
    assert len(set(floors)) == 1
    assert (np.diff(heads) > 2.5).all()


def test_the_lowest_foot_of_the_clip_is_on_the_floor_and_other_feet_are_above_it() -> None:
    low, high = star() - [0, 0, 0.5], star()
    view = SkeletonView(np.stack([low, high]), SIZE)
    assert view.floor_centre[2] == pytest.approx(low[:, 2].min(), abs=0.03)
    assert pixels(view.draw(low), LEFT)[:, 1].max() > pixels(view.draw(high), LEFT)[:, 1].max() + 10


def test_left_right_and_trunk_differ_in_grey() -> None:
    grey = [Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) for colour in (LEFT, RIGHT, TRUNK)]
    assert min(abs(a - b) for a, b in zip(grey, [*grey[1:], grey[0]], strict=True)) > 25


def test_a_body_without_extent_can_be_drawn() -> None:
    assert SkeletonView(np.zeros((3, 25, 3)), SIZE).draw(np.zeros((25, 3))).size == SIZE
