"""Users' files: all below a folder, the content of one, and the numbers of a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from prepare.formats.errors import TakeError
from utils.errors import UserError, first_problem
from utils.json_text import parse_json
from utils.manifest import MAX_JSON_BYTES
from utils.regular import regular_file

SUFFIXES = (".npz", ".npy", ".bvh", ".skeleton")  # of recordings


def walk(root: Path, leave_out: Path | None = None, mark: str | None = None) -> Iterator[Path]:
    """Files below `root`, sorted within each folder. Links are followed, and each folder is entered once.

    Neither the folder `leave_out` nor a folder that holds a file named `mark` is entered. Raises UserError when a
    folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error

    entered = {os.path.realpath(leave_out)} if leave_out else set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        place = os.path.realpath(folder)  # unlike resolve, it accepts a loop of links
        if place in entered or mark in files:
            folders.clear()
            continue
        entered.add(place)
        folders.sort()
        yield from (Path(folder, name) for name in sorted(files))


def read_bytes(path: Path, expected: str, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    """The content of a file. `expected` says for messages what the file should be, and where to get it.

    Raises UserError when the file cannot be read or is larger than `max_bytes`.
    """
    try:
        if regular_file(path).st_size > max_bytes:
            raise UserError(f"{path}: is larger than {max_bytes >> 30} GiB; expected {expected}")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None


def read_text(path: Path, expected: str) -> str:
    """The text of a file in UTF-8. Raises UserError as `read_bytes`, and when the file is no text."""
    try:
        return read_bytes(path, expected).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text; expected {expected}") from None


def read_json(path: Path, schema: TypeAdapter, expected: str) -> Any:
    """The values in a JSON file. Raises UserError as `read_bytes`, and when they do not fit the schema."""
    try:
        return schema.validate_python(parse_json(read_bytes(path, expected)))
    except ValidationError as error:
        problem = first_problem(error)
    except (ValueError, RecursionError) as error:
        problem = f"is no JSON ({error})"
    raise UserError(f"{path}: {problem}; expected {expected}")


def parse_numbers(words: list[str], count: int, expected: str, place: str) -> np.ndarray:
    """The `count` finite numbers in the words of a line, float64. Raises TakeError, which names the `place`."""
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        raise TakeError(f"has something that is no number in {place}, expected {expected}") from None
    if len(values) != count:
        raise TakeError(f"has {len(values)} numbers in {place}, expected {expected}")
    if not np.isfinite(values).all():
        raise TakeError(f"has a number that is not finite in {place}")
    return values
