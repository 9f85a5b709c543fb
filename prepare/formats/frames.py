"""Frames of a recording: limits of length and rate, resampling to 30 fps, and interpolation."""

import math

import numpy as np

from utils.errors import TakeError
from utils.skeleton import FPS

MIN_RATE, MAX_RATE = 1.0, 2000.0  # frames per second; AMASS has 59.99 to 250
MAX_FRAMES = 1_000_000  # of one recording at 30 fps: nine hours, 300 MB of joints


def check_length_and_rate(frames: int, fps: float, hint: str = "") -> None:
    """Raise TakeError when a recording has no frame, more than MAX_FRAMES at 30 fps, or an impossible frame rate.

    `hint` ends the message about the rate.
    """
    if frames == 0:
        raise TakeError("has no frame")
    if not MIN_RATE <= fps <= MAX_RATE:
        raise TakeError(f"has {fps:g} frames per second, not between {MIN_RATE:g} and {MAX_RATE:g}{hint}")
    if frames * FPS / fps > MAX_FRAMES:
        raise TakeError(f"has more than {MAX_FRAMES:,} frames at {FPS} fps: cut it into shorter ones")


def resample_indices(frames: int, fps: float) -> np.ndarray:
    """Indices of the input frames that make 30 fps, (T,) int64: output frame i is input frame floor(i · fps / 30).

    Rates within 1e-3 of a whole number are rounded, because AMASS has 59.9999885 and 120.0000458. The released code
    loses one second a minute at 59.9999885 fps. At AMASS's other rates, it selects the same frames as this function.
    """
    rate = round(fps) if abs(fps - round(fps)) <= 1e-3 else fps
    indices = np.floor(np.arange(math.ceil(frames * FPS / rate) + 1) * rate / FPS).astype(np.int64)
    return indices[indices < frames]


def interpolate(joints: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Linear interpolation of `joints` (T, 25, 3), given at the times `known` (T,), at the times `wanted` (n,).

    Returns (n, 25, 3) float32. Before the first and after the last known time, the joints stay in place. All times are
    in rising order.
    """
    columns = joints.reshape(len(known), -1).T
    filled = np.stack([np.interp(wanted, known, column) for column in columns], axis=1)
    return filled.reshape(len(wanted), *joints.shape[1:]).astype(np.float32)
