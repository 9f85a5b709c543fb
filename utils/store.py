"""Prepared data on disk. Only this module reads and writes the arrays.

    <root>/skeletons-<key>/   store.json, joints-<digest>.npy                             annotated clips
    <root>/<split>/           split.json, labels-<digest>.npy, annotated-<digest>.npy     frame labels of some of them

A .npy file has a digest of its content in its name. The JSON file is written last and names the .npy files. So a reader
never mixes the files of two preparations, even if one of them was killed.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

from utils.atomic import sync_folder, whole_file
from utils.errors import UserError, nearest, printable, shown
from utils.files import sha256, stat_regular_file
from utils.manifest import (
    SUBSETS,
    Clip,
    SplitManifest,
    StoreManifest,
    Subset,
    array_name,
    plain_name,
    unusable,
    write_manifest,
)
from utils.skeleton import FPS, NUM_JOINTS

STORE_PREFIX = "skeletons-"
SCRIPTS = {  # of prepare/, by the name of the split that they make
    **dict.fromkeys(("split1", "split2", "split3"), "generate_dataset.sh"),
    **dict.fromkeys(("pkummd_cross_subject", "pkummd_cross_view"), "pkummd.sh"),
    **dict.fromkeys(("public", "public_actors"), "public_benchmark.sh"),
}
LabelledClip = tuple[str, np.ndarray, np.ndarray]  # id, labels (T, K) bool, annotated (T,) bool


class SkeletonStore:
    """The joints of annotated clips: metres, z up, not normalized, 30 fps.

    Bodies of AMASS have no translation: the pelvis stays in place. Other bodies may travel.
    """

    def __init__(self, folder: Path, manifest: StoreManifest):
        """Memory-map the joints. Raises UserError when their file is damaged."""
        self.folder = folder
        self.manifest = manifest
        self.digest = manifest.digest
        self.clips = {clip.sid: clip for clip in manifest.clips}
        rows = sum(clip.rows for clip in manifest.clips)
        self._joints = map_array(folder / manifest.joints_file, (rows, NUM_JOINTS, 3), np.float32)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read and check a store. Raises UserError when it is missing, of another format or damaged."""
        return cls(folder, StoreManifest.read(folder / "store.json"))

    def joints(self, sid: str) -> np.ndarray:
        """Joints of the first person of one clip, (T, 25, 3) float32, a read-only view of the mapped file."""
        return self.people(sid)[:, 0]

    def people(self, sid: str) -> np.ndarray:
        """Joints of all M people of one clip, (T, M, 25, 3) as `joints`. Those of absent people are zeros."""
        clip = self.clips[sid]
        rows = self._joints[clip.start : clip.start + clip.rows]
        return rows.reshape(clip.frames, clip.people, NUM_JOINTS, 3)


class Split:
    """Some clips of a store, with their frame labels: the clips that have any of the split's classes."""

    def __init__(self, folder: Path, manifest: SplitManifest, store: SkeletonStore):
        """Memory-map the labels. Raises UserError when one of their files is damaged."""
        self.folder = folder
        self.name = manifest.name
        self.manifest = manifest
        self.classes = tuple(manifest.classes)
        self.store = store
        self._rows: dict[str, slice] = {}  # of each clip in labels and annotated
        start = 0
        for _, sid, frames in manifest.clips_in_order():
            self._rows[sid] = slice(start, start + frames)
            start += frames
        self._labels = map_array(folder / manifest.labels_file, (start, len(self.classes)), np.bool_)
        self._annotated = map_array(folder / manifest.annotated_file, (start,), np.bool_)

    @classmethod
    def open(cls, root: Path | str, name: str) -> Self:
        """Read and check the split `name` under `root`, and the store that it refers to.

        Raises UserError when either is missing, damaged or of another format, or when the store was changed later.
        """
        try:
            return cls._open(Path(root), name)
        except UserError:  # a preparation may have replaced files between two reads, so try once more
            return cls._open(Path(root), name)

    @classmethod
    def _open(cls, root: Path, name: str) -> Self:
        folder = root / plain_name(name, "split")
        path = folder / "split.json"
        command = f"`bash prepare/own_data.sh --name {name} --out {root}`, or another script of prepare/ (docs/data.md)"
        if name in SCRIPTS:
            command = f"`bash prepare/{SCRIPTS[name]} --out {root}` (docs/data.md)"
        if not path.is_file():
            known = sorted(file.parent.name for file in root.glob("*/split.json"))
            there = nearest(name, known) if known else "no split is there yet"
            raise UserError(f"{root} holds no split {name!r} ({there}): make it with {command}")
        manifest = SplitManifest.read(path)
        if manifest.name != name:
            raise unusable(path, f"it is named {shown(manifest.name)}")
        if not (root / manifest.skeletons).is_dir():
            raise UserError(f"{root} holds no store {manifest.skeletons}, which {path} needs: make it with {command}")
        store = SkeletonStore.open(root / manifest.skeletons)
        stored = {(clip.subset, clip.sid, clip.frames) for clip in store.clips.values()}
        for clip in manifest.clips_in_order():
            if clip not in stored and (None, *clip[1:]) not in stored:  # subset None: the store leaves it to its splits
                raise UserError(
                    f"{path}: clip {shown(clip[1])} is not the same as in {store.folder.name}, which was changed "
                    f"later. Make the split again with {command}"
                )
        return cls(folder, manifest, store)

    @property
    def skeleton_facts(self) -> dict[str, str]:
        """How AMASS takes became skeletons: "model", the body model, and "hands", how hand poses were treated."""
        preparation = self.store.manifest.settings
        return {name: preparation[name] for name in ("model", "hands") if name in preparation}

    def clip_ids(self, subset: str | None = None) -> list[str]:
        """Ids of the clips in `train` or `val`, or of all clips, in the order of the manifest."""
        return [sid for name, sid, _ in self.manifest.clips_in_order() if subset is None or name == subset]

    def index(self, sid: str) -> int:
        """The place of a clip among all clips. Raises UserError when the split does not have it."""
        if sid not in self._rows:
            hint = printable(nearest(sid[:100], list(self._rows)[:10_000]), 300)
            raise UserError(f"{self.folder}: has no clip {sid!r}; {hint}")
        return list(self._rows).index(sid)

    def labels(self, sid: str) -> np.ndarray:
        """Classes of each frame of a clip, (T, K) bool. A frame has several where actions overlap."""
        return self._labels[self._rows[sid]]

    def untimed(self, sid: str) -> np.ndarray:
        """Classes of a clip whose times are not known, (K,) bool. They are not in `labels`."""
        return np.isin(np.arange(len(self.classes)), self.manifest.untimed.get(sid, []))

    def present(self, sid: str) -> np.ndarray:
        """All classes of a clip, with or without times, (K,) bool: its video-level labels."""
        return self.labels(sid).any(axis=0) | self.untimed(sid)

    def annotated(self, sid: str) -> np.ndarray:
        """Whether any annotation covers a frame, (T,) bool. Frames without one have no class in `labels`."""
        return self._annotated[self._rows[sid]]


