"""Progress on the terminal: of a long loop, and of a training after each epoch."""

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from tqdm import tqdm

from utils.config import Settings

FIRST, EVERY = 10, 30  # seconds until the first line, and between the next ones
Item = TypeVar("Item")


def progress(
    items: Iterable[Item], title: str, unit: str, total: int | None = None, silent: bool = False
) -> Iterator[Item]:
    """The `items`, with progress shown on stderr unless `silent`: a bar in a terminal, elsewhere a line now and then.

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
            whole = timedelta(seconds=round((now - began) / done * total))
            print(f"{title}: {done} of {total} {plural}, about {whole} for all", file=sys.stderr, flush=True)
            due = now + EVERY
        yield item


def epoch_line(row: dict[str, Any], settings: Settings) -> str:
    """The line that the terminal shows after an epoch."""
    line = f"epoch {row['epoch']}/{settings.train.epochs}  loss {row['loss']['total']:.4f}"
    if row["epoch"] == settings.refine.start + 1 and not settings.train.supervised:
        line += " (from here on with pseudo-labels: not comparable with the epochs before)"
    if "corrected" in row:
        scores = row["corrected"]
        at_half = f" (at tIoU 0.5: {scores['mAP@0.5']:.2f})" if "mAP@0.5" in scores else ""
        line += f"  mAP {scores['mAP']:.2f}{at_half}  classification mAP {scores['classification_mAP']:.2f}"
    if "held_out_classification_mAP" in row:
        line += f"  held-out classification mAP {row['held_out_classification_mAP']:.2f}"
    return f"{line}  {row['frames_per_second']:.0f} frames/s"
