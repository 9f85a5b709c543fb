"""The .npy files of prepared data. Each has a digest of its content in its name; opening verifies it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from utils.atomic import sync_folder, whole_file
from utils.files import regular_file, sha256
from utils.manifest import array_name, unusable


def write_array(folder: Path, stem: str, shape: tuple[int, ...], dtype: type, blocks: Iterable[Any]) -> str:
    """Write an array of `shape`, given as `blocks` of its rows, to a .npy file with its digest in the name.

    Returns the SHA-256 of the file in hexadecimal. Raises ValueError when all blocks together have another size.
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
    digest = sha256(unnamed)
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
    if not path.stem.endswith(f"-{sha256(path)[:12]}"):
        raise unusable(path, "its content is damaged: its SHA-256 is not the one in its name")
    return np.asarray(array)
