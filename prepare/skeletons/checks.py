"""Checks whether joints can belong to a person, by the body's height and the axis along which it stands."""

import math

import numpy as np

from utils.errors import TakeError
from utils.skeleton import HEAD, JOINT_NAMES, PELVIS

SHORTEST, TALLEST, USUAL = 0.8, 2.6, 1.7  # metres
STANDING = 0.8  # a body stands along an axis if the mean unit vector from pelvis to head has a component above this
MAX_CHECKED = 1000  # frames
# Mean cosine between toes and the forward direction below which a body is mirrored. In 1,215 recordings of real people
# it was between 0.51 and 0.96
MIRRORED = -0.5
# Bones from head to ankles. A leg's bones count half, as there are two legs. Stature is about _STATURE_RATIO · sum.
_BONES = np.array([(3, 2), (2, 20), (20, 1), (1, 0), (12, 13), (13, 14), (16, 17), (17, 18)])
_WEIGHTS = np.array([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5])
_STATURE_RATIO = 1.22
_UNITS = {
    1.0: "metres", 0.01: "centimetres", 0.001: "millimetres", 0.0254: "inches", 0.3048: "feet", 0.1: "decimetres",
    0.0564: "the unit of CMU's captures",
}  # fmt: skip


def check_person(joints: np.ndarray, scale: float, up: str, axis_given: bool) -> None:
    """Raise TakeError if joints (T, 25, 3) in metres cannot be a person's. The message names the option to give.

    The joints have the axes of their file. `scale` and `up` are the unit in metres and the upward axis that were
    assumed for it. If the user gave the axis (`axis_given`), a lying body is accepted.
    """
    some = joints[np.linspace(0, len(joints) - 1, min(len(joints), MAX_CHECKED)).astype(np.int64)].astype(np.float64)
    height = _stature(some)
    if height < 1e-6:
        raise TakeError("has all joints in one place: it shows no body")
    if lost := int((np.ptp(joints, axis=1) < 1e-6).all(axis=1).sum()):
        where = f"in {lost} of the {len(joints)} frames that were read"
        raise TakeError(f"has all joints in one place {where}: cut off the frames without a body, or interpolate them")
    if not SHORTEST <= height <= TALLEST:
        raise TakeError(
            f"has a body {height:.3g} m tall, expected {SHORTEST} to {TALLEST} m, so its unit is not {scale:g} m: "
            f"give --scale {_fitting_scale(height, scale)}"
        )
    own = _standing_axis(some)
    if own in (up, None):
        return
    if own.strip("-") == up.strip("-"):
        raise TakeError(f"has a body that stands upside down: give --up={own}")
    if not axis_given:
        raise TakeError(f"has a body that stands along {own}, not {up}: give --up={own}, or --up={up} if it is lying")


def check_sides(joints: np.ndarray) -> None:
    """Raise TakeError if the toes of joints (T, 25, 3) point backwards, so left and right are exchanged.

    Not for Kinect, which exchanges the sides of people who turn their back to it.

    Forward is at right angles to the shin and to the line from the left to the right hip. So people may kneel or bend.
    """
    start = JOINT_NAMES.index("left_hip")  # of the four joints of the left leg; those of the right leg follow
    legs = joints[:, start : start + 8].astype(np.float64).reshape(-1, 2, 4, 3)  # (T, legs, joints, 3)
    hips, knees, ankles, feet = np.moveaxis(legs, 2, 0)  # (T, 2, 3) each
    forward, toes = np.cross(knees - ankles, hips[:, 1:] - hips[:, :1]), feet - ankles
    lengths = np.linalg.norm(forward, axis=-1) * np.linalg.norm(toes, axis=-1)
    if np.mean((forward * toes).sum(axis=-1) / np.maximum(lengths, 1e-12)) < MIRRORED:
        raise TakeError(
            "has a body whose toes point backwards, so it is mirrored: its axes are left-handed, or left and right "
            "joints are exchanged. Change the sign of one axis, or exchange the joints"
        )


def _stature(joints: np.ndarray) -> float:
    """Approximate height in metres of a body in any pose, from the median bone lengths of joints (T, 25, 3)."""
    lengths = np.linalg.norm(joints[:, _BONES[:, 0]] - joints[:, _BONES[:, 1]], axis=-1)  # (T, bones)
    return _STATURE_RATIO * float(np.median(lengths @ _WEIGHTS))


def _standing_axis(joints: np.ndarray) -> str | None:
    """The axis from pelvis to head on average over the frames, such as "z" or "-y"; None if there is none."""
    trunk = joints[:, HEAD] - joints[:, PELVIS]
    length = np.linalg.norm(trunk, axis=-1, keepdims=True)
    mean = np.mean(trunk / np.maximum(length, 1e-9), axis=0)
    axis = int(np.abs(mean).argmax())
    if abs(mean[axis]) <= STANDING:
        return None
    return "xyz"[axis] if mean[axis] > 0 else "-" + "xyz"[axis]


def _fitting_scale(height: float, scale: float) -> str:
    """The scale that gives a usual height. If a common unit is near, its scale and its name."""
    wanted = scale * USUAL / height
    unit = min(_UNITS, key=lambda candidate: abs(math.log(candidate / wanted)))
    rounded = float(f"{wanted:.3g}")  # to three digits; written by `.3g` alone, 1230 would be 1.23e+03
    return f"{unit:g} ({_UNITS[unit]})" if 1 / 1.4 < unit / wanted < 1.4 else f"{rounded:g}"
