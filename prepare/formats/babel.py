"""BABEL's frame labels: from its JSON files to dense labels of 30 fps frames, for any set of actions.

BABEL (Punnakkal et al. 2021) gives each action of a clip as a segment in seconds with one or more categories.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from utils.errors import UserError, first_problem, nearest, shown
from utils.manifest import MAX_JSON_BYTES
from utils.skeleton import FPS
from utils.store import SUBSETS

BABEL_PAGE = "https://babel.is.tue.mpg.de"
# The paper's label sets, classes by index
LABEL_SETS: dict[str, list[str]] = {
    "split1": ["walk", "stand", "turn", "jump"],
    "split2": ["sit", "run", "stand up", "kick"],
    "split3": ["jog", "wave", "dance", "gesture"],
}
MAX_CLASSES = 10_000
Seconds = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]  # no clip lasts 30 years


class Entries(BaseModel):
    """Entries that are read from BABEL's files; others are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


class Segment(Entries):
    """One label of a clip: seconds [start_t, end_t), and its categories or null."""

    start_t: Seconds
    end_t: Seconds
    act_cat: list[str] | None = None


class FrameLabels(Entries):
    """`frame_ann` of a clip."""

    labels: list[Segment]


class Clip(Entries):
    """A clip of train.json or val.json; `frame_ann` is null where it has no frame labels."""

    feat_p: str
    dur: Annotated[Seconds, Field(gt=0)]
    frame_ann: FrameLabels | None


CLIPS = TypeAdapter(dict[str, Clip])
ACTIONS = TypeAdapter(dict[str, int], config=ConfigDict(strict=True))  # a label set


@dataclass(frozen=True)
class Annotation:
    """One clip with frame labels: its id, take (`feat_p`), seconds, and segments in BABEL's order."""

    sid: str
    subset: str
    feat_p: str
    duration: float
    segments: list[Segment]

    def frame_limit(self) -> int:
        """Frames at 30 fps within BABEL's duration; 1e-6 because 16.4 s give 491.99999999999994 frames."""
        return math.floor(FPS * self.duration + 1e-6)


@dataclass(frozen=True)
class Babel:
    """What BABEL's train and val files hold.

    `clips` are those with frame labels, in the files' order, train first; `unlabelled` counts the others by
    subset; `hashes` are the SHA-256 of the files. BABEL's test.json has no labels, and its extra_ files have several
    annotations of one clip that nobody merged: they are not read.
    """

    clips: list[Annotation]
    unlabelled: dict[str, int]
    hashes: dict[str, str]

    def categories(self) -> list[str]:
        """Every category that a segment of any clip has, sorted."""
        return sorted({name for clip in self.clips for segment in clip.segments for name in segment.act_cat or ()})


def read_babel(folder: Path) -> Babel:
    """Read BABEL's `train.json` and `val.json`.

    Raises UserError when one is missing, is not JSON or not BABEL's, or when no clip has frame labels.
    """
    if not folder.is_dir():
        raise UserError(
            f"the BABEL folder {folder} does not exist: download BABEL from {BABEL_PAGE} and unpack it there, "
            "or name yours by --babel"
        )
    clips: dict[str, Annotation] = {}
    unlabelled, hashes = {}, {}
    for subset in SUBSETS:
        path = folder / f"{subset}.json"
        entries, hashes[path.name] = _read_clips(path)
        unlabelled[subset] = sum(entry.frame_ann is None for entry in entries.values())
        for sid, entry in entries.items():
            if entry.frame_ann is None:
                continue
            if sid in clips:
                raise UserError(f"{path}: clip {shown(sid)} is in {clips[sid].subset}.json too; is it BABEL's?")
            clips[sid] = Annotation(sid, subset, entry.feat_p, entry.dur, entry.frame_ann.labels)
    if not clips:
        raise UserError(f"{folder}: no clip of train.json and val.json has frame labels (frame_ann); are they BABEL's?")
    return Babel(list(clips.values()), unlabelled, hashes)


def dense_labels(segments: Iterable[Segment], classes: list[str], frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (T, K) bool, several a frame where actions overlap, and annotated (T,) bool, of T frames.

    Frame n lies at n / 30 s; a segment covers the frames from its start on, up to but without its end. A segment
    without a category makes its frames annotated.
    """
    labels = np.zeros((frames, len(classes)), bool)
    annotated = np.zeros(frames, bool)
    index = {name: number for number, name in enumerate(classes)}
    times = np.arange(frames) / FPS  # by division: 16.4 s must not become frame 491
    for segment in segments:
        first, last = np.searchsorted(times, (segment.start_t, segment.end_t))
        annotated[first:last] = True
        for name in segment.act_cat or ():
            if name in index:
                labels[first:last, index[name]] = True
    return labels, annotated


def read_actions(path: Path) -> list[str]:
    """Class names by index from a JSON file {name: index}. Raises UserError when the indices are not 0 … K-1."""
    expected = 'expected JSON {name: index} such as {"walk": 0, "wave": 1}'
    try:
        actions = ACTIONS.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise UserError(f"{path}: is no label set ({first_problem(error)}); {expected}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as a label set ({error}); {expected}") from None
    if not 0 < len(actions) <= MAX_CLASSES or sorted(actions.values()) != list(range(len(actions))):
        raise UserError(f"{path}: expected names with the indices 0, 1, 2, …, found {str(actions)[:200]}")
    return sorted(actions, key=actions.__getitem__)


def check_actions(classes: list[str], known: list[str], origin: str) -> None:
    """Raise UserError, naming the nearest categories, when no segment of BABEL has one of `classes`."""
    for name in classes:
        if name not in known:
            raise UserError(f"{origin}: no clip has the action {name!r}; {nearest(name, known)}")


def _read_clips(path: Path) -> tuple[dict[str, Clip], str]:
    """A file's clips by id, and its SHA-256."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise _not_babel(path, "it is larger than a gigabyte")
        content = path.read_bytes()
        return CLIPS.validate_python(json.loads(content)), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): download BABEL from {BABEL_PAGE} and unpack it there"
        ) from error
    except ValidationError as error:
        problem = first_problem(error)
        clip = "" if problem.startswith("the file") else "clip "
        extra = ", as in BABEL's extra_ files" if problem.endswith("frame_ann is missing") else ""
        raise _not_babel(path, f"{clip}{problem}{extra}") from None
    except (ValueError, RecursionError) as error:
        raise _not_babel(path, f"it is not JSON ({error})") from error


def _not_babel(path: Path, what: str) -> UserError:
    return UserError(f"{path} is not BABEL's: {what}. Download it from {BABEL_PAGE}, unpack it and name it by --babel")
