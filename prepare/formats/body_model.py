"""Body models, SMPL-H and SMPL-X: reads the arrays from which joints are computed.

A model is a pickle, such as `SMPLH_male.pkl`, or an .npz file, such as `SMPLX_MALE.npz` or AMASS's "extended SMPL+H",
`model.npz`. No code in a pickle is run (`prepare.formats.pickles`). Old pickles hold arrays of chumpy; they are read
without chumpy.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_array, csr_array

from prepare.formats.errors import TakeError
from prepare.formats.flavours import BY_JOINTS, FLAVOURS, SMPLH, Flavour
from prepare.formats.npz import finite_float32, open_npz
from prepare.formats.pickles import Stub, as_array, read_pickle
from utils.errors import UserError
from utils.regular import regular_file

MAX_FILE_BYTES = 2 << 30
_OTHER_MODELS = {24: "SMPL", 16: "MANO"}  # by number of joints
# Objects in body models besides numpy's arrays: chumpy's arrays (each with a set) and scipy's sparse matrices
_PARTS = r"chumpy(\.\w+)+|scipy\.sparse(\.\w+)*\.cs[cr]_(matrix|array)|copyreg\._reconstructor|builtins\.(object|set)"

Body = dict[str, np.ndarray]


def load_body(name: str) -> Body:
    """The body that `--body` names: a file, a folder with a file of a usual name (`Flavour.files`), or "synthetic".

    Raises UserError as `read_body` does.
    """
    if name == "synthetic":
        from prepare.synthetic.body import body_structure  # here, so that prediction does not load the synthetic data

        return check_body(body_structure(), "the synthetic body")
    if name == "stand-in":
        raise UserError("--body stand-in has a new name: --body synthetic")
    path = Path(name)
    if path.is_dir():
        usual = [path / file for flavour in FLAVOURS for file in flavour.files]
        path = next((file for file in usual if file.is_file()), usual[0])
    return read_body(path)


def read_body(path: Path) -> Body:
    """Read a body from `.pkl` or `.npz`: float32 arrays of `Flavour.shapes`, and `parents` (J,) int64 of its J joints.

    Raises UserError when the file is missing, damaged or another body model, or when it is a pickle with anything but
    arrays.
    """
    try:
        regular_file(path)
    except FileNotFoundError:
        where = f"download it from {SMPLH.page}; see human_model/README.md"
        raise UserError(f"the body model {path} does not exist: {where}") from None
    except OSError as error:
        raise UserError(f"the body model {path} cannot be read ({error.strerror})") from None
    if path.suffix == ".npz":
        try:
            with open_npz(path) as file:
                found = {name: file.array(name) for name in SMPLH.shapes if name in file.names}
        except TakeError as error:
            raise UserError(f"the body model {path} {error}") from error
    elif path.suffix == ".pkl":
        found = read_pickle(path, "a body model", MAX_FILE_BYTES, _PARTS)
        if not isinstance(found, dict):
            raise UserError(f"{path} holds a {type(found).__name__}, not a body model's dictionary of arrays")
    else:
        raise UserError(f"{path} is neither .pkl nor .npz, as body models are")
    return check_body(found, str(path))


def check_body(found: dict[str, Any], origin: str) -> Body:
    """The arrays that `read_body` returns, from a body model's dictionary. Raises UserError that names `origin`."""
    flavour = _flavour(found, origin)
    body = {}
    for name in flavour.shapes:
        if name in found:
            body[name] = _checked(found[name], name, flavour, origin)
        elif not name.startswith("hands"):
            raise UserError(f"{origin} has no {name!r}: it is no {flavour.model} body model (from {flavour.page})")
    parents = body.pop("kintree_table")[0].astype(np.int64)
    parents[0] = -1  # written as 2^32 - 1 in the model files
    if any(not 0 <= parent < child for child, parent in enumerate(parents) if child):
        raise UserError(f"{origin} has a kintree_table in which a joint comes before its parent")
    return {**body, "parents": parents}


def body_digest(body: Body) -> str:
    """SHA-256 of a body's arrays; the form of its file does not matter."""
    digest = hashlib.sha256()
    for name in sorted(body):
        digest.update(f"{name} {body[name].shape} {body[name].dtype}\n".encode())
        digest.update(np.ascontiguousarray(body[name]).data)
    return digest.hexdigest()


def _flavour(found: dict[str, Any], origin: str) -> Flavour:
    """The flavour whose number of joints a body model has."""
    if "kintree_table" not in found:
        wanted = " and ".join(f"no {flavour.model} body model (from {flavour.page})" for flavour in FLAVOURS)
        raise UserError(f"{origin} has no 'kintree_table': it is {wanted}")
    shape = _numbers(found["kintree_table"], "kintree_table", origin).shape
    joints = shape[1] if len(shape) == 2 and shape[0] == 2 else 0
    if joints not in BY_JOINTS:
        hint = f" (it looks like {_OTHER_MODELS[joints]})" if joints in _OTHER_MODELS else ""
        wanted = ", ".join(f"{f.model} (from {f.page}) has {f.shapes['kintree_table']}" for f in FLAVOURS)
        raise UserError(f"{origin} has a 'kintree_table' of shape {shape}{hint}; {wanted}")
    return BY_JOINTS[joints]


def _checked(value: Any, name: str, flavour: Flavour, origin: str) -> np.ndarray:
    array, expected = _numbers(value, name, origin), flavour.shapes[name]
    if array.shape != expected:
        raise UserError(
            f"{origin} has {name!r} of shape {array.shape}, {flavour.model} has {expected}: "
            f"get {flavour.model} from {flavour.page}"
        )
    if name == "kintree_table":
        return array
    try:
        return finite_float32(array, f"a {name!r} with values")
    except TakeError as error:
        raise UserError(f"{origin} {error}") from None


def _numbers(value: Any, name: str, origin: str) -> np.ndarray:
    array = value if isinstance(value, np.ndarray) else _unpickled(value)
    if array is None or array.dtype.kind not in "fiu":
        raise UserError(f"{origin} has a {name!r} that is no array of numbers: it is no body model")
    return array


def _unpickled(value: Any) -> np.ndarray | None:
    """The array that a pickle's entry represents, of numpy, chumpy or scipy.sparse; None for other values."""
    if not isinstance(value, Stub):
        return as_array(value)
    kind = value.args[0] if value.name == "copyreg._reconstructor" and value.args else value  # protocols 0 and 1
    name, state = getattr(kind, "name", ""), value.state if isinstance(value.state, dict) else {}
    if name.startswith("chumpy."):
        return as_array(state.get("x"))
    if name.startswith("scipy.sparse."):
        return _dense(state, csc_array if ".csc_" in name else csr_array)
    return as_array(value)


def _dense(state: dict[str, Any], form: type[csc_array | csr_array]) -> np.ndarray | None:
    """A sparse J_regressor as an array; None when its parts do not fit together."""
    data, indices, indptr = parts = [as_array(state.get(name)) for name in ("data", "indices", "indptr")]
    shape = state.get("_shape")
    if shape not in [flavour.shapes["J_regressor"] for flavour in FLAVOURS] or any(part is None for part in parts):
        return None
    if not indices.dtype.kind == indptr.dtype.kind == "i":
        return None
    try:
        sparse = form((data.astype(np.float64), indices, indptr), shape=shape)
        sparse.check_format(full_check=True)  # false indices would crash toarray; an empty array is not checked
        return sparse.toarray() if 0 < sparse.nnz == data.size else None
    except ValueError:
        return None
