"""NTU RGB+D's .skeleton files: bodies as Kinect tracked them, frame by frame, in metres with y up.

A file is text: the number of frames; then for each frame the number of bodies, and for each of these a line whose first
word is its id, the number of joints, and a line a joint that begins with x y z.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np

from prepare.formats.amass import TakeError
from utils.skeleton import NUM_JOINTS

FPS = 30.0
MAX_FRAMES = 1_000_000
MAX_BODIES = 100  # in a frame; Kinect tracks six
MAX_LINE = 1 << 12
# Kinect has the tip of the hand before the thumb, for either hand; here it is the other way round.
ORDER = (*range(21), 22, 21, 24, 23)


def read_ntu(path: Path) -> list[tuple[int, np.ndarray]]:
    """Everyone in a file, in the order of appearance: first frame, and joints (T, 25, 3) float32, file's axes.

    Frames in which a tracked body is lost are filled in by straight lines. Raises TakeError when the file is no
    .skeleton file, or damaged.
    """
    seen: dict[str, tuple[list[int], list[np.ndarray]]] = {}
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            frames = _count(file, "frames", MAX_FRAMES)
            for frame in range(frames):
                for _ in range(_count(file, f"bodies in frame {frame} of {frames}", MAX_BODIES)):
                    name, joints = _body(file, frame)
                    when, what = seen.setdefault(name, ([], []))
                    if when[-1:] == [frame]:
                        raise TakeError(f"has body {name[:40]} twice in frame {frame}")
                    when.append(frame)
                    what.append(joints)
    except OSError as error:
        raise TakeError(f"cannot be read ({error.strerror})") from error
    if not seen:
        raise TakeError("has no body in any frame")
    return [(when[0], _filled(np.array(when), np.stack(what))) for when, what in seen.values()]


def _body(file: TextIO, frame: int) -> tuple[str, np.ndarray]:
    """A body's id and joints (25, 3)."""
    words = _line(file, f"a body in frame {frame}").split()
    if not words:
        raise TakeError(f"has a blank line in frame {frame}, expected a body")
    joints = _count(file, f"joints in frame {frame}", MAX_LINE)
    if joints != NUM_JOINTS:
        raise TakeError(f"has a body of {joints} joints in frame {frame}, expected {NUM_JOINTS}")
    rows = [_line(file, f"joint {joint} in frame {frame}").split()[:3] for joint in range(NUM_JOINTS)]
    try:
        with np.errstate(over="ignore"):
            places = np.array(rows, dtype=np.float64).astype(np.float32)
    except ValueError:
        places = np.empty(0)
    if places.shape != (NUM_JOINTS, 3) or not np.isfinite(places).all():
        raise TakeError(f"has a joint in frame {frame} that is not three finite numbers")
    return words[0], places[list(ORDER)]


def _filled(when: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Joints of every frame from the first to the last of `when`."""
    every = np.arange(when[0], when[-1] + 1)
    if len(every) == len(when):
        return joints
    columns = joints.reshape(len(when), -1).T
    return np.stack([np.interp(every, when, c) for c in columns], axis=1).reshape(-1, NUM_JOINTS, 3).astype(np.float32)


def _count(file: TextIO, what: str, most: int) -> int:
    text = _line(file, f"the number of {what}").strip()
    if not text.isdecimal() or len(text) > 9 or int(text) > most:
        raise TakeError(f"has {text[:40]!r} as the number of {what}: it is no .skeleton file, or damaged")
    return int(text)


def _line(file: TextIO, what: str) -> str:
    text = file.readline(MAX_LINE)
    if not text:
        raise TakeError(f"ends before {what}: it is cut off")
    return text
