"""Helpers of the readers: files below a folder, and the numbers of a line of text."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.errors import TakeError, UserError

SUFFIXES = (".npz", ".npy", ".bvh", ".skeleton")  # of recordings; prepare/skeletons/recordings.py reads them


def walk(root: Path, leave_out: Path | None = None, mark: str | None = None) -> Iterator[Path]:
    """Files below `root`, sorted within each folder. Links are followed, and each folder is entered once.

    Neither the folder `leave_out` nor a folder that holds a file named `mark` is entered. Raises UserError when a
    folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error

    entered = {os.path.realpath(leave_out)} if leave_out else set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(folder)  # unlike resolve, it accepts a loop of links
        if real in entered or mark in files:
            folders.clear()
            continue
        entered.add(real)
        folders.sort()
        yield from (Path(folder, name) for name in sorted(files))


def parse_numbers(words: list[str], count: int, expected: str, where: str) -> np.ndarray:
    """The finite numbers in the words of a line, (count,) float64. Raises TakeError, which says `where`."""
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        raise TakeError(f"has something that is no number in {where}, expected {expected}") from None
    if len(values) != count:
        raise TakeError(f"has {len(values)} numbers in {where}, expected {expected}")
    if not np.isfinite(values).all():
        raise TakeError(f"has a number that is not finite in {where}, expected {expected}")
    return values
