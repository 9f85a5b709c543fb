"""BABEL's frame labels: from its JSON files to dense labels of 30 fps frames, for any set of actions.

BABEL (Punnakkal et al. 2021) gives every action of a clip as a segment in seconds with one or more categories.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError, nearest
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
OTHER_FILES = ("test", "extra_train", "extra_val")  # without labels, or with several unmerged annotations a clip


@dataclass(frozen=True)
class Segment:
    """One label: seconds [start, end) and its categories, none where BABEL has null."""

    start: float
    end: float
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Annotation:
    """One clip with frame labels: its id, take (`feat_p`), seconds, and segments in BABEL's order."""

    sid: str
    subset: str
    feat_p: str
    duration: float
    segments: tuple[Segment, ...]

    def frames(self, motion: int) -> int:
        """Length at 30 fps: as long as BABEL says, and no longer than the motion of `motion` frames."""
        return min(self.frame_limit(), motion)

    def frame_limit(self) -> int:
        """Frames within BABEL's duration; 1e-6 makes up for 16.4 s being 491.99999999999994 frames."""
        return math.floor(FPS * self.duration + 1e-6)


@dataclass(frozen=True)
class Babel:
    """What BABEL's train and val files hold.

    `clips` are those with frame labels, in the files' order, train first; `unlabelled` counts the others by
    subset; `hashes` are the SHA-256 of the files; `ignored` counts the clips of the files that are not used.
    """

    clips: list[Annotation]
    unlabelled: dict[str, int]
    hashes: dict[str, str]
    ignored: dict[str, int]

    def categories(self) -> list[str]:
        """Every category that a segment of any clip has, sorted."""
        return sorted({name for clip in self.clips for segment in clip.segments for name in segment.categories})


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
        entries, hashes[path.name] = _read_json(path)
        found = [clip for sid, entry in entries.items() if (clip := _annotation(path, subset, sid, entry))]
        unlabelled[subset] = len(entries) - len(found)
        for clip in found:
            if clip.sid in clips:
                raise UserError(f"{path}: clip {clip.sid!r} is in {clips[clip.sid].subset}.json too; is it BABEL's?")
            clips[clip.sid] = clip
    if not clips:
        raise UserError(f"{folder}: no clip of train.json and val.json has frame labels (frame_ann); are they BABEL's?")
    ignored: dict[str, int] = {}
    for name in OTHER_FILES:
        with suppress(UserError):  # a file that is not used may be missing or damaged
            ignored[f"{name}.json"] = len(_read_json(folder / f"{name}.json")[0])
    return Babel(list(clips.values()), unlabelled, hashes, ignored)


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
        first, last = np.searchsorted(times, (segment.start, segment.end))
        annotated[first:last] = True
        for name in segment.categories:
            if name in index:
                labels[first:last, index[name]] = True
    return labels, annotated


def read_actions(path: Path) -> list[str]:
    """Class names by index from a JSON file {name: index}. Raises UserError when the indices are not 0 … K-1."""
    expected = 'expected JSON {name: index} such as {"walk": 0, "wave": 1}'
    try:
        actions = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as a label set ({error}); {expected}") from None
    if not isinstance(actions, dict) or not all(type(index) is int for index in actions.values()):
        raise UserError(f"{path}: is no label set; {expected}")
    if not 0 < len(actions) <= MAX_CLASSES or sorted(actions.values()) != list(range(len(actions))):
        raise UserError(f"{path}: expected names with the indices 0, 1, 2, …, found {str(actions)[:200]}")
    return sorted(actions, key=actions.__getitem__)


def check_actions(classes: list[str], known: list[str], origin: str) -> None:
    """Raise UserError, naming the nearest categories, when no segment of BABEL has one of `classes`."""
    for name in classes:
        if name not in known:
            raise UserError(f"{origin}: no clip has the action {name!r}; {nearest(name, known)}")


def _read_json(path: Path) -> tuple[dict[str, Any], str]:
    """A file's entries by clip id, and its SHA-256."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise _not_babel(path, "it is larger than a gigabyte")
        content = path.read_bytes()
        entries = json.loads(content)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): download BABEL from {BABEL_PAGE} and unpack it there"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _not_babel(path, f"it is not JSON ({error})") from error
    if not isinstance(entries, dict):
        raise _not_babel(path, f"it holds a {type(entries).__name__}, not clips by id")
    return entries, hashlib.sha256(content).hexdigest()


def _annotation(path: Path, subset: str, sid: str, entry: Any) -> Annotation | None:
    """A clip's annotation; None when it has no frame labels."""
    if not isinstance(entry, dict):
        raise _not_babel(path, f"clip {sid!r} is a {type(entry).__name__}")
    if "frame_anns" in entry:
        raise _not_babel(path, f"clip {sid!r} has 'frame_anns', as BABEL's extra_{subset}.json has")
    missing = [key for key in ("feat_p", "dur", "frame_ann") if key not in entry]
    if missing:
        raise _not_babel(path, f"clip {sid!r} has no {' and no '.join(repr(key) for key in missing)}")
    if not isinstance(entry["feat_p"], str):
        raise _not_babel(path, f"clip {sid!r} has feat_p {_short(entry['feat_p'])}")
    if not _is_number(entry["dur"]) or entry["dur"] <= 0:
        raise _not_babel(path, f"clip {sid!r} has dur {_short(entry['dur'])}, not seconds")
    if entry["frame_ann"] is None:
        return None
    labels = entry["frame_ann"].get("labels") if isinstance(entry["frame_ann"], dict) else None
    if not isinstance(labels, list):
        raise _not_babel(path, f"clip {sid!r} has a frame_ann without a list of labels")
    segments = tuple(_segment(path, sid, label) for label in labels)
    return Annotation(sid, subset, entry["feat_p"], float(entry["dur"]), segments)


def _segment(path: Path, sid: str, label: Any) -> Segment:
    if not isinstance(label, dict):
        raise _not_babel(path, f"clip {sid!r} has the label {_short(label)}")
    times = [label.get(key) for key in ("start_t", "end_t")]
    if not all(_is_number(time) for time in times):
        raise _not_babel(path, f"clip {sid!r} has a label from {_short(times[0])} to {_short(times[1])}, not seconds")
    categories = label.get("act_cat")
    if categories is not None and not (
        isinstance(categories, list) and all(isinstance(name, str) for name in categories)
    ):
        raise _not_babel(path, f"clip {sid!r} has the act_cat {_short(categories)}, not a list of names or null")
    return Segment(float(times[0]), float(times[1]), tuple(categories or ()))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= 1e9  # not-a-number is not; beyond 30 years is no clip


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _not_babel(path: Path, what: str) -> UserError:
    return UserError(f"{path} is not BABEL's: {what}. Download it from {BABEL_PAGE}, unpack it and name it by --babel")
