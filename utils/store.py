"""Where prepared data lies on disk: the only module that knows the layout.

    <root>/skeletons-<key>/   store.json, joints-<digest>.npy   every annotated clip, shared by splits
    <root>/<split>/           split.json, labels-<digest>.npy, annotated-<digest>.npy

A JSON file is the last thing written and names its arrays by their content: whoever reads it finds
arrays that belong to it, whatever was killed and whenever. Nothing that is read is trusted: a manifest
carries its own checksum; sizes, offsets and names are checked before an array is mapped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.atomic import array_name, write_array
from utils.errors import UserError, nearest, shown
from utils.manifest import FORMAT, PREPARE, array_shape, damaged, plain_name, read_manifest, text_entry, write_manifest
from utils.skeleton import FPS, NUM_JOINTS

SUBSETS = ("train", "val")
STORE_PREFIX = "skeletons-"


@dataclass(frozen=True)
class Clip:
    """One annotated clip of the store: frames [start, start + frames) of its joints array.

    `fps` is the take's own rate, `duration` is BABEL's in seconds; `source` names the take:
    `file` below the AMASS folder, its `bytes` and `sha256`.
    """

    sid: str
    subset: str
    feat_p: str
    start: int
    frames: int
    fps: float
    duration: float
    source: dict[str, Any]


class SkeletonStore:
    """The joints of all annotated clips: metres, z up, neither translated nor normalised, 30 fps."""

    def __init__(self, folder: Path, manifest: dict[str, Any], clips: dict[str, Clip], frames: int):
        self.folder = folder
        self.manifest = manifest
        self.clips = clips
        self.digest: str = manifest["digest"]
        self._joints = _MappedArray(folder / manifest["joints_file"], (frames, NUM_JOINTS, 3), np.float32)

    @classmethod
    def open(cls, folder: Path | str) -> SkeletonStore:
        """Read and check a store's manifest; its joints are mapped on first use.

        Raises UserError when the store is missing, of another format or damaged.
        """
        folder = Path(folder)
        path = folder / "store.json"
        if not path.is_file():
            raise UserError(f"{folder} holds no skeleton store (no store.json): make it with `{PREPARE}`")
        manifest = read_manifest(path)
        digest = text_entry(path, manifest, "digest")
        if text_entry(path, manifest, "joints_file") != array_name("joints", digest):
            raise damaged(path, f"its joints_file is {shown(manifest['joints_file'])}")
        shape = array_shape(folder / plain_name(manifest["joints_file"], "joints_file"), np.float32, path)
        if shape[1:] != (NUM_JOINTS, 3):
            raise damaged(path, f"its joints have shape {shape}, not (frames, {NUM_JOINTS}, 3)")
        entries = manifest.get("clips")
        if not isinstance(entries, list):
            raise damaged(path, "it has no list of clips")
        clips: dict[str, Clip] = {}
        end = 0
        for entry in entries:
            clip = _clip(path, entry, end)
            if clip.sid in clips:
                raise damaged(path, f"clip {shown(clip.sid)} is in it twice")
            clips[clip.sid] = clip
            end += clip.frames
        if end != shape[0]:
            raise damaged(path, f"its clips have {shown(end)} frames, its joints {shape[0]}")
        return cls(folder, manifest, clips, shape[0])

    def joints(self, sid: str) -> np.ndarray:
        """Joints of one clip, (T, 25, 3) float32, a read-only view of the mapped file."""
        clip = self.clips[sid]
        return self._joints.rows(clip.start, clip.frames)


class Split:
    """One label set over a store: the clips that have any of its classes, and their frame labels."""

    def __init__(self, folder: Path, manifest: dict[str, Any], store: SkeletonStore):
        self.folder = folder
        self.name: str = manifest["name"]
        self.manifest = manifest
        self.classes: tuple[str, ...] = tuple(manifest["classes"])
        self.store = store
        self._spans: dict[str, tuple[int, int]] = {}
        self._ids: dict[str, list[str]] = {}
        start = 0
        for subset in SUBSETS:
            self._ids[subset] = [sid for sid, _ in manifest["clips"][subset]]
            for sid, frames in manifest["clips"][subset]:
                self._spans[sid] = (start, frames)
                start += frames
        shape = (start, len(self.classes))
        self._labels = _MappedArray(folder / manifest["labels_file"], shape, np.bool_)
        self._annotated = _MappedArray(folder / manifest["annotated_file"], shape[:1], np.bool_)

    @classmethod
    def open(cls, root: Path | str, name: str) -> Split:
        """Read and check the split `name` under `root`, and the store that it points to.

        Raises UserError when either is missing (the message gives the command that makes it, and the
        splits that exist), of another format, damaged, or when the store has changed since.
        """
        root = Path(root)
        folder = root / plain_name(name, "split")
        path = folder / "split.json"
        if not path.is_file():
            raise _no_split(root, name)
        manifest = read_manifest(path)
        _check_split(path, manifest)
        store = SkeletonStore.open(root / plain_name(text_entry(path, manifest, "skeletons"), "skeletons"))
        for subset in SUBSETS:
            for sid, frames in manifest["clips"][subset]:
                clip = store.clips.get(sid)
                if clip is None or clip.subset != subset or clip.frames != frames:
                    raise UserError(
                        f"{path} was made before {store.folder.name} was changed: clip {shown(sid)} is another "
                        f"one there. Make the split again with {_command(root, name)}"
                    )
        return cls(folder, manifest, store)

    def clip_ids(self, subset: str) -> list[str]:
        """Clip ids of `train` or `val`, in the order of the manifest."""
        return self._ids[subset]

    def labels(self, sid: str) -> np.ndarray:
        """Which classes each frame has, (T, K) bool, several at once where actions overlap."""
        return self._labels.rows(*self._spans[sid])

    def annotated(self, sid: str) -> np.ndarray:
        """Which frames any annotation covers, (T,) bool; the others are background in `labels`."""
        return self._annotated.rows(*self._spans[sid])


class _MappedArray:
    """An .npy file mapped on first use, in whichever process asks: workers share pages, not copies."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type):
        found = array_shape(path, dtype, path)
        if found != shape:
            raise damaged(path, f"it has shape {found}, its manifest asks for {shape}")
        self._path = path
        self._shape = shape
        self._array: np.ndarray | None = None

    def rows(self, start: int, count: int) -> np.ndarray:
        if self._array is None:
            empty = 0 in self._shape  # nothing to map, and mmap refuses it
            array = np.load(self._path, mmap_mode=None if empty else "r", allow_pickle=False)
            self._array = np.asarray(array)
        return self._array[start : start + count]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}


