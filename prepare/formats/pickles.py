"""Pickles of unknown origin: containers, numbers, text and numpy arrays come out. Nothing that a pickle names is run.

A pickle can name any function and have it called. Here an allowed name becomes a `Stub`, which only records what it is
given, and every other name is refused. Even numpy and scipy are not called, because some states crash them.
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

# Names by which numpy pickles arrays, numbers and their types; _codecs.encode is Python's own for bytes at protocol 2
_NUMPY = r"numpy\.(dtype|ndarray|core\.multiarray\.(_reconstruct|scalar)|core\.numeric\._frombuffer)|_codecs\.encode"
_MOVED = {"copy_reg": "copyreg", "__builtin__": "builtins"}  # names of Python 2


class Stub:
    """Stands for a pickled object of the class or function `name`: keeps its arguments and its state, runs nothing."""

    name = ""

    def __new__(cls, *args: Any) -> Stub:
        made = super().__new__(cls)
        made.args, made.state = args, None
        return made

    def __init__(self, *_: Any):
        """Accepts what `__new__` has kept."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_pickle(path: Path, what: str, also: str | None = None) -> Any:
    """The content of a pickle; arrays in it are `Stub`s for `as_array`.

    Args:
        what: the file is expected to be, for messages.
        also: regular expression of further names that become `Stub`s.

    Raises:
        UserError: the file cannot be read, is no whole pickle, or names anything else.
    """
    try:
        return _Unpickler(io.BytesIO(path.read_bytes()), what, f"{_NUMPY}|{also}" if also else _NUMPY).load()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged pickle can raise any exception
        raise UserError(f"{path}: is not a whole pickle ({type(error).__name__}: {error})") from None


def as_array(value: Any) -> np.ndarray | None:
    """The array of numbers that a `Stub` of numpy or a plain list of numbers stands for; None when there is none."""
    if isinstance(value, list | tuple) and all(type(entry) in (int, float) for entry in value):
        return np.asarray(value)
    try:
        match value:
            case Stub(name="numpy.core.multiarray._reconstruct"):
                _, shape, dtype, is_fortran, content = value.state
            case Stub(name="numpy.core.numeric._frombuffer"):
                content, dtype, shape, order = value.args
                is_fortran = order == "F"
            case Stub(name="numpy.core.multiarray.scalar"):
                (dtype, content), shape, is_fortran = value.args, (), False
            case _:
                return None
        return np.frombuffer(_bytes(content), _dtype(dtype)).reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
        return None


def _dtype(stub: Stub) -> np.dtype:
    """A type of plain numbers. Raises one of the errors that `as_array` expects for any other."""
    if not re.fullmatch(r"[biuf]\d{1,2}", stub.args[0]):
        raise ValueError(stub.args[0])
    return np.dtype(stub.args[0]).newbyteorder(stub.state[1] if stub.state else "=")


def _bytes(content: Any) -> bytes:
    """Bytes from the three ways of pickling them: plainly, by `_codecs.encode`, and as text of Python 2."""
    if isinstance(content, Stub):
        content, codec = content.args
        if codec != "latin1":
            raise ValueError(codec)
    return content.encode("latin1") if isinstance(content, str) else content


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler in Python: the one in C allocates memory for any memo index that a file claims."""

    # pickle's own load_bytearray8 allocates what is claimed before it reads
    dispatch = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: pickle._Unpickler.load_binbytes8}

    def __init__(self, file: io.BytesIO, what: str, allowed: str):
        super().__init__(file, encoding="latin1")
        self.what, self.allowed = what, allowed

    def find_class(self, module: str, name: str) -> type[Stub]:
        full = f"{_MOVED.get(module, module)}.{name}".replace("numpy._core.", "numpy.core.")
        if not re.fullmatch(self.allowed, full):
            raise UserError(
                f"asks for {module}.{name}, which is no part of {self.what}. Nothing of it was run; "
                "take the file from its official source"
            )
        return _stub_class(full)


@functools.cache
def _stub_class(name: str) -> type[Stub]:
    return type(name, (Stub,), {"name": name})
