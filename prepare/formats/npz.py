"""Arrays from .npz and .npy files of unknown origin.

Pickled objects are refused. The size that an array claims is compared with the size of its file before memory is used.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from prepare.formats.errors import TakeError

MAX_DEFLATE_RATIO = 1032  # deflate can expand one byte to 1032
MAX_ARRAY_BYTES = 2 << 30  # an hour of AMASS at 120 fps is 0.5 GiB; its longest take lasts minutes
MAX_HEADER_BYTES = 1 << 14  # numpy refuses longer headers, but reads them first
BLOCK_BYTES = 4 << 20


class Header(NamedTuple):
    """Shape, type and layout of an array that is not read yet. offset: bytes before its values."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    offset: int

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


class NpzFile:
    """An open .npz file, returned by `open_npz`. Its methods raise TakeError when the file is damaged."""

    def __init__(self, archive: zipfile.ZipFile, size: int):
        self._archive = archive
        self._size = size
        self.names = sorted(n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy"))

    def header(self, name: str) -> Header:
        """Header of array `name`. Raises TakeError when the array described there cannot be in the file."""
        member = self._archive.getinfo(f"{name}.npy")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise TakeError(f"{name!r} is packed by an unsupported method; expected deflate or none")
        with self._archive.open(member) as file:
            header = _read_header(file.read(MAX_HEADER_BYTES), name)
        if header.offset + header.nbytes != member.file_size:
            raise TakeError(f"{name!r} claims shape {header.shape} of {header.dtype}, but has {member.file_size} bytes")
        if member.compress_size > self._size or member.file_size > MAX_DEFLATE_RATIO * member.compress_size + 1024:
            raise TakeError(f"{name!r} claims {member.file_size} bytes, which a file of {self._size} cannot hold")
        return header

    def array(self, name: str) -> np.ndarray:
        """The whole array `name`."""
        self.header(name)
        with self._archive.open(f"{name}.npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    def number(self, name: str) -> float:
        """The single number in array `name`."""
        header = self.header(name)
        if prod(header.shape) != 1 or header.dtype.kind not in "fiu":
            raise TakeError(f"has {name} of shape {header.shape} and type {header.dtype}, not one number")
        return float(self.array(name).reshape(()))

    def row_blocks(self, name: str) -> Iterator[np.ndarray]:
        """Array `name` in blocks of rows of about BLOCK_BYTES, so that a long array needs little memory."""
        header = self.header(name)
        if header.fortran_order or not header.shape or header.nbytes <= BLOCK_BYTES:
            yield self.array(name)
            return
        length, *row = header.shape
        row_bytes = header.nbytes // length
        step = max(BLOCK_BYTES // row_bytes, 1)
        with self._archive.open(f"{name}.npy") as file:
            file.read(header.offset)
            for start in range(0, length, step):
                count = min(step, length - start)
                yield np.frombuffer(file.read(count * row_bytes), header.dtype).reshape(count, *row)


@contextmanager
def open_npz(path: Path) -> Iterator[NpzFile]:
    """Open an .npz file. Raises TakeError when it is damaged, on opening or within the `with` block."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield NpzFile(archive, path.stat().st_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, OverflowError, ValueError) as error:
        raise TakeError(f"is not a whole .npz file ({str(error) or 'it ends early'})") from error
    except (NotImplementedError, RuntimeError) as error:  # from zipfile: unknown compression, or a password
        raise TakeError(f"is packed by an unsupported method ({error})") from error
    except OSError as error:
        raise TakeError(f"cannot be read ({error.strerror or error})") from error


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file, memory-mapped.

    Raises TakeError when the file is damaged or holds neither numbers nor text, OSError when it cannot be read.
    """
    with path.open("rb") as file:
        header = _read_header(file.read(MAX_HEADER_BYTES), path.name)
    size = path.stat().st_size
    if header.offset + header.nbytes != size:
        raise TakeError(f"claims shape {header.shape} of {header.dtype}, but has {size} bytes")
    return np.load(path, mmap_mode="r" if header.nbytes else None)  # an empty array cannot be mapped


def finite_float32(array: np.ndarray, what: str) -> np.ndarray:
    """A float32 copy of an array of numbers. Raises TakeError unless all are finite; `what` names them."""
    with np.errstate(over="ignore"):
        array = np.array(array, np.float32, order="C")
    if not np.isfinite(array).all():
        raise TakeError(f"has {what} that are not finite (NaN, infinite or too large for 32 bits)")
    return array


def fill_gaps(tracked: np.ndarray, joints: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Joints (T, 25, 3) float32 of `frames` (T,), interpolated linearly between those of the `tracked` frames."""
    columns = joints.reshape(len(tracked), -1).T
    filled = np.stack([np.interp(frames, tracked, column) for column in columns], axis=1)
    return filled.reshape(len(frames), *joints.shape[1:]).astype(np.float32)


def pick_rows(blocks: Iterable[np.ndarray], wanted: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of an array with the indices `wanted` (rising); the array is given, and returned, in blocks."""
    start = 0
    for block in blocks:
        first, last = np.searchsorted(wanted, (start, start + len(block)))
        yield block[wanted[first:last] - start]
        start += len(block)


def _read_header(start: bytes, name: str) -> Header:
    file = io.BytesIO(start)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"version {version} of .npy")
        shape, fortran_order, dtype = readers[version](file)
    except Exception as error:  # numpy parses the header as Python code, which can raise any exception
        raise TakeError(f"{name!r} is not a numpy array ({error})") from error
    if dtype.hasobject:
        raise TakeError(f"{name!r} holds pickled Python objects, which are not read")
    if dtype.kind not in "biufSU" or not dtype.itemsize:
        raise TakeError(f"{name!r} is of type {dtype}, neither numbers nor text")
    claimed = prod(max(length, 1) for length in shape) * dtype.itemsize
    if min(shape, default=0) < 0 or len(shape) > 8 or claimed > MAX_ARRAY_BYTES:
        raise TakeError(f"{name!r} claims more than {MAX_ARRAY_BYTES >> 30} GiB, or a shape that no array has")
    return Header(shape, dtype, fortran_order, file.tell())
