"""Annotated clips, as the readers of annotations return them, their labels by frame, and the classes of a split."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from prepare.formats.frames import MAX_FRAMES
from utils.errors import UserError, nearest, shown
from utils.files import read_json
from utils.skeleton import FPS

# The three splits of the paper; a class's index is its place in the list
PAPER_SPLITS: dict[str, list[str]] = {
    "split1": ["walk", "stand", "turn", "jump"],
    "split2": ["sit", "run", "stand up", "kick"],
    "split3": ["jog", "wave", "dance", "gesture"],
}
MAX_CLASSES = 10_000
# Line breaks and other control characters become a space, because files of class names have one name a line
ONE_LINE = AfterValidator(lambda text: re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text))
# With a maximum, pydantic also refuses text that cannot be encoded
ClassName = Annotated[str, Field(min_length=1, max_length=1000), ONE_LINE]
INDEX_BY_NAME = TypeAdapter(dict[ClassName, int], config=ConfigDict(strict=True))


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
        """Frames at 30 fps within the duration (unknown: MAX_FRAMES). 1e-6, because 30 * 16.4 is 491.99999999999994."""
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


def read_actions(path: Path) -> list[str]:
    """Class names by index from a JSON file {name: index}. Raises UserError unless the indices are 0 … K-1."""
    expected = 'names with the indices 0, 1, 2, … as JSON, such as {"walk": 0, "wave": 1}'
    actions: dict[str, int] = read_json(path, INDEX_BY_NAME, expected)
    if not 0 < len(actions) <= MAX_CLASSES or sorted(actions.values()) != list(range(len(actions))):
        raise UserError(f"{path}: is {shown(actions)}; expected {expected}")
    return sorted(actions, key=actions.get)


def check_actions(classes: list[str], known: list[str], problem: str) -> None:
    """Raise UserError when a class is not among the `known` labels. `problem` begins the message."""
    for name in classes:
        if name not in known:
            raise UserError(f"{problem} {name!r}; {nearest(name, known)}")
