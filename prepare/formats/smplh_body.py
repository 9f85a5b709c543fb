"""SMPL-H body models: the arrays that joints need, from a file or from the synthetic body.

The model (Romero et al. 2017) comes as a pickle, `SMPLH_male.pkl`, or as AMASS's "extended SMPL+H", `model.npz`.
Nothing in a pickle is run (`prepare.formats.pickles`). Old pickles hold arrays of chumpy, which need not be installed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from prepare.formats.errors import TakeError
from prepare.formats.npz import open_npz
from prepare.formats.pickles import Stub, as_array, read_pickle
from utils.errors import UserError

SMPLH_JOINTS = 52
SMPLH_VERTICES = 6890
SHAPES = {
    "kintree_table": (2, SMPLH_JOINTS),  # first, because it tells which other model a file holds
    "v_template": (SMPLH_VERTICES, 3),
    "posedirs": (SMPLH_VERTICES, 3, (SMPLH_JOINTS - 1) * 9),
    "J_regressor": (SMPLH_JOINTS, SMPLH_VERTICES),
    "weights": (SMPLH_VERTICES, SMPLH_JOINTS),
    "hands_meanl": (45,),
    "hands_meanr": (45,),
}
SYNTHETIC = "synthetic"
FILE_NAMES = ("SMPLH_male.pkl", "SMPLH_male.npz", "male/model.npz", "model.npz")  # in a folder, the first that exists
MAX_FILE_BYTES = 2 << 30
_OTHER_MODELS = {24: "SMPL", 55: "SMPL-X", 16: "MANO"}  # by number of joints
_PAGE = "https://mano.is.tue.mpg.de (SMPL-H) or https://amass.is.tue.mpg.de (extended SMPL+H)"
# Objects in body models beside numpy's arrays: chumpy's arrays (each with a set) and scipy's sparse matrices
_PARTS = r"chumpy(\.\w+)+|scipy\.sparse(\.\w+)*\.cs[cr]_(matrix|array)|copyreg\._reconstructor|builtins\.(object|set)"

Body = dict[str, np.ndarray]


def load_body(name: str) -> Body:
    """The body that `--body` names: a file, the first of `FILE_NAMES` in a folder, or "synthetic".

    Raises UserError as `read_body` does.
    """
    if name == SYNTHETIC:
        from prepare.synthetic.body import body_structure  # imported only when it is asked for

        return check_body(body_structure(), "the synthetic body")
    if name == "stand-in":
        raise UserError(f"--body stand-in has a new name: --body {SYNTHETIC}")
    path = Path(name)
    if path.is_dir():
        path = next((path / file for file in FILE_NAMES if (path / file).is_file()), path / FILE_NAMES[0])
    return read_body(path)


def read_body(path: Path) -> Body:
    """Read an SMPL-H body from `.pkl` or `.npz`: the arrays of `SHAPES` as float32, and `parents` (52,) int64.

    Hand means that are missing become zero. Raises UserError when the file is missing, damaged, or another body
    model, or when it is a pickle that asks for anything but arrays.
    """
    if not path.is_file():
        raise UserError(f"the body model {path} does not exist: download it from {_PAGE}; see human_model/README.md")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{path} has {path.stat().st_size} bytes, more than any SMPL-H body model")
    if path.suffix == ".npz":
        try:
            with open_npz(path) as file:
                found = {name: file.array(name) for name in SHAPES if name in file.names}
        except TakeError as error:
            raise UserError(f"the body model {path} {error}") from error
    elif path.suffix == ".pkl":
        found = read_pickle(path, "a body model", _PARTS)
        if not isinstance(found, dict):
            raise UserError(f"{path} holds a {type(found).__name__}, not a body model's dictionary of arrays")
    else:
        raise UserError(f"{path} is neither .pkl nor .npz, as SMPL-H body models are")
    return check_body(found, str(path))


def check_body(found: dict[str, Any], origin: str) -> Body:
    """The checked arrays of a body model's dictionary. Raises UserError that names `origin`."""
    missing_hands = [name for name in ("hands_meanl", "hands_meanr") if name not in found]
    found = {**found, **{name: np.zeros(45) for name in missing_hands}}
    body = {}
    for name in SHAPES:
        if name not in found:
            raise UserError(f"{origin} has no {name!r}: it is no SMPL-H body model (from {_PAGE})")
        body[name] = _checked(found[name], name, origin)
    parents = body.pop("kintree_table")[0].astype(np.int64)
    parents[0] = -1  # written as 2^32 - 1 in the model files
    if any(not 0 <= parent < child for child, parent in enumerate(parents) if child):
        raise UserError(f"{origin} has a kintree_table in which a joint comes before its parent")
    if missing_hands:
        print(f"{origin} has no {' and '.join(missing_hands)}: hands rest flat (zero mean pose)")
    return {**body, "parents": parents}


