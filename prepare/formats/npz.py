"""Arrays from .npz and .npy files of unknown origin.

Pickled objects are refused. The size that a header claims is compared with that of its file before memory is used.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from utils.errors import TakeError, printable
from utils.files import stat_regular_file

MAX_ARRAY_BYTES = 2 << 30  # an hour of AMASS at 120 fps is 0.5 GiB; its longest take lasts minutes
MAX_HEADER_BYTES = 1 << 14  # numpy refuses longer headers only after it has read them
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, wanted: Collection[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The `wanted` arrays of an .npz file by name (read-only), and the sorted names of all. Raises TakeError."""
    try:
        size = stat_regular_file(path).st_size
        with zipfile.ZipFile(path) as archive:
            names = sorted(n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy"))
            return {name: _read_member(archive, name, size) for name in names if name in wanted}, names
    except (zipfile.BadZipFile, zlib.error, EOFError, OverflowError, ValueError) as error:
        raise TakeError(f"is not a whole .npz file ({str(error) or 'it ends early'})") from error
    except (NotImplementedError, RuntimeError) as error:  # from zipfile: unknown compression, or a password
        raise TakeError(f"is packed by an unsupported method ({error})") from error
    except OSError as error:
        raise TakeError(f"cannot be read ({error.strerror or error})") from error


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file, memory-mapped. Raises TakeError when it is damaged, OSError when it cannot be read."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # numpy raises many kinds of errors on a damaged header
        raise TakeError(f"is not a whole .npy file of numbers or text ({printable(str(error))})") from None


def finite_float32(array: np.ndarray, what: str) -> np.ndarray:
    """A float32 copy of an array of numbers. Raises TakeError unless all are finite; `what` names them."""
    with np.errstate(over="ignore"):
        array = np.array(array, np.float32, order="C")
    if not np.isfinite(array).all():
        raise TakeError(f"has {what} that are not finite (NaN, infinite or too large for 32 bits)")
    return array


def single_number(array: np.ndarray, name: str) -> float:
    """The number in an array of one. Raises TakeError when it is of another shape or type."""
    if array.size != 1 or array.dtype.kind not in "fiu":
        raise TakeError(f"has {name} of shape {array.shape} and type {array.dtype}, not one number")
    return float(array.item())


def _read_member(archive: zipfile.ZipFile, name: str, archive_bytes: int) -> np.ndarray:
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a limit
        raise TakeError(f"{name!r} is packed by an unsupported method; expected deflate or none")
    if member.compress_size > archive_bytes:
        raise TakeError(f"is damaged: {name!r} claims {member.compress_size} bytes in a file of {archive_bytes}")
    if member.file_size > MAX_ARRAY_BYTES:
        raise TakeError(f"has an array {name!r} that claims more than {MAX_ARRAY_BYTES >> 30} GiB: cut the recording")
    with archive.open(member) as file:
        start = file.read(MAX_HEADER_BYTES)
        header = io.BytesIO(start)
        try:
            shape, is_fortran, dtype = _HEADERS[np.lib.format.read_magic(header)](header)
            if dtype.kind not in "biufSU" or not dtype.itemsize:
                raise TypeError(f"it is of type {dtype}")
            if len(shape) > 8 or not all(type(length) is int and 0 <= length <= MAX_ARRAY_BYTES for length in shape):
                raise ValueError("it claims a shape that no array has")
            if header.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
                raise ValueError(f"its {member.file_size} bytes, with the header, do not fit shape {shape} of {dtype}")
        except Exception as error:  # numpy parses the header as Python code, which can raise any exception
            raise TakeError(f"{name!r} is not a whole array of numbers or text ({printable(str(error))})") from None
        values = np.frombuffer(start + file.read(), dtype, offset=header.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")