def write_store(folder: Path, clips: list[Clip], blocks: Iterable[np.ndarray], facts: dict[str, Any]) -> None:
    """Write a store: its clips, their joints as blocks (…, 25, 3) in the same order, and further manifest entries."""
    rows = sum(clip.rows for clip in clips)
    joints_file, digest = write_array(folder, "joints", (rows, NUM_JOINTS, 3), np.float32, blocks)
    manifest = {"fps": FPS, "joints_file": joints_file, "digest": digest, **facts}
    write_manifest(folder / "store.json", {**manifest, "clips": [clip.model_dump() for clip in clips]})


def write_split(folder: Path, clips: dict[Subset, list[LabelledClip]], facts: dict[str, Any]) -> None:
    """Write a split: its clips by subset, and further manifest entries."""
    folder.mkdir(parents=True, exist_ok=True)
    every = [clip for subset in SUBSETS for clip in clips[subset]]
    frames = sum(len(labels) for _, labels, _ in every)
    shape = (frames, len(facts["classes"]))
    labels_file, _ = write_array(folder, "labels", shape, np.bool_, (labels for _, labels, _ in every))
    annotated_file, _ = write_array(folder, "annotated", shape[:1], np.bool_, (annotated for *_, annotated in every))
    ids = {subset: [(sid, len(labels)) for sid, labels, _ in clips[subset]] for subset in SUBSETS}
    files = {"labels_file": labels_file, "annotated_file": annotated_file}
    write_manifest(folder / "split.json", {**facts, **files, "clips": ids})


def write_array(folder: Path, stem: str, shape: tuple[int, ...], dtype: type, blocks: Iterable[Any]) -> tuple[str, str]:
    """Write an array of `shape`, given as `blocks` of its rows, to a .npy file with its digest in the name.

    Returns the name and the SHA-256 of the file in hexadecimal. Raises ValueError when all blocks together have another
    size.
    """
    unnamed = folder / f"{stem}.npy"
    with whole_file(unnamed) as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for block in blocks:
            file.write(np.asarray(block, dtype).tobytes())
        if file.tell() - start != math.prod(shape) * np.dtype(dtype).itemsize:
            raise ValueError(f"{stem}: {file.tell() - start} bytes were given for an array of shape {shape}")
    digest = sha256(unnamed)
    name = array_name(stem, digest)
    unnamed.replace(folder / name)
    sync_folder(folder)
    return name, digest


def map_array(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Memory-map a .npy file, read-only. Raises UserError when it does not hold exactly the array that was written."""
    try:
        size = stat_regular_file(path).st_size
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy raises many kinds of errors on a hostile header
        reason = error.strerror if isinstance(error, OSError) else str(error)[:200]
        raise unusable(path, f"it is not a whole .npy array ({reason})") from error
    found = (array.shape, str(array.dtype), "C" if array.flags.c_contiguous else "Fortran", size)
    expected = (shape, np.dtype(dtype).name, "C", array.offset + array.nbytes)
    if found != expected:
        raise unusable(path, f"it has shape, type, order and bytes {found}, expected {expected}")
    if not path.stem.endswith(f"-{sha256(path)[:12]}"):
        raise unusable(path, "its content is damaged: its SHA-256 is not the one in its name")
    return np.asarray(array)
