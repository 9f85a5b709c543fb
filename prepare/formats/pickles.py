"""Pickles of unknown origin: reads containers, numbers, text and numpy arrays without running any code of a pickle.

A pickle can name any function and have it called. Here every allowed name becomes a `Stub`, which only records its
arguments, and any other name is an error. Functions of numpy and scipy are not called either, because an invalid state
can crash them.
"""

from __future__ import annotations

import functools
import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.files import read_bytes

# Pattern of the names in pickles of numpy's arrays, numbers and types. Protocol 2 uses _codecs.encode for bytes.
_NUMPY = r"numpy\.(dtype|ndarray|core\.multiarray\.(_reconstruct|scalar)|core\.numeric\._frombuffer)|_codecs\.encode"
_MOVED = {"copy_reg": "copyreg", "__builtin__": "builtins"}  # names of Python 2


class Stub:
    """Represents a call of the class or function `name` in a pickle: its arguments and the object's state."""

    name = ""
    state: Any = None

    def __new__(cls, *args: Any) -> Stub:  # some pickles create objects without calling __init__
        stub = super().__new__(cls)
        stub.args = args
        return stub

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_pickle(path: Path, expected: str, max_bytes: int, also: str | None = None) -> Any:
    """The content of a pickle; its arrays are `Stub`s, which `as_array` converts.

    `expected` says for messages what the file should be. `also` is a regular expression of further allowed names.
    Raises UserError as `read_bytes`, and when the file is no whole pickle, or names a function or class that is not
    allowed.
    """
    content = io.BytesIO(read_bytes(path, expected, max_bytes))
    try:
        return _Unpickler(content, f"{_NUMPY}|{also}" if also else _NUMPY).load()
    except UserError as error:
        raise UserError(f"{path}: {error}; expected {expected}") from None
    except Exception as error:  # a damaged pickle can raise any exception
        raise UserError(
            f"{path}: is not a whole pickle ({type(error).__name__}: {error}); expected {expected}"
        ) from None


def as_array(value: Any) -> np.ndarray | None:
    """The array that a `Stub` of numpy or a list of numbers represents; None for any other value."""
    if isinstance(value, list | tuple) and all(type(entry) in (int, float) for entry in value):
        return np.asarray(value)
    axes = []  # numpy 2.3 and newer: [the axes in the array's order], if these are not in the order of `content`
    try:
        match value:
            case Stub(name="numpy.core.multiarray._reconstruct"):
                _, shape, dtype, is_fortran, content = value.state
            case Stub(name="numpy.core.numeric._frombuffer"):
                content, dtype, shape, order, *axes = value.args
                is_fortran = order == "F"
            case _:
                return None
        if isinstance(content, Stub):  # a call of _codecs.encode
            content, codec = content.args
            if codec != "latin1":
                return None
        if isinstance(content, str):  # text of Python 2
            content = content.encode("latin1")
        code = dtype.args[0]  # such as f8; no type but numbers is accepted
        if not re.fullmatch(r"[biuf]\d{1,2}", code):
            return None
        number = np.dtype(code).newbyteorder(dtype.state[1] if dtype.state else "=")
        array = np.frombuffer(content, number).reshape(shape, order="F" if is_fortran else "C")
        return array.transpose(*axes) if axes else array
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
        return None


class _Unpickler(pickle._Unpickler):
    """The unpickler written in Python, because the one in C allocates memory for any memo index that a file claims."""

    # pickle's load_bytearray8 allocates the claimed size before it reads
    dispatch = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: pickle._Unpickler.load_binbytes8}

    def __init__(self, file: io.BytesIO, allowed: str):
        super().__init__(file, encoding="latin1")
        self.allowed = allowed

    def find_class(self, module: str, name: str) -> type[Stub]:
        full = f"{_MOVED.get(module, module)}.{name}".replace("numpy._core.", "numpy.core.")
        if not re.fullmatch(self.allowed, full):
            raise UserError(f"asks for {module}.{name}, which was not run")
        return _stub_class(full)


@functools.cache
def _stub_class(name: str) -> type[Stub]:
    return type(name, (Stub,), {"name": name})
