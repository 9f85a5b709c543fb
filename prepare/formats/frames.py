"""Frames of a recording: limits of length and rate, resampling to 30 fps, and interpolation."""

import math

import numpy as np

from utils.errors import TakeError
from utils.skeleton import FPS

MIN_RATE, MAX_RATE = 1.0, 2000.0  # frames per second; AMASS has 59.99 to 250
MAX_FRAMES = 1_000_000  # of one recording at 30 fps: nine hours, 300 MB of joints


def check_length(frames: int, fps: float) -> None:
    """Raise TakeError when a recording has no frame, more than MAX_FRAMES at 30 fps, or an impossible frame rate."""
    if frames == 0:
        raise TakeError("has no frame")
    if not MIN_RATE <= fps <= MAX_RATE:
        raise TakeError(f"has {fps:g} frames per second, not between {MIN_RATE:g} and {MAX_RATE:g}")
    if frames * FPS / fps > MAX_FRAMES:
        raise TakeError(f"has more than {MAX_FRAMES:,} frames at {FPS} fps: cut it into shorter ones")


def resample_indices(frames: int, fps: float) -> np.ndarray:
    """Input frame of every output frame at 30 fps, (n,) int64: output frame n is input frame floor(n * fps / 30).

    Rates within 1e-3 of a whole number are rounded, because AMASS has 59.9999885 and 120.0000458. The released code
    loses one second a minute at 59.9999885 fps. It selects the same frames at AMASS's other rates.
    """
    rate = round(fps) if abs(fps - round(fps)) <= 1e-3 else fps
    indices = np.floor(np.arange(math.ceil(frames * FPS / rate) + 1) * rate / FPS).astype(np.int64)
    return indices[indices < frames]


def interpolate(joints: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Joints (n, 25, 3) float32 at the times `wanted` (n,), linear between those (T, 25, 3) at the times `known` (T,).

    `known` and `wanted` are in rising order.
    """
    columns = joints.reshape(len(known), -1).T
    filled = np.stack([np.interp(wanted, known, column) for column in columns], axis=1)
    return filled.reshape(len(wanted), *joints.shape[1:]).astype(np.float32)
