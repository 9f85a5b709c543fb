"""Pictures of the skeleton on a floor, seen by a fixed camera that shows the whole motion."""

import numpy as np
from PIL import Image, ImageDraw

from reporting.style import BLUE, ORANGE
from utils.skeleton import BONES, HEAD, JOINT_NAMES, LEFT_SHOULDER, NECK, RIGHT_SHOULDER

# Left, right and trunk can also be told apart in a grey print.
LEFT, RIGHT, TRUNK = BLUE, ORANGE, "#3A3A3A"
SIDE_COLOURS = {"left": LEFT, "right": RIGHT, "trunk": TRUNK}
SIDES = tuple(name.split("_")[0] if name.startswith(("left", "right")) else "trunk" for name in JOINT_NAMES)
PAPER, FLOOR, SHADOW = "#FFFFFF", "#EFEFEF", "#C9C9C9"
SCALE = 2  # pictures are drawn this many times larger, then reduced: this smooths the edges
HEAD_RADIUS = 0.1  # metres
SOLE = 0.02  # metres from the lowest joint to the floor
REACH = 0.15  # metres of floor beyond the outermost joint
# The camera is 35° from the body's front towards its left side, and 12° above the horizon.
AZIMUTH, ELEVATION = np.deg2rad(35), np.deg2rad(12)


class SkeletonView:
    """Draws bodies seen by a fixed camera.

    `joints` (T, 25, 3), metres, z up, is the whole motion; all of it is in view. The body may travel.
    `size` is the pictures' width and height in pixels.
    """

    def __init__(self, joints: np.ndarray, size: tuple[int, int]) -> None:
        joints = np.asarray(joints, np.float64)
        low, high = joints.min(axis=(0, 1)), joints.max(axis=(0, 1))
        self.floor_centre = np.array([*(low + high)[:2] / 2, low[2] - SOLE])
        radius = np.linalg.norm(joints[..., :2] - self.floor_centre[:2], axis=-1).max() + REACH
        # Choose scale and origin so that bodies, heads and the round floor lie within the picture.
        self._axes = _camera(joints)
        heads, floor = _head_centre(joints) @ self._axes.T, self.floor_centre @ self._axes.T
        half = radius * np.array([1, np.sin(ELEVATION)])  # of the ellipse that the round floor becomes
        points = [joints.reshape(-1, 3) @ self._axes.T, heads - HEAD_RADIUS, heads + HEAD_RADIUS]
        points = np.concatenate([*points, [floor - half, floor + half]])
        low, high = points.min(axis=0), points.max(axis=0)
        area = SCALE * np.array(size)
        self._metre = 0.96 * float((area / (high - low)).min())  # pixels of the large picture
        self._origin = area / 2 - self._metre * (low + high) / 2 * [1, -1]
        self._floor = Image.new("RGB", tuple(area.tolist()), PAPER)
        centre = self.project(self.floor_centre)
        box = [*(centre - self._metre * half), *(centre + self._metre * half)]
        ImageDraw.Draw(self._floor).ellipse(box, FLOOR)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in metres → (..., 2) pixels of the large picture, y down."""
        return self._origin + self._metre * (points @ self._axes.T) * [1, -1]

    def draw(self, joints: np.ndarray) -> Image.Image:
        """Draw the body of one frame, joints (25, 3)."""
        image = self._floor.copy()
        draw = ImageDraw.Draw(image)
        on_floor = np.where([True, True, False], joints, self.floor_centre)
        shadow, points = self.project(on_floor), self.project(joints)
        depth = joints @ np.cross(self._axes[0], self._axes[1])  # towards the camera
        width = max(3.0, 0.055 * self._metre)
        for child, parent in BONES:
            _line(draw, shadow[[child, parent]], width, SHADOW)
        for child, parent in sorted(BONES, key=lambda bone: depth[bone[0]] + depth[bone[1]]):
            ends = points[[child, parent]]
            # A white border separates a bone from those behind it. The border ends before the joints, where bones meet.
            border = ends + (ends[::-1] - ends) * 0.2
            draw.line(border.ravel().tolist(), PAPER, round(width + 0.03 * self._metre))
            _line(draw, ends, width, SIDE_COLOURS[SIDES[child]])
            if child == HEAD:
                draw.circle(self.project(_head_centre(joints)).tolist(), HEAD_RADIUS * self._metre, TRUNK)
        return image.reduce(SCALE)


def front(joints: np.ndarray) -> float:
    """The mean direction in which a body (T, 25, 3) looks: its horizontal angle in radians, 0 along x."""
    left = (joints[:, LEFT_SHOULDER] - joints[:, RIGHT_SHOULDER]).mean(axis=0)
    return np.arctan2(-left[0], left[1])


def _camera(joints: np.ndarray) -> np.ndarray:
    """The picture's right and up as unit vectors, (2, 3), for a camera in front of the body, to its side and above."""
    side = front(joints) + AZIMUTH  # horizontal angle from the body to the camera
    to_camera = np.array([np.cos(side) * np.cos(ELEVATION), np.sin(side) * np.cos(ELEVATION), np.sin(ELEVATION)])
    right = np.array([-np.sin(side), np.cos(side), 0.0])
    return np.stack([right, np.cross(to_camera, right)])


def _head_centre(joints: np.ndarray) -> np.ndarray:
    """The centre of the head, (..., 3). It lies a little beyond the head joint, which is at the end of the neck."""
    along = joints[..., HEAD, :] - joints[..., NECK, :]
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    return joints[..., HEAD, :] + 0.6 * HEAD_RADIUS * along / np.maximum(length, 1e-6)


def _line(draw: ImageDraw.ImageDraw, ends: np.ndarray, width: float, colour: str) -> None:
    """Draw a line with round ends between two points (2, 2)."""
    draw.line(ends.ravel().tolist(), colour, round(width))
    for end in ends.tolist():
        draw.circle(end, width / 2, colour)
