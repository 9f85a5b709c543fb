"""The skeleton as a picture: upright on its floor, seen by one camera that holds the whole motion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from utils.skeleton import BONES, HEAD, JOINT_NAMES, LEFT_SHOULDER, NUM_JOINTS, RIGHT_SHOULDER
from utils.text import printable

Labels = Callable[[int], str] | Sequence[str] | None

# Okabe and Ito's colours, which colour-blind readers can tell apart; dark and light, so that grey tells them apart too.
LEFT, RIGHT, TRUNK = "#0072B2", "#E69F00", "#3A3A3A"
PAPER, FLOOR, GRID, SHADOW, INK, FAINT = "#FFFFFF", "#EFEFEF", "#DADADA", "#C9C9C9", "#111111", "#666666"
COLOURS = (PAPER, INK, FAINT, LEFT, RIGHT, TRUNK, FLOOR, GRID, SHADOW)
SHARPNESS = 2  # pictures are drawn so many times larger and then reduced, which smooths their edges
HEAD_RADIUS = 0.1  # metres
SOLE = 0.02  # metres from the lowest joint to the floor
REACH = 0.15  # metres of floor beyond the outermost joint
TILE = 0.5  # metres of floor from line to line
TURN, LIFT = np.deg2rad(35), np.deg2rad(12)  # the camera: aside of where the body faces, and above it
NECK = JOINT_NAMES.index("neck")


class Stage:
    """Draws bodies through a camera that stands still and holds every frame of `joints`.

    Args:
        joints: (T, 25, 3) metres, z up, whether or not the body travels.
        size: width and height of the pictures, pixels.

    Raises:
        ValueError: the joints have another shape, no frame, or a number that is not finite.
    """

    def __init__(self, joints: np.ndarray, size: tuple[int, int]) -> None:
        joints = np.asarray(joints, np.float64)
        if joints.ndim != 3 or joints.shape[1:] != (NUM_JOINTS, 3) or not len(joints):
            raise ValueError(f"joints of shape {joints.shape}, expected (frames, {NUM_JOINTS}, 3)")
        if not np.isfinite(joints).all():
            raise ValueError("joints that are not finite")
        self.size = size
        self._axes = _camera(joints)
        low, high = joints.min(axis=(0, 1)), joints.max(axis=(0, 1))
        self._middle = np.array([*(low + high)[:2] / 2, low[2] - SOLE])  # of the floor
        self._radius = float(np.linalg.norm(joints[..., :2] - self._middle[:2], axis=-1).max()) + REACH
        self._scale, self._origin = 1.0, np.zeros(2)
        self._fit(joints)
        self._floor = self._draw_floor()

    def picture(self, joints: np.ndarray) -> Image.Image:
        """One frame's body, joints (25, 3), on the floor: SHARPNESS times as large as `size`."""
        image = self._floor.copy()
        draw = ImageDraw.Draw(image)
        feet = joints.copy()
        feet[:, 2] = self._middle[2]
        shadow, points = self.place(feet), self.place(joints)
        depth = joints @ np.cross(self._axes[0], self._axes[1])  # towards the camera
        width = max(3.0, 0.055 * self._scale)
        for child, parent in BONES:
            _stroke(draw, shadow[[child, parent]], width, SHADOW)
        for child, parent in sorted(BONES, key=lambda bone: depth[bone[0]] + depth[bone[1]]):
            ends = points[[child, parent]]
            cut = ends + (ends[::-1] - ends) * 0.2  # what is nearer cuts what is farther, but not at their common joint
            draw.line([tuple(end) for end in cut], PAPER, round(width + 0.03 * self._scale))
            _stroke(draw, ends, width, colour_of(child))
            if child == HEAD:
                _disc(draw, self.place(_head(joints)), HEAD_RADIUS * self._scale, TRUNK)
        return image

    def _fit(self, joints: np.ndarray) -> None:
        """Choose scale and origin so that bodies, heads and the floor's disc lie within the picture."""
        angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        rim = self._middle + self._radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
        seen = np.concatenate([joints.reshape(-1, 3) @ self._axes.T, rim @ self._axes.T])
        heads = _head(joints) @ self._axes.T
        seen = np.concatenate([seen, heads - HEAD_RADIUS, heads + HEAD_RADIUS])
        low, high = seen.min(axis=0), seen.max(axis=0)
        area = np.array(self.size) * SHARPNESS
        self._scale = float((area / (high - low)).min()) * 0.96
        self._origin = area / 2 - self._scale * (low + high) / 2 * [1, -1]

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in metres → (..., 2) pixels of the large picture, y down."""
        return self._origin + self._scale * (points @ self._axes.T) * [1, -1]

    def _draw_floor(self) -> Image.Image:
        image = Image.new("RGB", tuple(SHARPNESS * side for side in self.size), PAPER)
        draw = ImageDraw.Draw(image)
        angles = np.linspace(0, 2 * np.pi, 128)
        rim = self._middle + self._radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
        draw.polygon([tuple(point) for point in self.place(rim)], fill=FLOOR)
        tile = TILE * max(1, round(self._radius / 4))  # a long way has larger tiles
        for offset in np.arange(-np.floor(self._radius / tile), self._radius / tile) * tile:
            half = np.sqrt(max(0.0, self._radius**2 - offset**2))
            for line in ([[offset, -half, 0], [offset, half, 0]], [[-half, offset, 0], [half, offset, 0]]):
                _stroke(draw, self.place(self._middle + np.array(line)), SHARPNESS, GRID)
        return image


def pose_strip(
    joints: np.ndarray, fps: float, count: int, labels: Labels = None, height: int = 190, width: int = 120
) -> np.ndarray:
    """`count` poses of a clip side by side, evenly spread over its time, as one picture.

    Args:
        joints: (T, 25, 3) metres, z up; each pose is drawn in place, however far the body travels.
        labels: what is written below each pose, by frame.
        height, width: pixels of each pose with its captions.

    Returns:
        (height, count · width, 3) uint8; with fewer than `count` frames, each of them once.
    """
    count = min(count, len(joints))
    frames = ((np.arange(count) + 0.5) * len(joints) / count).astype(int)
    joints = np.asarray(joints[frames], np.float64)
    middle = joints[:, :1] * [1, 1, 0]
    captions = 36 if labels is not None else 20
    stage = Stage(joints - middle, (width, height - captions))
    strip = Image.new("RGB", (count * width, height), PAPER)
    draw = ImageDraw.Draw(strip)
    for place, (frame, pose) in enumerate(zip(frames, joints - middle, strict=True)):
        strip.paste(stage.picture(pose).reduce(SHARPNESS), (place * width, 0))
        centre = (place + 0.5) * width
        draw.text((centre, height - captions), f"{frame / fps:.1f} s", FAINT, font(12), anchor="ma")
        text = fitting(label_of(labels, int(frame)).replace("\n", " "), width - 6, 12)
        draw.text((centre, height - 17), text, INK, font(12), anchor="ma")
    return np.asarray(strip)


def label_of(labels: Labels, frame: int) -> str:
    """What a frame is labelled with."""
    if labels is None:
        return ""
    return labels(frame) if callable(labels) else labels[frame]


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, so that pictures are the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / name, size)


def fitting(text: str, width: float, size: int, bold: bool = False) -> str:
    """A line of text, cut so that it is at most `width` pixels wide."""
    text = printable(text)
    if font(size, bold).getlength(text) <= width:
        return text
    while text and font(size, bold).getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _camera(joints: np.ndarray) -> np.ndarray:
    """The picture's right and up as unit vectors, (2, 3): the body is seen from the front, aside and above."""
    left = (joints[:, LEFT_SHOULDER] - joints[:, RIGHT_SHOULDER]).mean(axis=0)
    facing = np.arctan2(-left[0], left[1])  # its horizontal angle; 0, along x, for a body that turns all round
    around = facing + TURN
    back = np.array([np.cos(around) * np.cos(LIFT), np.sin(around) * np.cos(LIFT), np.sin(LIFT)])  # to the camera
    right = np.array([-np.sin(around), np.cos(around), 0.0])
    return np.stack([right, np.cross(back, right)])


def _head(joints: np.ndarray) -> np.ndarray:
    """The head's centre, (..., 3): a little beyond its joint, which is where the neck ends."""
    along = joints[..., HEAD, :] - joints[..., NECK, :]
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    return joints[..., HEAD, :] + 0.6 * HEAD_RADIUS * along / np.maximum(length, 1e-6)


def colour_of(child: int) -> str:
    """The colour of the bone that ends in this joint."""
    name = JOINT_NAMES[child]
    return LEFT if name.startswith("left") else RIGHT if name.startswith("right") else TRUNK


def _stroke(draw: ImageDraw.ImageDraw, ends: np.ndarray, width: float, colour: str) -> None:
    """A line with round ends."""
    draw.line([tuple(end) for end in ends], colour, round(width))
    if width > 2 * SHARPNESS:
        for end in ends:
            _disc(draw, end, width / 2, colour)


def _disc(draw: ImageDraw.ImageDraw, centre: np.ndarray, radius: float, colour: str) -> None:
    draw.ellipse([*(centre - radius), *(centre + radius)], colour)
