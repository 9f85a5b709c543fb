"""Writes files whole or not at all, even when the process is killed or the disk is full."""

import csv
import errno
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from utils.errors import UserError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing. When all of it is on the disk, it replaces `path` in one step."""
    temporary = path.with_name(path.name + ".tmp")
    with adds_file_name(path):
        try:
            with temporary.open("wb") as file:
                yield file
                sync(file)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)  # frees its space: the disk may be full
            raise
        sync_folder(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make a temporary folder beside `path`. When all of it is written, it is renamed to `path`, which must be new.

    Raises UserError when `path` exists.
    """
    if path.exists():
        raise UserError(f"{path}: exists; name a new folder by --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    with adds_file_name(path), tempfile.TemporaryDirectory(prefix=f"{path.name}.part-", dir=path.parent) as scratch:
        folder = Path(scratch) / "data"  # unlike `scratch`, it may be read by other users
        folder.mkdir()
        yield folder
        folder.rename(path)


@contextmanager
def adds_file_name(path: Path) -> Iterator[None]:
    """Add `path` to an OSError that names no file, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file. If the write is interrupted, the old file remains."""
    with whole_file(path) as file:
        file.write(content)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as JSON. Raises ValueError on NaN or infinity, which JSON lacks."""
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode("ascii"))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table as CSV in UTF-8."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_whole(path, text.getvalue().encode())


def sync(file: BinaryIO) -> None:
    """Force the content of a file to the disk. A rename may otherwise reach the disk before the content does."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Force the file names in a folder to the disk, if the file system can do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
