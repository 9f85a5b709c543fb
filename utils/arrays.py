"""Arrays of prepared data: .npy files that are named by their content and mapped into memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from utils.atomic import sync_folder, whole_file
from utils.manifest import array_name, unusable


def write_array(folder: Path, stem: str, shape: tuple[int, ...], dtype: type, blocks: Iterable[Any]) -> str:
    """Write `blocks` of rows, one after another, as an .npy file of `shape` named by its content (`array_name`).

    Returns the SHA-256 of the file in hexadecimal. Raises ValueError when the blocks do not make up the shape.
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
    with unnamed.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    unnamed.replace(folder / array_name(stem, digest))
    sync_folder(folder)
    return digest


def map_array(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Map an .npy file into memory, read-only. Raises UserError when it does not hold exactly this array."""
    try:
        if not path.is_file():
            raise ValueError("it is no file")  # opening a pipe would wait for ever
        array = np.lib.format.open_memmap(path, mode="r")
        size = path.stat().st_size
    except Exception as error:  # numpy raises nearly anything on a hostile header
        raise unusable(path, f"it is not a whole .npy array ({str(error)[:200]})") from error
    found = (array.shape, str(array.dtype), "C" if array.flags.c_contiguous else "Fortran", size)
    expected = (shape, np.dtype(dtype).name, "C", array.offset + array.nbytes)
    if found != expected:
        raise unusable(path, f"it has shape, type, order and bytes {found}, expected {expected}")
    return np.asarray(array)
