"""The .npy files of prepared data. Each has a digest of its content in its name, which is verified when it is opened.

Verifying reads the whole file. Each user does this once per machine. A note in the user's cache folder then holds the
size and times of the file, and later openings compare only these.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import math
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from utils.atomic import sync_folder, whole_file
from utils.manifest import array_name, unusable
from utils.regular import regular_file


def write_array(folder: Path, stem: str, shape: tuple[int, ...], dtype: type, blocks: Iterable[Any]) -> str:
    """Write an array of `shape`, given as `blocks` of its rows, to a .npy file with its digest in the name.

    Returns the SHA-256 of the file in hexadecimal. Raises ValueError when the blocks have another size in all.
    """
    unnamed = folder / f"{stem}.npy"
    with whole_file(unnamed) as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for block in blocks:
            file.write(np.asarray(block, dtype).tobytes())
        if file.tell() - start != math.prod(shape) * np.dtype(dtype).itemsize:
            raise ValueError(f"{stem}: {file.tell() - start} bytes were given for an array of shape {shape}")
    digest = _digest(unnamed)
    unnamed.replace(folder / array_name(stem, digest))
    sync_folder(folder)
    return digest


def map_array(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Memory-map a .npy file, read-only. Raises UserError when it does not hold exactly the array that was written."""
    try:
        size = regular_file(path).st_size
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy raises many kinds of errors on a hostile header
        reason = error.strerror if isinstance(error, OSError) else str(error)[:200]
        raise unusable(path, f"it is not a whole .npy array ({reason})") from error
    found = (array.shape, str(array.dtype), "C" if array.flags.c_contiguous else "Fortran", size)
    expected = (shape, np.dtype(dtype).name, "C", array.offset + array.nbytes)
    if found != expected:
        raise unusable(path, f"it has shape, type, order and bytes {found}, expected {expected}")
    _verify(path)
    return np.asarray(array)


def _verify(path: Path) -> None:
    """Raise UserError unless the file's content has the digest in its name."""
    status = path.stat()
    # A user cannot set the time of change, so a copy and a file whose other time was set back are verified again
    state = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}".encode()
    with _note(path) as note:
        if note.read() == state:
            return
        if not path.stem.endswith(f"-{_digest(path)[:12]}"):
            raise unusable(path, "its content is damaged: its SHA-256 is not the one in its name")
        with suppress(OSError):  # a full disk: the file is verified again next time
            note.truncate(0)
            note.write(state)


def _note(path: Path) -> BinaryIO:
    """The open note of a file; in memory where none can be kept. Other processes wait, so only one reads the file."""
    name = hashlib.sha256(os.fsencode(f"{socket.gethostname()}:{os.path.realpath(path)}")).hexdigest()[:32]
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "skeleton-wtal").expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        note = (folder / name).open("ab+", buffering=0)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        return io.BytesIO()
    with suppress(OSError):  # a disk without locks
        fcntl.flock(note, fcntl.LOCK_EX)
    note.seek(0)
    return note


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
