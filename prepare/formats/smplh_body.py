"""SMPL-H body models from files: the arrays that joints need, and no code.

The model (Romero et al. 2017) comes as a pickle, `SMPLH_male.pkl`, or as AMASS's "extended SMPL+H",
`model.npz`. Pickles are read without running anything (`prepare.formats.pickles`), so chumpy, whose arrays older
ones hold and which no longer installs, is not needed either.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from prepare.formats.npz import NpzError, open_npz
from prepare.formats.pickles import Inert, PickledArray, StandIn, as_array, read_pickle
from utils.errors import UserError

SMPLH_JOINTS = 52
SMPLH_VERTICES = 6890
SHAPES = {
    "kintree_table": (2, SMPLH_JOINTS),  # first, as it tells which other model it is
    "v_template": (SMPLH_VERTICES, 3),
    "posedirs": (SMPLH_VERTICES, 3, (SMPLH_JOINTS - 1) * 9),
    "J_regressor": (SMPLH_JOINTS, SMPLH_VERTICES),
    "weights": (SMPLH_VERTICES, SMPLH_JOINTS),
    "hands_meanl": (45,),
    "hands_meanr": (45,),
}
HAND_MEANS = ("hands_meanl", "hands_meanr")
MAX_FILE_BYTES = 2 << 30
_OTHER_MODELS = {24: "SMPL", 55: "SMPL-X", 16: "MANO"}  # by number of joints
_PAGE = "https://mano.is.tue.mpg.de (SMPL-H) or https://amass.is.tue.mpg.de (extended SMPL+H)"

Body = dict[str, np.ndarray]


def read_body(path: Path) -> Body:
    """Read an SMPL-H body from `.pkl` or `.npz`: the arrays of `SHAPES`, float32, parents int64.

    A model without hand means gets zero ones. Raises UserError when the file is none, is damaged, is
    another body model, or is a pickle that asks for anything but arrays.
    """
    if not path.is_file():
        raise UserError(f"the body model {path} does not exist: download it from {_PAGE}; see human_model/README.md")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{path} has {path.stat().st_size} bytes, more than any SMPL-H body model")
    if path.suffix == ".npz":
        found = _read_npz(path)
    elif path.suffix == ".pkl":
        found = read_pickle(path, "a body model", _stand_in)
        if not isinstance(found, dict):
            raise UserError(f"{path} holds a {type(found).__name__}, not a body model's dictionary of arrays")
    else:
        raise UserError(f"{path} is neither .pkl nor .npz, as SMPL-H body models are")
    return check_body(found, str(path))


def check_body(found: dict[str, Any], origin: str) -> Body:
    """The arrays of `SHAPES` out of a body structure, checked. Raises UserError that names `origin`."""
    body: Body = {}
    missing_hands = [name for name in HAND_MEANS if name not in found]
    found = {**found, **{name: np.zeros(45) for name in missing_hands}}
    for name, shape in SHAPES.items():
        if name not in found:
            raise UserError(f"{origin} has no {name!r}: it is no SMPL-H body model (from {_PAGE})")
        body[name] = _array(found[name], name, shape, origin)
    parents = body.pop("kintree_table")[0].astype(np.int64)
    parents[0] = -1  # written as 2^32 - 1 in the model files
    if any(not 0 <= parent < child for child, parent in enumerate(parents) if child):
        raise UserError(f"{origin} has a kintree_table in which a joint comes before its parent")
    if missing_hands:
        print(f"{origin} has no {' and '.join(missing_hands)}: hands rest flat (zero mean pose)")
    return {**body, "parents": parents}


def body_digest(body: Body) -> str:
    """SHA-256 of a body's arrays, the same whatever file they came from."""
    digest = hashlib.sha256()
    for name in sorted(body):
        digest.update(f"{name} {body[name].shape} {body[name].dtype}\n".encode())
        digest.update(np.ascontiguousarray(body[name]).data)
    return digest.hexdigest()


def _array(value: Any, name: str, shape: tuple[int, ...], origin: str) -> np.ndarray:
    value = value if isinstance(value, np.ndarray) else as_array(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise UserError(f"{origin} has a {name!r} that is no array of numbers: it is no SMPL-H body model")
    if value.shape != shape:
        other = _OTHER_MODELS.get(value.shape[1]) if name == "kintree_table" and value.ndim == 2 else None
        named = f" (it looks like {other})" if other else ""
        raise UserError(
            f"{origin} has {name!r} of shape {value.shape}, SMPL-H has {shape}{named}: get SMPL-H from {_PAGE}"
        )
    if name == "kintree_table":
        return value
    with np.errstate(over="ignore"):
        value = np.array(value, np.float32, order="C")  # a copy, as what comes from a file may be read-only
    if not np.isfinite(value).all():
        raise UserError(f"{origin} has a {name!r} with values that are not finite")
    return value


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with open_npz(path) as file:
            return {name: file.array(name) for name in SHAPES if name in file.names}
    except NpzError as error:
        raise UserError(f"the body model {path} {error}") from error


class _Chumpy(Inert):
    def array(self) -> np.ndarray | None:
        x = self.part("x")
        return x.array() if isinstance(x, PickledArray) else None


class _Csc(Inert):
    """A sparse matrix by columns: scipy's own checks of `indptr` let some through that crash it."""

    minor, major = 0, 1  # axes: `indptr` cuts `indices` along the minor one into pieces of the major one

    def array(self) -> np.ndarray | None:
        parts = [self.part(name) for name in ("data", "indices", "indptr")]
        shape = SHAPES["J_regressor"]  # the one that is sparse; nothing is made at a size that is only claimed
        if self.part("_shape") != shape or not all(isinstance(part, PickledArray) for part in parts):
            return None
        data, indices, indptr = (part.array() for part in parts)
        if any(part is None or part.ndim != 1 for part in (data, indices, indptr)):
            return None
        if not indices.dtype.kind == indptr.dtype.kind == "i" or data.shape != indices.shape:
            return None
        if len(indptr) != shape[self.major] + 1 or indptr[0] != 0 or indptr[-1] != len(data):
            return None
        if (indptr[1:] < indptr[:-1]).any() or (indices < 0).any() or (indices >= shape[self.minor]).any():
            return None
        place = {self.minor: indices, self.major: np.repeat(np.arange(shape[self.major]), np.diff(indptr))}
        dense = np.zeros(shape, data.dtype)
        np.add.at(dense, (place[0], place[1]), data)
        return dense


class _Csr(_Csc):
    minor, major = 1, 0


def _make_inert(cls: type, *_: Any) -> Inert:
    """copyreg's `_reconstructor` and `__newobj__` for old-style pickles, of stand-ins alone."""
    if not (isinstance(cls, type) and issubclass(cls, Inert)):
        raise UserError(f"asks for an object of {cls!r}, which is no part of a body model")
    return cls()


def _stand_in(module: str, name: str) -> StandIn | None:
    """What takes the place of the objects that body models hold beside numpy's arrays."""
    if module.split(".")[0] == "chumpy":
        return _Chumpy
    if module.startswith("scipy.sparse"):
        return {"csc": _Csc, "csr": _Csr}.get(name.removesuffix("_matrix").removesuffix("_array"))
    if module in ("copy_reg", "copyreg") and name == "_reconstructor":
        return _make_inert
    if module in ("builtins", "__builtin__"):
        return {"object": object, "set": set}.get(name)  # every chumpy array has a set
    return None
