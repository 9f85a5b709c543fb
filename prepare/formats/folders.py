"""All files below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from utils.errors import UserError

SUFFIXES = (".npz", ".npy", ".bvh", ".skeleton")  # of recordings


def walk(root: Path, leave_out: Path | None = None, mark: str | None = None) -> Iterator[Path]:
    """Files below `root`, sorted within each folder. Links are followed, and each folder is entered once.

    Neither the folder `leave_out` nor a folder that holds a file named `mark` is entered. Raises UserError when a
    folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error

    entered = {leave_out.resolve()} if leave_out else set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        place = Path(folder).resolve()
        if place in entered or mark in files:
            folders.clear()
            continue
        entered.add(place)
        folders.sort()
        yield from (Path(folder, name) for name in sorted(files))
