"""The drawn skeleton: upright, all of it in the picture, left and right told apart, and still where it stands still."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageColor

from reporting.skeleton_view import LEFT, PAPER, RIGHT, SHARPNESS, TRUNK, Stage, fitting, font, pose_strip
from utils.skeleton import NUM_JOINTS

SIZE = (200, 160)


def star(facing: float = 0.0) -> np.ndarray:
    """A body (25, 3) with arms and legs spread, that faces the horizontal angle; along x for 0."""
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
    """Where a picture has exactly this colour: (n, 2) of x and y."""
    y, x = np.nonzero((np.asarray(image) == ImageColor.getrgb(colour)).all(axis=-1))
    return np.stack([x, y], axis=1)


@pytest.mark.parametrize("facing", [0.0, 1.0, 3.0, -2.0])
def test_whoever_faces_whichever_way_is_seen_upright_from_the_front(facing: float) -> None:
    image = Stage(star(facing)[None], SIZE).picture(star(facing))
    assert image.size == (SHARPNESS * SIZE[0], SHARPNESS * SIZE[1])
    assert pixels(image, TRUNK)[:, 1].mean() < image.height / 2  # the head, y down
    assert pixels(image, LEFT)[:, 0].mean() > pixels(image, RIGHT)[:, 0].mean()  # as one sees others, not oneself


def test_every_joint_of_a_motion_stays_in_the_picture_however_far_it_goes() -> None:
    way = np.linspace(0, 1, 20)[:, None, None] * [7.0, -3.0, 0.4]
    joints = star() + way
    stage = Stage(joints, SIZE)
    seen = stage.place(joints)
    assert (seen > 0).all()
    assert (seen < SHARPNESS * np.array(SIZE)).all()
    for frame in (0, 19):
        image = np.asarray(stage.picture(joints[frame]))
        edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert (edge == ImageColor.getrgb(PAPER)).all()  # nothing is cut off


def test_the_camera_does_not_move_with_the_body() -> None:
    joints = star() + np.linspace(0, 2, 5)[:, None, None] * [0, 1.0, 0]
    stage = Stage(joints, SIZE)
    floors = [pixels(stage.picture(pose), "#EFEFEF")[:, 0].max() for pose in joints]
    heads = [pixels(stage.picture(pose), TRUNK)[:, 0].mean() for pose in joints]
    assert len(set(floors)) == 1
    assert (np.diff(heads) > 5).all()


def test_the_lowest_foot_of_the_clip_is_on_the_floor_and_others_are_above_it() -> None:
    low, high = star() - [0, 0, 0.5], star()
    stage = Stage(np.stack([low, high]), SIZE)
    assert stage._middle[2] == pytest.approx(low[:, 2].min(), abs=0.03)
    assert pixels(stage.picture(low), LEFT)[:, 1].max() > pixels(stage.picture(high), LEFT)[:, 1].max() + 20


def test_left_right_and_trunk_differ_in_grey() -> None:
    grey = [Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0)) for colour in (LEFT, RIGHT, TRUNK)]
    assert min(abs(a - b) for a, b in zip(grey, [*grey[1:], grey[0]], strict=True)) > 25


@pytest.mark.parametrize(
    ("joints", "said"),
    [
        (np.zeros((0, 25, 3)), r"shape \(0, 25, 3\)"),
        (np.zeros((5, 24, 3)), r"shape \(5, 24, 3\), expected \(frames, 25, 3\)"),
        (np.full((5, 25, 3), np.nan), "not finite"),
    ],
)
def test_what_is_no_motion_is_refused(joints: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Stage(joints, SIZE)


def test_a_body_without_extent_can_be_drawn() -> None:
    assert Stage(np.zeros((3, 25, 3)), SIZE).picture(np.zeros((25, 3))).size == (400, 320)


def test_a_strip_shows_poses_spread_over_the_clip_each_with_its_label() -> None:
    asked: list[int] = []

    def label(frame: int) -> str:
        asked.append(frame)
        return "walk"

    joints = np.repeat(star()[None], 100, axis=0) + np.linspace(0, 50, 100)[:, None, None] * [1, 0, 0]
    strip = pose_strip(joints, 30, 4, label, height=150, width=90)
    assert strip.shape == (150, 360, 3)
    assert strip.dtype == np.uint8
    assert asked == [12, 37, 62, 87]
    heads = pixels(strip, TRUNK)[:, 0] // 90
    assert np.bincount(heads).min() > 30  # each pose in its own place, though the body is 50 m away


def test_a_strip_of_a_short_clip_shows_each_frame_once() -> None:
    assert pose_strip(star()[None], 30, 8).shape[1] == 120


def test_a_line_that_is_too_long_is_cut_to_the_width() -> None:
    assert fitting("walk", 200, 16) == "walk"
    cut = fitting("walk " * 400, 200, 16)
    assert cut.startswith("walk")
    assert cut.endswith("…")
    assert 150 < font(16).getlength(cut) <= 200


@pytest.mark.parametrize("odd", ["\ud800", "\x00", "\u202ewave", "日本", "", "\n"])
def test_any_text_can_be_written(odd: str) -> None:
    assert pose_strip(star()[None], 30, 1, [odd]).any()
