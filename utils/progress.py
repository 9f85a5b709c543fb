"""Progress of a long loop: a bar in a terminal; elsewhere, such as in a log file, a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

FIRST, EVERY = 10, 30  # seconds until the first line, and between the next ones
Item = TypeVar("Item")


def progress(
    items: Iterable[Item], title: str, unit: str, total: int | None = None, silent: bool = False
) -> Iterator[Item]:
    """The `items`, with progress shown on stderr unless `silent`. A line tells how long the whole loop will take.

    `unit` is what one item is, such as "batch". Items without a len() need their number `total`.
    """
    if silent or sys.stderr.isatty():
        yield from tqdm(items, title, total, leave=False, unit=unit, disable=silent)
        return
    total = len(items) if total is None else total
    plural = f"{unit}es" if unit.endswith("ch") else f"{unit}s"
    began = time.monotonic()
    due = began + FIRST
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now >= due:
            whole = duration((now - began) / done * total)
            print(f"{title}: {done} of {total} {plural}, about {whole} for all", file=sys.stderr, flush=True)
            due = now + EVERY
        yield item


def duration(seconds: float) -> str:
    """A time of one or two digits in a unit that suits it, such as "40 s" or "12 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
