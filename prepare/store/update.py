"""A skeleton store: computed from takes (motion files), and updated when takes change.

Each computed take is first written to a cache file: an .npz file with its joints and its entry in the store. If this
run is stopped, the next one uses the cache files. They are not synced to the disk. If a power failure cuts one off, it
fails the CRC check of .npz (a zip file), and its take is computed again.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from prepare.formats.labels import AnnotatedClip
from utils.atomic import adds_file_name
from utils.errors import TakeError, UserError, printable
from utils.files import sha256, stat_regular_file
from utils.manifest import FORMAT, MISSING
from utils.progress import progress
from utils.skeleton import FPS, NUM_JOINTS
from utils.store import STORE_PREFIX, Clip, SkeletonStore, write_store

# Version of the checks of takes and of the computation of joints. Another version makes another store
PREPARATION_VERSION = 3
CACHE = "parts"  # folder of computed takes, until the store is written from them
T = TypeVar("T")


@dataclass(frozen=True)
class TakeSource:
    """Where the joints of a store come from."""

    folder: Path
    # Reads the motion file of a clip: returns the rate to store as `Clip.fps`, and joints in metres at 30 fps,
    # (T, 25, 3) or, with several people, (T, M, 25, 3), at most `clip.frame_limit()` frames. Raises TakeError.
    read: Callable[[Path, AnnotatedClip], tuple[float, np.ndarray]]
    settings: dict[str, Any]  # everything else that the joints depend on
    origin: dict[str, Any]  # entries of the manifest that say where the annotations come from


def update_store(
    out: Path, takes: TakeSource, clips: list[AnnotatedClip], files: dict[str, str], workers: int, wanted: Set[str]
) -> SkeletonStore:
    """Bring a store in `out` up to date and return it. Other settings or other BABEL files make a new store.

    A stored clip is kept while it is annotated, also if its file is gone. It is dropped if its file has changed and
    cannot be used any more. `files`: file below `takes.folder`, by clip id. `wanted`: ids of the clips to store. Each
    of them must be in `files`. Raises UserError when no clip is left.
    """
    settings = {"method": PREPARATION_VERSION, **takes.settings}
    key = {"format": FORMAT, **settings, "babel": takes.origin.get("babel", {})}
    folder = out / (STORE_PREFIX + hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8])
    folder.mkdir(exist_ok=True)
    before = read_earlier(folder / "store.json", lambda: SkeletonStore.open(folder))
    cache = folder / CACHE
    stored = before.clips if before else {}
    # A clip to store is kept, if it is stored already and its file is unchanged or gone. Otherwise it is computed now
    to_store = {clip.sid: clip for clip in clips if clip.sid in wanted or clip.sid in stored}
    kept = {sid for sid in stored if sid not in files or _is_unchanged(stored[sid], takes.folder, files[sid])}
    to_compute = [clip for sid, clip in to_store.items() if sid not in kept]
    result_of = stored | compute_takes(takes, cache, to_compute, files, workers)
    left_out = {clip.sid: MISSING for clip in clips if clip.sid not in files and clip.sid not in stored}
    entries: list[Clip] = []
    start = 0
    for sid, clip in to_store.items():
        result = result_of[sid]
        if isinstance(result, TakeError):
            left_out[sid] = str(result)
            continue
        entries.append(result.model_copy(update={"start": start, "subset": clip.subset}))
        start += result.rows
    left_out = dict(sorted(left_out.items()))
    if not entries:
        # A new folder is deleted. A folder with an older store loses only its computed takes.
        shutil.rmtree(cache if (folder / "store.json").exists() else folder)
        # For each reason, the last take
        takes_by_reason = {left_out[clip.sid]: clip.take for clip in clips if clip.sid in left_out}
        some = "; ".join(f"{printable(take)} {reason}" for reason, take in list(takes_by_reason.items())[:5])
        hint = ". No file in that folder has such a name: is it the right folder?" if not to_store else ""
        raise UserError(f"{takes.folder}: none of the takes of the annotated clips could be used: {some}{hint}")
    if before is None or (entries, left_out) != (before.manifest.clips, before.manifest.left_out):
        versions = {name: version(name) for name in ("numpy", "torch", "smplx")}
        facts = {"settings": settings, **takes.origin, "versions": versions, "left_out": left_out}

        def joints(clip: Clip) -> np.ndarray:
            if clip.sid in kept:
                return before.people(clip.sid)
            if found := read_computed(cache, to_store[clip.sid]):
                return found[1]
            raise UserError(f"{cache}: the joints of {clip.source['file']} are gone or damaged; run the command again")

        write_store(folder, entries, map(joints, entries), facts)
    shutil.rmtree(cache)
    return SkeletonStore.open(folder)


def compute_takes(
    takes: TakeSource, cache: Path, clips: list[AnnotatedClip], files: dict[str, str], workers: int
) -> dict[str, Clip | TakeError]:
    """Compute the takes of clips into the folder `cache`. `files`: as in `update_store`.

    Returns by clip id the entry of the store (`start` is not set yet), or the TakeError.

    The workers are threads, because reading files and torch release Python's lock. Each computes on one core, so the
    joints do not depend on the number of workers. Cache files stay when the command is stopped.
    """
    cache.mkdir(exist_ok=True)
    pool = ThreadPoolExecutor(workers)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        results = pool.map(lambda clip: _compute(takes, cache, clip, files[clip.sid]), clips)
        shown = progress(results, "takes", "take", len(clips))
        return {clip.sid: result for clip, result in zip(clips, shown, strict=True)}
    finally:
        torch.set_num_threads(threads)
        pool.shutdown(cancel_futures=True)


def _compute(takes: TakeSource, cache: Path, clip: AnnotatedClip, file: str) -> Clip | TakeError:
    """Compute one take. Its file is not read if its size and modification time equal those in its cache file."""
    path = takes.folder / file
    try:
        state = _state(path, file)
        found = read_computed(cache, clip)
        if found and state.items() <= found[0].source.items():
            return found[0]
        fps, joints = takes.read(path, clip)
        source = {**state, "sha256": sha256(path)}
        if _state(path, file) != state:
            raise TakeError("was changed while it was read: run the command again")
        if not len(joints):
            raise TakeError("has no frame" + (f" within the annotated {clip.duration:g} s" if clip.duration else ""))
    except TakeError as error:
        return error
    except OSError as error:
        return TakeError(f"cannot be read ({error.strerror})")
    joints = joints.astype(np.float32).reshape(len(joints), -1, NUM_JOINTS, 3)
    frames, people = joints.shape[:2]
    facts = {"subset": clip.subset, "feat_p": clip.take, "fps": fps, "duration": clip.duration or frames / FPS}
    computed = Clip(sid=clip.sid, start=0, frames=frames, people=people, source=source, **facts)
    cached = _cache_path(cache, clip)
    temporary = cached.with_suffix(".tmp")
    with adds_file_name(temporary), temporary.open("wb") as stream:
        np.savez(stream, clip=json.dumps(computed.model_dump()), joints=joints)
    temporary.replace(cached)
    return computed


def read_computed(cache: Path, clip: AnnotatedClip) -> tuple[Clip, np.ndarray] | None:
    """A computed clip and its joints (T, M, 25, 3) float32; None when its file is missing or damaged."""
    try:
        with np.load(_cache_path(cache, clip)) as file:
            return Clip(**json.loads(str(file["clip"]))), file["joints"]
    except Exception:  # zipfile raises many kinds of errors for a damaged file
        return None


def _cache_path(cache: Path, clip: AnnotatedClip) -> Path:
    """Where the cache file of a clip is. Its name is a hash, so no name from the labels enters the path."""
    return cache / f"{hashlib.sha256(json.dumps([clip.sid, clip.frame_limit()]).encode()).hexdigest()[:32]}.part"


def _is_unchanged(stored: Clip, folder: Path, file: str) -> bool:
    """Whether a file below `folder` has the name, size and modification time with which its joints were stored.

    A file that cannot be reached, such as one on a disk that is not mounted, counts as unchanged.
    """
    try:
        return _state(folder / file, file).items() <= stored.source.items()
    except OSError:
        return True


def _state(path: Path, name: str) -> dict[str, Any]:
    """The entries of `Clip.source` that tell whether the file of a take has changed."""
    status = stat_regular_file(path)
    return {"file": name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def read_earlier(path: Path, read: Callable[[], T]) -> T | None:
    """What an earlier run has written: the value of `read`. None if there is no file `path`, or if it is damaged."""
    if not path.exists():
        return None
    try:
        return read()
    except UserError:
        print(f"warning: {path.parent} is damaged, or of another version, and is written again")
        return None