def body_digest(body: Body) -> str:
    """SHA-256 of a body's arrays, whatever file they came from."""
    digest = hashlib.sha256()
    for name in sorted(body):
        digest.update(f"{name} {body[name].shape} {body[name].dtype}\n".encode())
        digest.update(np.ascontiguousarray(body[name]).data)
    return digest.hexdigest()


def _checked(value: Any, name: str, origin: str) -> np.ndarray:
    array = value if isinstance(value, np.ndarray) else _unpickled(value)
    if array is None or array.dtype.kind not in "fiu":
        raise UserError(f"{origin} has a {name!r} that is no array of numbers: it is no SMPL-H body model")
    if array.shape != SHAPES[name]:
        other = _OTHER_MODELS.get(array.shape[1]) if name == "kintree_table" and array.ndim == 2 else None
        hint = f" (it looks like {other})" if other else ""
        raise UserError(
            f"{origin} has {name!r} of shape {array.shape}, SMPL-H has {SHAPES[name]}{hint}: get SMPL-H from {_PAGE}"
        )
    if name == "kintree_table":
        return array
    with np.errstate(over="ignore"):
        array = np.array(array, np.float32, order="C")  # a copy, because an array from a file can be read-only
    if not np.isfinite(array).all():
        raise UserError(f"{origin} has a {name!r} with values that are not finite")
    return array


def _unpickled(value: Any) -> np.ndarray | None:
    """The array in a pickle's entry: one of numpy, or in an object of chumpy or scipy.sparse; None for others."""
    if not isinstance(value, Stub):
        return as_array(value)
    kind = value.args[0] if value.name == "copyreg._reconstructor" and value.args else value  # of protocols 0 and 1
    name, state = getattr(kind, "name", ""), value.state if isinstance(value.state, dict) else {}
    if name.startswith("chumpy."):
        return as_array(state.get("x"))
    if name.startswith("scipy.sparse."):
        return _dense(state, by_columns=name.rpartition(".")[2].startswith("csc"))
    return as_array(value)


def _dense(state: dict[str, Any], by_columns: bool) -> np.ndarray | None:
    """A sparse J_regressor as an array; None when its parts do not fit together (some crash scipy itself)."""
    shape = SHAPES["J_regressor"]
    major, minor = (shape[1], shape[0]) if by_columns else shape  # `indptr` cuts `indices` into `major` pieces
    data, indices, indptr = parts = [as_array(state.get(name)) for name in ("data", "indices", "indptr")]
    if state.get("_shape") != shape or any(part is None or part.ndim != 1 for part in parts):
        return None
    if not indices.dtype.kind == indptr.dtype.kind == "i" or data.shape != indices.shape:
        return None
    if len(indptr) != major + 1 or indptr[0] != 0 or indptr[-1] != len(data) or (indptr[1:] < indptr[:-1]).any():
        return None
    if (indices < 0).any() or (indices >= minor).any():
        return None
    dense = np.zeros((major, minor), data.dtype)
    np.add.at(dense, (np.repeat(np.arange(major), np.diff(indptr)), indices), data)
    return dense.T if by_columns else dense
