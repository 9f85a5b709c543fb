"""Manifests of prepared data: read without trust, written with a checksum, and how they are blamed."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from utils.atomic import write_json
from utils.errors import UserError, shown

FORMAT = 1
MAX_JSON_BYTES = 1 << 30
PREPARE = "bash prepare/generate_dataset.sh"

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def plain_name(name: str, what: str) -> str:
    """`name`, if it can be nothing but one file or folder name. Raises UserError otherwise."""
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        raise UserError(
            f"{what} {shown(name)} is not a plain name: letters, digits, '_', '-' and '.', "
            "a letter or digit first, at most 100 in all"
        )
    return name


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest of this format. Raises UserError when it is not JSON or of another format."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise damaged(path, "it is larger than a gigabyte")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        checksum = _checksum(manifest) if isinstance(manifest, dict) else None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"it is not JSON ({error})") from error
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise damaged(path, "it has no format number")
    if manifest["format"] != FORMAT:
        raise UserError(
            f"{path} has format {shown(manifest['format'])}, this version reads format {FORMAT}: "
            f"delete {path.parent} and make it again with `{PREPARE}`"
        )
    if manifest.get("checksum") != checksum:
        raise damaged(path, "its content does not bear out its checksum")
    return manifest


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest whole, with its checksum."""
    write_json(path, {**manifest, "checksum": _checksum(manifest)})


def _checksum(manifest: dict[str, Any]) -> str:
    """SHA-256 of a manifest's entries, whatever their order, without its checksum."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()


def text_entry(path: Path, manifest: dict[str, Any], key: str) -> str:
    """The text under `key`. Raises UserError when there is none."""
    if not isinstance(manifest.get(key), str):
        raise damaged(path, f"its {key} is {shown(manifest.get(key))}")
    return manifest[key]


def array_shape(path: Path, dtype: type, blamed: Path) -> tuple[int, ...]:
    """Shape of an .npy file, once its type is as expected and its size bears the shape out."""
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version of .npy")
            shape, fortran_order, found = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
        size = path.stat().st_size
    except Exception as error:  # numpy raises nearly anything on a hostile header
        raise damaged(blamed, f"{path.name} cannot be read ({str(error)[:200]})") from error
    if found != np.dtype(dtype) or (fortran_order and len(shape) > 1):
        order = " in Fortran's order" if fortran_order else ""
        raise damaged(blamed, f"{path.name} is of type {found}{order}, not {np.dtype(dtype)}")
    if any(length < 0 for length in shape) or size != start + math.prod(shape) * found.itemsize:
        raise damaged(blamed, f"{path.name} has {size} bytes, which its shape {shape} does not account for")
    return shape


def damaged(path: Path, what: str) -> UserError:
    """The error about a file of prepared data that is not as it was written."""
    return UserError(f"{path} is damaged: {what}. Delete {path.parent} and make it again with `{PREPARE}`")