def list_splits(root: Path) -> list[str]:
    """Names of the splits under `root`, sorted."""
    if not root.is_dir():
        return []
    return sorted(folder.name for folder in root.iterdir() if (folder / "split.json").is_file())


def write_store(folder: Path, clips: list[Clip], blocks: Iterable[np.ndarray], facts: dict[str, Any]) -> None:
    """Write a store from its clips, their joints one block after another, and further `facts`."""
    frames = sum(clip.frames for clip in clips)
    digest = write_array(folder, "joints", (frames, NUM_JOINTS, 3), np.float32, blocks)
    manifest = {"format": FORMAT, "fps": FPS, "joints_file": array_name("joints", digest), "digest": digest}
    write_manifest(folder / "store.json", {**manifest, **facts, "clips": [asdict(clip) for clip in clips]})
    _remove_others(folder, "joints", digest)


def write_split(
    folder: Path,
    clips: dict[str, list[tuple[str, int]]],
    labels: list[np.ndarray],
    annotated: list[np.ndarray],
    facts: dict[str, Any],
) -> None:
    """Write a split: its clips (id, frames) by subset, and their frames' labels in that order."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = sum(count for subset in SUBSETS for _, count in clips[subset])
    shape = (frames, len(facts["classes"]))
    labels_digest = write_array(folder, "labels", shape, np.bool_, labels)
    annotated_digest = write_array(folder, "annotated", shape[:1], np.bool_, annotated)
    files = {
        "labels_file": array_name("labels", labels_digest),
        "annotated_file": array_name("annotated", annotated_digest),
    }
    write_manifest(folder / "split.json", {"format": FORMAT, **facts, **files, "clips": clips})
    _remove_others(folder, "labels", labels_digest)
    _remove_others(folder, "annotated", annotated_digest)


def _remove_others(folder: Path, stem: str, digest: str) -> None:
    """Remove the arrays of this kind that the manifest just written no longer names."""
    for path in sorted(folder.glob(f"{stem}-*.npy")):
        if path.name != array_name(stem, digest):
            path.unlink()


def _clip(path: Path, entry: Any, start: int) -> Clip:
    """The clip of an entry, which follows the clips before it: its frames begin at `start`."""
    fields = Clip.__dataclass_fields__
    if not isinstance(entry, dict) or set(entry) != set(fields):
        raise damaged(path, f"a clip has not the fields {', '.join(fields)}")
    clip = Clip(**entry)
    texts = (clip.sid, clip.subset, clip.feat_p)
    if not all(isinstance(text, str) for text in texts) or clip.subset not in SUBSETS:
        raise damaged(path, f"clip {shown(clip.sid)} has an id, subset or path that is none")
    if [type(clip.start), type(clip.frames)] != [int, int] or clip.frames < 1 or clip.start != start:
        found = f"{shown(clip.frames)} frames from {shown(clip.start)} on"
        raise damaged(path, f"clip {shown(clip.sid)} has {found}, where frame {start} is next")
    numbers = (clip.fps, clip.duration)
    if not all(type(value) in (int, float) and 0 <= value < math.inf for value in numbers):
        raise damaged(path, f"clip {shown(clip.sid)} has fps and duration {shown(numbers)}")
    if not isinstance(clip.source, dict):
        raise damaged(path, f"clip {shown(clip.sid)} has the source {shown(clip.source)}")
    return clip


def _check_split(path: Path, manifest: dict[str, Any]) -> None:
    if text_entry(path, manifest, "name") != path.parent.name:
        raise damaged(path, f"it is named {shown(manifest['name'])}")
    classes = manifest.get("classes")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise damaged(path, "it has no list of classes")
    if len(set(classes)) < len(classes):
        raise damaged(path, f"its classes are not all different: {shown(classes)}")
    for stem in ("labels", "annotated"):
        plain_name(text_entry(path, manifest, f"{stem}_file"), f"{stem}_file")
    clips = manifest.get("clips")
    if not isinstance(clips, dict) or set(clips) != set(SUBSETS):
        raise damaged(path, "it has no clips of train and val")
    seen: set[str] = set()
    for subset in SUBSETS:
        for entry in clips[subset] if isinstance(clips[subset], list) else [None]:
            if not isinstance(entry, list) or [type(part) for part in entry] != [str, int] or entry[1] < 1:
                raise damaged(path, f"a clip of {subset} is {shown(entry)}, not an id and a number of frames")
            if entry[0] in seen:
                raise damaged(path, f"clip {shown(entry[0])} is in it twice")
            seen.add(entry[0])


def _command(root: Path, name: str) -> str:
    own = "" if name in ("split1", "split2", "split3") else f" --actions FILE --name {name}"
    return f"`{PREPARE}{own} --out {root}`"


def _no_split(root: Path, name: str) -> UserError:
    known = list_splits(root)
    there = nearest(name, known) if known else "no split is there yet"
    return UserError(f"{root} holds no split {name!r} ({there}): make it with {_command(root, name)}")
