"""A preparation shared out over machines: each computes every n-th take, one of them puts the store together.

A shard leaves the parts of its takes beside the store (`prepare.store.workers`), where an unsharded run finds them too,
and in the end a note that it is done. To merge is to run as without shards, once all notes are there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from prepare.store.workers import Job
from utils.atomic import write_json
from utils.errors import UserError


class Shard(NamedTuple):
    """The `number`th of `of` shards, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str, option: str) -> Shard:
        """Read "2/8". Raises UserError when it is none."""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UserError(f"{option} {text}: expected I/N, the I-th of N shards, from 1/N to N/N, as in {option} 2/8")
        return cls(int(number), int(of))

    def share(self, things: list) -> list:
        """Every n-th of them; all shards together have each once."""
        return things[self.number - 1 :: self.of]


@contextmanager
def only_one(folder: Path, shard: Shard | None = None) -> Iterator[None]:
    """Hold the folder for this process alone, or with other shards of the same preparation.

    Raises UserError while another process holds it.
    """
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shard else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another preparation is running on this folder; wait for it, or choose another --out"
            ) from None
        yield


def note_done(parts: Path, shard: Shard, jobs: list[Job]) -> None:
    """Leave a note that the parts of this shard of `jobs` are there."""
    write_json(_note(parts, shard), {"shard": shard.number, "of": shard.of, "takes": _digest(jobs)})


def check_all_done(parts: Path, jobs: list[Job]) -> None:
    """Raises UserError when a shard is missing, or was computed for other takes than these."""
    notes = [_read(path) for path in sorted(parts.glob("shard-*.json"))]
    if not notes:
        raise UserError(f"{parts.parent}: no shard is there to merge; compute them first, --shard 1/N to N/N")
    counts = sorted({of for _, of, _ in notes})
    if len(counts) > 1:
        raise UserError(
            f"{parts}: holds shards of {' and of '.join(map(str, counts))}; delete {parts} and compute all of one "
            "number N, --shard 1/N to N/N"
        )
    of, done = counts[0], {number: takes for number, _, takes in notes}
    missing = [Shard(number, of) for number in range(1, of + 1) if number not in done]
    if missing:
        raise UserError(
            f"{parts.parent}: {len(missing)} of {of} shards are missing; compute them by the same command with "
            f"{', '.join(f'--shard {shard}' for shard in missing)} in place of --merge"
        )
    others = [Shard(number, of) for number, takes in sorted(done.items()) if takes != _digest(jobs)]
    if others:
        raise UserError(
            f"{parts.parent}: {', '.join(f'--shard {shard}' for shard in others)} was computed for other takes: AMASS "
            "has changed, or --limit or the label sets are others. Compute it again with the options of --merge"
        )


def _note(parts: Path, shard: Shard) -> Path:
    return parts / f"shard-{shard.number}-of-{shard.of}.json"


def _read(path: Path) -> tuple[int, int, str]:
    try:
        note = json.loads(path.read_bytes())
        number, of, takes = note["shard"], note["of"], note["takes"]
        if [type(number), type(of), type(takes)] != [int, int, str] or not 1 <= number <= of:
            raise ValueError("it holds something else")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: is no note of a shard ({error}); delete it and compute that shard again") from None
    return number, of, takes


def _digest(jobs: list[Job]) -> str:
    """SHA-256 over all takes of the preparation, not of a shard alone, and the frames needed of each."""
    return hashlib.sha256(json.dumps([[job.file, job.limit] for job in jobs]).encode()).hexdigest()
