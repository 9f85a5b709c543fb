"""Computes the joints of several takes at a time. Each result is a cache file, which the next run uses again.

A cache file is an .npz file: the joints, and their entry of the store. Cache files are not synced to the disk. If a
power failure cuts one off, it fails the CRC check of .npz (a zip file), and its take is computed again.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prepare.formats.labels import AnnotatedClip
from utils.atomic import adds_file_name
from utils.errors import TakeError
from utils.files import sha256, stat_regular_file
from utils.manifest import Clip
from utils.progress import progress
from utils.skeleton import FPS, NUM_JOINTS


@dataclass(frozen=True)
class Job:
    """A take to compute."""

    clip: AnnotatedClip
    file: str  # path below the folder of takes


# Reads the motion file of a clip: returns the rate to store as `Clip.fps`, and joints in metres at 30 fps, (T, 25, 3)
# or, with several people, (T, M, 25, 3), at most `clip.frame_limit()` frames. Raises TakeError.
Reader = Callable[[Path, AnnotatedClip], tuple[float, np.ndarray]]


def compute_takes(folder: Path, cache: Path, read: Reader, jobs: list[Job], workers: int) -> list[Clip | TakeError]:
    """Compute each job's file below `folder` and write it to the folder `cache`.

    Returns one result for each job, in order: the entry of the store (`start` is not set yet), or the TakeError.

    The workers are threads, because reading files and torch release Python's lock. Each computes on one core, so the
    joints do not depend on the number of workers. Cache files stay when the command is stopped.
    """
    cache.mkdir(exist_ok=True)
    pool = ThreadPoolExecutor(workers)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        outcomes = pool.map(partial(_outcome, folder, cache, read), jobs)
        return list(progress(outcomes, "takes", "take", len(jobs)))
    finally:
        torch.set_num_threads(threads)
        pool.shutdown(cancel_futures=True)


def is_unchanged(stored: Clip, folder: Path, file: str) -> bool:
    """Whether a file below `folder` has the name, size and modification time with which its joints were stored.

    A file that cannot be reached, such as one on a disk that is not mounted, counts as unchanged.
    """
    try:
        return _state(folder / file, file).items() <= stored.source.items()
    except OSError:
        return True


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


def _outcome(folder: Path, cache: Path, read: Reader, job: Job) -> Clip | TakeError:
    """Compute one take. Its file is not read if its size and modification time equal those in its cache file."""
    path, clip = folder / job.file, job.clip
    try:
        state = _state(path, job.file)
        found = read_computed(cache, clip)
        if found and state.items() <= found[0].source.items():
            return found[0]
        fps, made = read(path, clip)
        source = {**state, "sha256": sha256(path)}
        if _state(path, job.file) != state:
            raise TakeError("was changed while it was read: run the command again")
        if not len(made):
            raise TakeError("has no frame" + (f" within the annotated {clip.duration:g} s" if clip.duration else ""))
    except TakeError as error:
        return error
    except OSError as error:
        return TakeError(f"cannot be read ({error.strerror})")
    joints = made.astype(np.float32).reshape(len(made), -1, NUM_JOINTS, 3)
    frames, people = joints.shape[:2]
    facts = {"subset": clip.subset, "feat_p": clip.take, "fps": fps, "duration": clip.duration or frames / FPS}
    computed = Clip(sid=clip.sid, start=0, frames=frames, people=people, source=source, **facts)
    cached = _cache_path(cache, clip)
    temporary = cached.with_suffix(f".{threading.get_ident()}")
    with adds_file_name(temporary), temporary.open("wb") as file:
        np.savez(file, clip=json.dumps(computed.model_dump()), joints=joints)
    temporary.replace(cached)
    return computed


def _state(path: Path, name: str) -> dict[str, Any]:
    """The entries of `Clip.source` that tell whether the file of a take has changed."""
    status = stat_regular_file(path)
    return {"file": name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
