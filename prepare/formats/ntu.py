"""NTU RGB+D's .skeleton files: the bodies that Kinect tracked, in metres, y up.

The file is text. It begins with the number of frames. Each frame has the number of bodies. Each body has a line that
begins with its id; a line with the number of joints; and for each joint a line that begins with x y z.
"""

from pathlib import Path
from typing import TextIO

import numpy as np

from prepare.formats.frames import MAX_FRAMES, interpolate
from prepare.formats.npz import finite_float32
from utils.errors import TakeError
from utils.skeleton import KINECT_ORDER, NUM_JOINTS

MAX_COUNT = 100  # of bodies in a frame, and of joints in a body; Kinect has 6 and 25
MAX_LINE = 1 << 12


def read_ntu(path: Path) -> list[tuple[int, np.ndarray]]:
    """For each body, in order of appearance: its first frame, and its joints (T, 25, 3) float32 in the file's axes.

    A body's missing frames are interpolated linearly. Raises TakeError when the file is damaged or no .skeleton file,
    OSError when it cannot be read.
    """
    bodies: dict[str, dict[int, np.ndarray]] = {}  # joints by body id and frame
    with path.open(encoding="ascii", errors="replace") as file:
        frames = _count(file, "frames", MAX_FRAMES)
        for frame in range(frames):
            for _ in range(_count(file, f"bodies in frame {frame} of {frames}", MAX_COUNT)):
                name, joints = _body(file, frame)
                if frame in bodies.setdefault(name, {}):
                    raise TakeError(f"has body {name[:40]} twice in frame {frame}")
                bodies[name][frame] = joints
    if not bodies:
        raise TakeError("has no body in any frame")
    people = []
    for tracked in bodies.values():
        first, last = min(tracked), max(tracked)
        joints = interpolate(np.stack(list(tracked.values())), np.array(list(tracked)), np.arange(first, last + 1))
        people.append((first, joints))
    return people


def _body(file: TextIO, frame: int) -> tuple[str, np.ndarray]:
    """A body's id and joints (25, 3)."""
    words = _line(file, f"a body in frame {frame}").split()
    if not words:
        raise TakeError(f"has a blank line in frame {frame}, expected a body")
    joints = _count(file, f"joints in frame {frame}", MAX_COUNT)
    if joints != NUM_JOINTS:
        raise TakeError(f"has a body of {joints} joints in frame {frame}, expected {NUM_JOINTS}")
    rows = [_line(file, f"joint {joint} in frame {frame}").split()[:3] for joint in range(NUM_JOINTS)]
    try:
        positions = finite_float32(np.array(rows, np.float64).reshape(NUM_JOINTS, 3), "numbers")
    except (ValueError, TakeError):
        raise TakeError(f"has a joint in frame {frame} that is not three finite numbers") from None
    return words[0], positions[KINECT_ORDER]


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
