"""Annotated clips, as the readers of annotations return them, and their labels by frame."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from prepare.formats.frames import MAX_FRAMES
from utils.skeleton import FPS

# With a maximum, pydantic also refuses text that cannot be encoded
ClassName = Annotated[str, Field(min_length=1, max_length=1000)]


@dataclass(frozen=True)
class Label:
    """Actions from `start` to `end` in seconds. Without times it is a video-level label. It may have no action."""

    names: tuple[str, ...]
    start: float | None = None
    end: float | None = None
    where: str = ""  # for messages: its place in the file, such as "row 7"


@dataclass(frozen=True)
class AnnotatedClip:
    """A clip, or a recording, and its labels in the file's order."""

    sid: str  # BABEL's id, or the name of the recording
    subset: str | None  # train, val or test; None: each split decides
    take: str  # BABEL's path of the motion file (`feat_p`), or the name of the recording
    labels: list[Label]
    duration: float | None = None  # seconds; None if unknown

    @property
    def names(self) -> set[str]:
        return {name for label in self.labels for name in label.names}

    def frame_limit(self) -> int:
        """Frames at 30 fps within the duration. 1e-6 is added because 30 * 16.4 gives 491.99999999999994."""
        return MAX_FRAMES if self.duration is None else math.floor(FPS * self.duration + 1e-6)


def dense_labels(labels: Iterable[Label], classes: list[str], frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (T, K) and annotated frames (T,), both bool, of a clip of T frames. Labels without times do not count.

    Frame n is at n / 30 s. A label covers the frames with start <= n / 30 < end. Where labels overlap, a frame has
    several classes. The frames of a label without an action are annotated and have no class.
    """
    dense = np.zeros((frames, len(classes)), bool)
    annotated = np.zeros(frames, bool)
    index = {name: number for number, name in enumerate(classes)}
    times = np.arange(frames) / FPS  # times are compared, not frames, because 30 * 16.4 is 491.99999999999994
    for label in labels:
        if label.start is None:
            continue
        first, last = np.searchsorted(times, (label.start, label.end))
        annotated[first:last] = True
        for name in label.names:
            if name in index:
                dense[first:last, index[name]] = True
    return dense, annotated
