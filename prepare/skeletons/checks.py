"""Whether joints can be a person's: how tall the body is, and which way it stands."""

from __future__ import annotations

import math

import numpy as np

from prepare.formats.amass import TakeError
from utils.skeleton import HEAD, PELVIS

SHORTEST, TALLEST, USUAL = 0.8, 2.6, 1.7  # metres
STANDING = 0.8  # mean of the direction from pelvis to head, along an axis: the body is upright in that one
LOOKED_AT = 1000  # frames at most
# From head to ankles along the bones, whatever the pose; the whole body is longer than that by a fifth.
_CHAIN = ((3, 2), (2, 20), (20, 1), (1, 0), (12, 13), (13, 14), (16, 17), (17, 18))
_SHARE = (1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5)  # of two legs their mean
_WHOLE = 1.22
_UNITS = {
    1.0: "metres", 0.01: "centimetres", 0.001: "millimetres", 0.0254: "inches", 0.3048: "feet", 0.1: "decimetres",
    0.0564: "the unit of CMU's captures",
}  # fmt: skip


def refuse_implausible(joints: np.ndarray, scale: float, up: str, axis_given: bool) -> None:
    """Raise TakeError, with the option that mends it, for joints (T, 25, 3), z up, that are nobody's.

    Args:
        scale, up: the metres in a unit and the axis that were used to bring them there.
        axis_given: the user named that axis, so that whoever lies along it does lie.
    """
    some = joints[np.linspace(0, len(joints) - 1, min(len(joints), LOOKED_AT)).astype(np.int64)].astype(np.float64)
    height = stature(some)
    if height < 1e-6:
        raise TakeError("has all joints in one place")
    if not SHORTEST <= height <= TALLEST:
        better, unit = _fitting_scale(height, scale)
        raise TakeError(
            f"has a body {height:.3g} m tall, expected {SHORTEST} to {TALLEST} m, so its unit is not {scale:g} m: "
            f"give --scale {better:g}{f' ({unit})' if unit else ''}"
        )
    if not axis_given:
        lying = _axis_along(some)
        if lying != "z":
            # axes of the file by what turns them: y up gives z from y, y from -z
            own = {"z": {"x": "x", "y": "y"}, "y": {"x": "x", "y": "z"}}[up][lying]
            raise TakeError(
                f"has a body that stands along {own}, not {up}: give --up {own}, or --up {up} if it does lie"
            )


def stature(joints: np.ndarray) -> float:
    """About how tall the body is that these joints (T, 25, 3) belong to, by its bones: the median of all frames."""
    ends = np.array(_CHAIN)
    bones = np.linalg.norm(joints[:, ends[:, 0]] - joints[:, ends[:, 1]], axis=-1)  # (T, bones)
    return _WHOLE * float(np.median(bones @ np.array(_SHARE)))


def _axis_along(joints: np.ndarray) -> str:
    """The axis along which the body stands on the whole; z where there is no such axis."""
    trunk = joints[:, HEAD] - joints[:, PELVIS]
    length = np.linalg.norm(trunk, axis=-1, keepdims=True)
    mean = np.abs(np.mean(trunk / np.maximum(length, 1e-9), axis=0))
    return "xyz"[int(mean.argmax())] if mean.max() > STANDING else "z"


def _fitting_scale(height: float, scale: float) -> tuple[float, str | None]:
    """The scale that makes the body a usual one: a customary unit if one is near, with its name."""
    wanted = scale * USUAL / height
    unit = min(_UNITS, key=lambda candidate: abs(math.log(candidate / wanted)))
    if abs(math.log(unit / wanted)) < math.log(1.4):
        return unit, _UNITS[unit]
    return float(f"{wanted:.3g}"), None
