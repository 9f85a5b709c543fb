"""Arrays out of .npz files from strangers: no pickle is read, and no claimed size is believed."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

MAX_DEFLATE_RATIO = 1032  # deflate cannot expand a byte to more: whoever claims it lies
MAX_ARRAY_BYTES = 2 << 30  # an hour of AMASS at 120 fps is 0.5 GiB; its longest take lasts minutes
MAX_DIMENSIONS = 8
MAX_HEADER_BYTES = 1 << 14  # numpy parses no longer ones, but would read them whole
BLOCK_BYTES = 4 << 20


class NpzError(Exception):
    """What is wrong with an .npz file or one of its arrays, as the end of a sentence."""


@dataclass(frozen=True)
class Header:
    """Shape, element type and order of an array that is not read yet, and where its data starts."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    offset: int

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


class NpzFile:
    """An open .npz file; made by `open_npz`."""

    def __init__(self, archive: zipfile.ZipFile, size: int):
        self._archive = archive
        self._size = size
        self.names = sorted(n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy"))

    def header(self, name: str) -> Header:
        """Header of array `name`, after the archive's real size has borne its claims out."""
        member = self._archive.getinfo(f"{name}.npy")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NpzError(f"{name!r} is packed in a way that is not read")
        with self._archive.open(member) as file:
            header = _read_header(file.read(MAX_HEADER_BYTES), name)
        if header.offset + header.nbytes != member.file_size:
            raise NpzError(f"{name!r} claims shape {header.shape} of {header.dtype}, but has {member.file_size} bytes")
        packed = member.file_size if member.compress_type == zipfile.ZIP_STORED else member.compress_size
        if packed > self._size or member.file_size > MAX_DEFLATE_RATIO * packed + 1024:
            raise NpzError(f"{name!r} claims {member.file_size} bytes, which a file of {self._size} cannot hold")
        return header

    def array(self, name: str) -> np.ndarray:
        """Array `name`, whole."""
        header = self.header(name)
        with self._archive.open(f"{name}.npy") as file:
            file.read(header.offset)
            values = np.frombuffer(_read_exactly(file, header.nbytes, name), header.dtype)
        return values.reshape(header.shape, order="F" if header.fortran_order else "C")

    def row_blocks(self, name: str) -> Iterator[np.ndarray]:
        """Array `name` a few megabytes of rows at a time, so that its length does not cost memory."""
        header = self.header(name)
        if header.fortran_order or not header.shape:  # rows are not contiguous, or there are none
            yield self.array(name)
            return
        row_bytes = prod(header.shape[1:]) * header.dtype.itemsize
        rows = max(BLOCK_BYTES // max(row_bytes, 1), 1)
        with self._archive.open(f"{name}.npy") as file:
            file.read(header.offset)
            for start in range(0, header.shape[0], rows):
                count = min(rows, header.shape[0] - start)
                values = np.frombuffer(_read_exactly(file, count * row_bytes, name), header.dtype)
                yield values.reshape(count, *header.shape[1:])


@contextmanager
def open_npz(path: Path) -> Iterator[NpzFile]:
    """Open an .npz file. Raises NpzError when it is damaged, also while it is being read."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield NpzFile(archive, path.stat().st_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, OverflowError, UnicodeDecodeError) as error:
        raise NpzError(f"is not a whole .npz file ({str(error) or 'it ends early'})") from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile's for odd compressions, for passwords
        raise NpzError(f"is packed in a way that is not read ({error})") from error
    except OSError as error:
        raise NpzError(f"cannot be read ({error.strerror or error})") from error


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file, memory-mapped. Raises NpzError when it is damaged, or holds no plain numbers."""
    try:
        with path.open("rb") as file:
            header = _read_header(file.read(MAX_HEADER_BYTES), path.name)
        size = path.stat().st_size
        if header.offset + header.nbytes != size:
            raise NpzError(f"claims shape {header.shape} of {header.dtype}, but has {size} bytes")
        if header.nbytes == 0:
            return np.empty(header.shape, header.dtype)
        order = "F" if header.fortran_order else "C"
        return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)
    except OSError as error:
        raise NpzError(f"cannot be read ({error.strerror or error})") from error


def _read_header(start: bytes, name: str) -> Header:
    file = io.BytesIO(start)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"version {version} of .npy")
    except Exception as error:  # numpy parses the header as Python, which can end in many
        raise NpzError(f"{name!r} is not a numpy array ({error})") from error
    if dtype.hasobject:
        raise NpzError(f"{name!r} holds pickled Python objects, which are not read")
    if dtype.kind not in "biufSU" or not dtype.itemsize:
        raise NpzError(f"{name!r} is of type {dtype}, neither numbers nor text")
    claimed = prod(max(length, 1) for length in shape) * dtype.itemsize
    if min(shape, default=0) < 0 or len(shape) > MAX_DIMENSIONS or claimed > MAX_ARRAY_BYTES:
        raise NpzError(f"{name!r} claims more than {MAX_ARRAY_BYTES >> 30} GiB, or a shape that no array has")
    return Header(shape, dtype, fortran_order, file.tell())


def _read_exactly(file: IO[bytes], count: int, name: str) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise NpzError(f"{name!r} ends after {len(content)} of {count} bytes")
    return content
