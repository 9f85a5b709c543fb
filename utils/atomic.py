"""Files that are written whole or not at all, even when the process is killed or the disk is full."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file. It replaces `path` in one step, once all of it is written and on the disk."""
    temporary = path.with_name(path.name + ".tmp")
    with naming(path):
        try:
            with temporary.open("wb") as file:
                yield file
                sync(file)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)  # a full disk needs the space
            raise
        sync_folder(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file's name to an OSError that has none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole. If the write is cut off, the file stays as it was."""
    with whole_file(path) as file:
        file.write(content)


def append(path: Path, content: bytes) -> None:
    """Add `content` to a file's end, at once and on the disk. If this is cut off, a part of `content` is there."""
    with naming(path), path.open("ab") as file:
        file.write(content)
        sync(file)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as JSON, whole. Raises ValueError on NaN or infinity, which JSON does not have."""
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode("ascii"))


def sync(file: BinaryIO) -> None:
    """Bring a file's content to the disk before its renaming, so that the new name never has old or no content."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
