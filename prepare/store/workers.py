"""Computes the joints of several takes at a time. Each result is a cache file, which the next run uses again.

A cache file is an .npz file: the joints, and what they were computed from. Cache files are not synced to the disk. One
that a power failure cut off fails the CRC check of .npz (a zip file), and its take is computed again.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.atomic import adds_file_name
from utils.errors import TakeError
from utils.files import sha256, stat_regular_file
from utils.progress import progress
from utils.skeleton import NUM_JOINTS

# The file of a take as it was read: `file` (path below the folder of takes), `bytes`, `mtime_ns` and `sha256`
Source = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A take to compute."""

    file: str  # path below the folder of takes
    limit: int  # frames at 30 fps that are needed
    seconds: float | None  # annotated duration
    stored: Source = field(default_factory=dict)  # source of the stored joints of this clip; empty if none are stored


@dataclass(frozen=True)
class ComputedTake:
    """A take whose joints were computed."""

    source: Source
    fps: float  # of the take itself
    frames: int  # at 30 fps, at most the job's limit
    people: int = 1


# Reads the motion file of a job: returns its frame rate, and joints in metres at 30 fps, (T, 25, 3) or, with several
# people, (T, M, 25, 3). Raises TakeError.
Reader = Callable[[Path, Job], tuple[float, np.ndarray]]
# None: unchanged since it was stored. TakeError: why it cannot be used.
Outcome = ComputedTake | None | TakeError


def compute_takes(folder: Path, cache: Path, read: Reader, jobs: list[Job], workers: int) -> list[Outcome]:
    """Compute each job's file below `folder` and write it to the folder `cache`. Returns outcomes in the jobs' order.

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


def read_computed(cache: Path, job: Job) -> tuple[ComputedTake, np.ndarray] | None:
    """The computed take of a job and its joints (T, M, 25, 3) float32; None when its file is missing or damaged."""
    try:
        with np.load(_cache_path(cache, job)) as file:
            return ComputedTake(**json.loads(str(file["about"]))), file["joints"]
    except Exception:  # zipfile raises many kinds of errors for a damaged file
        return None


def _write_computed(cache: Path, job: Job, computed: ComputedTake, joints: np.ndarray) -> None:
    path = _cache_path(cache, job)
    temporary = path.with_suffix(f".{threading.get_ident()}")
    with adds_file_name(temporary), temporary.open("wb") as file:
        np.savez(file, about=json.dumps(asdict(computed)), joints=joints)
    temporary.replace(path)


def _cache_path(cache: Path, job: Job) -> Path:
    """Where the cache file of a job is. Its name is a hash, so no name from the labels enters the path."""
    return cache / f"{hashlib.sha256(json.dumps([job.file, job.limit]).encode()).hexdigest()[:32]}.part"


def _outcome(folder: Path, cache: Path, read: Reader, job: Job) -> Outcome:
    """Compute one take.

    The file is not read if its size and modification time equal those recorded with its stored joints or in its cache
    file.
    """
    path = folder / job.file
    try:
        state = _state(path, job.file)
        if state.items() <= job.stored.items():  # same file, size and modification time
            return None
        found = read_computed(cache, job)
        if found and state.items() <= found[0].source.items():
            return found[0]
        fps, made = read(path, job)
        source = {**state, "sha256": sha256(path)}
        if _state(path, job.file) != state:
            raise TakeError("was changed while it was read")
    except TakeError as error:
        return error
    except OSError as error:
        return TakeError(f"cannot be read ({error.strerror})")
    joints = made.astype(np.float32).reshape(len(made), -1, NUM_JOINTS, 3)
    computed = ComputedTake(source, fps, *joints.shape[:2])
    _write_computed(cache, job, computed, joints)
    return computed


def _state(path: Path, name: str) -> Source:
    status = stat_regular_file(path)
    return {"file": name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
