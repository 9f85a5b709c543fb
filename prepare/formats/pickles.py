"""Pickles from strangers: containers and arrays of numbers come out, and nothing that a pickle asks for is run.

A pickle may name any function to be called while it is read. Here numpy's own names get inert stand-ins, which only
keep what they are given (numpy itself crashes on some states, and takes any memory that they claim), and every other
name is refused unless the caller has a stand-in of its own for it.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError

StandIn = Callable[..., Any]


class Inert:
    """Takes the place of a pickled object: keeps its state, runs nothing."""

    def __new__(cls, *_: Any) -> Inert:
        made = super().__new__(cls)
        made.state = None
        return made

    def __init__(self, *_: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray | None:
        """The object's content, if it is an array of numbers."""
        return None

    def part(self, name: str) -> Any:
        """A part of a state that is a dictionary."""
        return self.state.get(name) if isinstance(self.state, dict) else None


class PickledDtype(Inert):
    """numpy.dtype, of numbers alone."""

    def __init__(self, code: Any = None, *_: Any):
        self.code, self.state = code, None

    def dtype(self) -> np.dtype:
        """Raises ValueError or TypeError when it is no type of plain numbers."""
        if not re.fullmatch(r"[biuf]\d{1,2}", self.code):
            raise ValueError(self.code)
        return np.dtype(self.code).newbyteorder(self.state[1] if self.state else "=")


class PickledArray(Inert):
    """numpy.ndarray by its state."""

    def array(self) -> np.ndarray | None:
        try:
            _, shape, dtype, fortran_order, content = self.state
            content = content.encode("latin1") if isinstance(content, str) else content  # of Python 2
            return np.frombuffer(content, dtype.dtype()).reshape(shape, order="F" if fortran_order else "C")
        except (ValueError, TypeError, AttributeError, LookupError):
            return None


def as_array(value: Any) -> np.ndarray | None:
    """A pickled array, or a list of plain numbers, as an array; None when it is neither."""
    if isinstance(value, Inert):
        return value.array()
    if isinstance(value, list | tuple) and all(type(entry) in (int, float) for entry in value):
        return np.asarray(value)
    return None


def read_pickle(
    path: Path, what: str, stand_in: Callable[[str, str], StandIn | None] = lambda _module, _name: None
) -> Any:
    """The content of a pickle; arrays in it are `Inert` (see `as_array`).

    Args:
        what: the file is expected to be, for messages.
        stand_in: the caller's own for (module, name), or None.

    Raises:
        UserError: the file cannot be read, is no whole pickle, or asks for anything else.
    """
    try:
        return _Unpickler(io.BytesIO(path.read_bytes()), what, stand_in).load()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a damaged pickle can end in any exception at all
        raise UserError(f"{path}: is not a whole pickle ({type(error).__name__}: {error})") from None


def _reconstruct(*_: Any) -> PickledArray:
    """numpy's function of this name: the state brings the data."""
    return PickledArray()


def _from_buffer(content: bytes, dtype: PickledDtype, shape: tuple[int, ...], order: str) -> PickledArray:
    """numpy's `_frombuffer`, by which protocol 5 brings arrays."""
    made = PickledArray()
    made.state = (1, shape, dtype, order == "F", content)
    return made


def _scalar(dtype: PickledDtype, content: bytes) -> PickledArray:
    """numpy's `scalar`, as an array without axes."""
    return _from_buffer(content, dtype, (), "C")


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """_codecs.encode as Python 3 pickles bytes at protocol 2."""
    if encoding != "latin1":
        raise UserError(f"asks for the codec {encoding!r}, which no array needs")
    return text.encode("latin1")


_NUMPY: dict[str, StandIn] = {
    "numpy.dtype": PickledDtype,
    "numpy.ndarray": PickledArray,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "_codecs.encode": _latin1,
}


class _Unpickler(pickle._Unpickler):
    """Written in Python on purpose: its memo is a dictionary, where the C one takes memory for any index claimed."""

    def __init__(self, file: io.BytesIO, what: str, stand_in: Callable[[str, str], StandIn | None]):
        super().__init__(file, encoding="latin1")
        self.what, self.stand_in = what, stand_in

    def load_bytearray8(self) -> None:
        """Like pickle's own, which takes the memory that is claimed before it reads."""
        (count,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(count)))

    dispatch = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}

    def find_class(self, module: str, name: str) -> StandIn:
        found = _NUMPY.get(f"{module.replace('numpy._core', 'numpy.core')}.{name}") or self.stand_in(module, name)
        if found is None:
            raise UserError(
                f"asks for {module}.{name}, which is no part of {self.what}. Nothing of it was run; "
                "take the file from its official source"
            )
        return found
