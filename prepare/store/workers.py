"""One take after another, in several processes: its poses → joints → a part file, which a later run finds again.

A part is one line of JSON (what it was made from, and the SHA-256 of the rest) and then the joints. Parts are not
forced to the disk, as one that is cut off is told by its hash and made again.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from prepare.formats.amass import read_poses
from prepare.formats.errors import MAX_FRAMES, TakeError
from prepare.skeletons.smplh import SmplhJoints, one_thread
from utils.errors import UserError
from utils.skeleton import NUM_JOINTS

_MAX_HEADER = 1 << 16


@dataclass(frozen=True)
class Source:
    """A take's file below the AMASS folder: its path there, size, time of change, and content."""

    file: str
    bytes: int
    mtime_ns: int
    sha256: str

    def facts(self) -> dict[str, Any]:
        """What the store says of it: all but the time, which differs between copies."""
        return {"file": self.file, "bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True)
class Job:
    """One take to compute: its file below the AMASS folder, the frames needed, and its state when it was stored."""

    file: str
    limit: int
    stored: Source | None = None


@dataclass(frozen=True)
class Part:
    """A computed take: where it came from, its own rate, and its frames at 30 fps, at most the job's limit."""

    source: Source
    fps: float
    frames: int
    limit: int


Outcome = Part | Source | TakeError  # computed; unchanged since it was stored; why it cannot be used


def compute_parts(
    amass: Path, folder: Path, joints: SmplhJoints, jobs: list[Job], workers: int
) -> Iterator[tuple[Job, Outcome]]:
    """Make each job's part in `folder`, several at a time; yields jobs and outcomes in the order of the jobs.

    Raises UserError when a worker process is killed. On any other way out the workers end too, and finished
    parts stay.
    """
    folder.mkdir(exist_ok=True)
    worker = _Worker(amass, folder, joints)
    workers = min(workers, len(jobs))
    outcomes = _serial(worker, jobs) if workers <= 1 else _parallel(worker, jobs, workers)
    progress = tqdm(
        outcomes, total=len(jobs), desc="takes", unit="take", smoothing=0.05, disable=None if jobs else True
    )
    return zip(jobs, progress, strict=True)


def read_part(folder: Path, file: str) -> tuple[Part, np.ndarray] | None:
    """The part of a take and its joints (T, 25, 3) float32; None when it is missing or damaged."""
    try:
        with part_path(folder, file).open("rb") as stream:
            header = json.loads(stream.readline(_MAX_HEADER))
            content = stream.read()
        part = Part(**{**header["part"], "source": Source(**header["part"]["source"])})
        if header["sha256"] != hashlib.sha256(content).hexdigest() or part.source.file != file:
            return None
        return part, np.frombuffer(content, "<f4").reshape(part.frames, NUM_JOINTS, 3)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def part_path(folder: Path, file: str) -> Path:
    """Where the part of a take is: no name from outside enters it."""
    return folder / f"{hashlib.sha256(file.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.part"


@dataclass(frozen=True)
class _Worker:
    """What makes one part; sent to every process."""

    amass: Path
    folder: Path
    joints: SmplhJoints

    def __call__(self, job: Job) -> Outcome:
        try:
            found = read_part(self.folder, job.file)
            source = _source(self.amass, job.file, found[0].source if found else job.stored)
            if job.stored and source.sha256 == job.stored.sha256:
                return source
            if found and found[0].source.sha256 == source.sha256 and found[0].limit == job.limit:
                return found[0]
            return self._compute(job, source)
        except TakeError as error:
            return error

    def _compute(self, job: Job, source: Source) -> Part:
        info, blocks = read_poses(self.amass / job.file, min(job.limit, MAX_FRAMES + 1))
        made = [self.joints(poses) for poses in blocks if len(poses)]
        frames = sum(len(block) for block in made)
        if frames > MAX_FRAMES:
            raise TakeError(f"has more than {MAX_FRAMES:,} frames at 30 fps")
        if not all(np.isfinite(block).all() for block in made):
            raise TakeError("has poses beyond all angles (their joints are not finite)")
        if _stat(self.amass, job.file) != (source.bytes, source.mtime_ns):
            raise TakeError("was changed while it was read")
        part = Part(source, info.fps, frames, job.limit)
        content = b"".join(block.astype("<f4").tobytes() for block in made)
        header = {"part": asdict(part), "sha256": hashlib.sha256(content).hexdigest()}
        path = part_path(self.folder, job.file)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(json.dumps(header).encode() + b"\n" + content)
        temporary.replace(path)
        return part


def _source(amass: Path, file: str, known: Source | None) -> Source:
    """The take as it is now; hashed, unless it has the size and time of a known state."""
    size, mtime_ns = _stat(amass, file)
    if known and (known.bytes, known.mtime_ns) == (size, mtime_ns):
        return known
    try:
        with (amass / file).open("rb") as stream:
            return Source(file, size, mtime_ns, hashlib.file_digest(stream, "sha256").hexdigest())
    except OSError as error:
        raise TakeError(f"cannot be read ({error.strerror})") from error


def _stat(amass: Path, file: str) -> tuple[int, int]:
    try:
        status = (amass / file).stat()
    except OSError as error:
        raise TakeError(f"cannot be read ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def _serial(worker: _Worker, jobs: list[Job]) -> Iterator[Outcome]:
    for job in jobs:
        with one_thread():
            outcome = worker(job)
        yield outcome


def _parallel(worker: _Worker, jobs: list[Job], workers: int) -> Iterator[Outcome]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _set_up, (worker,))
    try:
        with _sigint_ignored():  # the processes start here and inherit it: Ctrl-C is for this one
            pending = [pool.submit(_work, job) for job in jobs]
        while pending:
            yield pending.pop(0).result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, perhaps for want of memory: run the same command again, it goes on where "
            "it stopped; a smaller --workers needs less memory"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_worker: _Worker | None = None  # of this process


def _set_up(worker: _Worker) -> None:
    global _worker
    _worker = worker
    one_thread().__enter__()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Without this a worker would wait for ever when the main process is killed."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _work(job: Job) -> Outcome:
    return _worker(job)


@contextmanager
def _sigint_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
