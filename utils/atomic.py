"""Files that are written whole or not at all, whatever kills the process and whenever."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the name `path` in one step, once it is written and on the disk."""
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
    """Let an error of the system name the file: by itself it does so on opening alone, not when the disk is full."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is there whole or, if the write is cut off, as it was."""
    with whole_file(path) as file:
        file.write(content)


def append(path: Path, content: bytes) -> None:
    """Add to a file's end, at once and on the disk; cut off, it leaves a part of `content` there."""
    with naming(path), path.open("ab") as file:
        file.write(content)
        sync(file)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as JSON, whole; not-a-number is refused (ValueError), as JSON has none."""
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode("ascii"))


def write_array(folder: Path, stem: str, shape: tuple[int, ...], dtype: type, blocks: Iterable[Any]) -> str:
    """Stream `blocks` of rows into an .npy file of `shape` named by its content (`array_name`).

    Returns the SHA-256 of the whole file in hexadecimal. Raises ValueError when the blocks do not
    make up the shape.
    """
    header = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    digest = hashlib.sha256(header.getvalue())
    temporary = folder / f"{stem}.tmp"
    with naming(temporary), temporary.open("wb") as file:
        file.write(header.getvalue())
        for block in blocks:
            content = np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8)
            file.write(content)
            digest.update(content)
        written = file.tell() - len(header.getvalue())
        if written != math.prod(shape) * np.dtype(dtype).itemsize:
            raise ValueError(f"{stem}: {written} bytes were given for an array of shape {shape}")
        sync(file)
    temporary.replace(folder / array_name(stem, digest.hexdigest()))
    sync_folder(folder)
    return digest.hexdigest()


def array_name(stem: str, digest: str) -> str:
    """Name of an array file with this content."""
    return f"{stem}-{digest[:12]}.npy"


def sync(file: BinaryIO) -> None:
    """Bring a file's content to the disk, so that a later rename never points at nothing."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
