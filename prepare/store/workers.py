"""Computes the joints of several takes at a time. Each result is a file, a *part*, which the next run uses again.

A part is an .npz file: the joints, and what they were computed from. Parts are not synced to the disk. One that was cut
off does not match the checksums of its format and is computed again.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.atomic import naming
from utils.errors import TakeError
from utils.files import regular_file, sha256
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
class Part:
    """A computed take."""

    source: Source
    fps: float  # of the take itself
    frames: int  # at 30 fps, at most the job's limit
    people: int = 1


# Reads the motion file of a job: returns its frame rate, and joints in metres at 30 fps, (T, 25, 3) or, with several
# people, (T, M, 25, 3). Raises TakeError.
Reader = Callable[[Path, Job], tuple[float, np.ndarray]]
# Part: computed. None: unchanged since it was stored. TakeError: why it cannot be used.
Outcome = Part | None | TakeError


def compute_parts(takes: Path, folder: Path, read: Reader, jobs: list[Job], workers: int) -> Iterator[Outcome]:
    """Compute each job's part in `folder` from a file below `takes`; yields outcomes in the order of the jobs.

    The workers are threads, because reading files and torch release Python's lock. Each computes on one core, so the
    joints do not depend on the number of workers. Finished parts stay when the caller stops.
    """
    folder.mkdir(exist_ok=True)
    pool, threads = ThreadPoolExecutor(workers), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        outcomes = pool.map(partial(_outcome, takes, folder, read), jobs)
        yield from progress(outcomes, "takes", "take", len(jobs))
    finally:
        torch.set_num_threads(threads)
        pool.shutdown(cancel_futures=True)


def read_part(folder: Path, job: Job) -> tuple[Part, np.ndarray] | None:
    """The part of a job and its joints (T, M, 25, 3) float32; None when it is missing or damaged."""
    try:
        with np.load(_part_path(folder, job)) as file:
            return Part(**json.loads(str(file["about"]))), file["joints"]
    except Exception:  # zipfile raises many kinds of errors for a damaged file
        return None


def _write_part(folder: Path, job: Job, part: Part, joints: np.ndarray) -> None:
    path = _part_path(folder, job)
    temporary = path.with_suffix(f".{threading.get_ident()}")
    with naming(temporary), temporary.open("wb") as file:
        np.savez(file, about=json.dumps(asdict(part)), joints=joints)
    temporary.replace(path)


def _part_path(folder: Path, job: Job) -> Path:
    """Where the part of a job is. The name is a hash, so no name from the labels enters the path."""
    return folder / f"{hashlib.sha256(json.dumps([job.file, job.limit]).encode()).hexdigest()[:32]}.part"


def _outcome(takes: Path, folder: Path, read: Reader, job: Job) -> Outcome:
    """Compute one part. A take is not read if its size and time are those of its stored joints, or of its part."""
    take = takes / job.file
    try:
        state = _state(take, job.file)
        if state.items() <= job.stored.items():
            return None
        found = read_part(folder, job)
        if found and state.items() <= found[0].source.items():
            return found[0]
        fps, made = read(take, job)
        source = {**state, "sha256": sha256(take)}
        if _state(take, job.file) != state:
            raise TakeError("was changed while it was read")
    except TakeError as error:
        return error
    except OSError as error:
        return TakeError(f"cannot be read ({error.strerror})")
    joints = made.astype(np.float32).reshape(len(made), -1, NUM_JOINTS, 3)
    part = Part(source, fps, *joints.shape[:2])
    _write_part(folder, job, part, joints)
    return part


def _state(take: Path, name: str) -> Source:
    status = regular_file(take)
    return {"file": name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
