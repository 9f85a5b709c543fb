"""Body models, SMPL-H and SMPL-X: reads the arrays from which joints are computed.

A model is a pickle, such as `SMPLH_male.pkl`, or an .npz file, such as `SMPLX_MALE.npz` or AMASS's "extended SMPL+H",
`model.npz`. No code in a pickle is run (`prepare.formats.pickles`). Old pickles hold chumpy arrays, which are read
without chumpy.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_array, csr_array

from prepare.formats.flavours import FLAVOURS, SMPLH
from prepare.formats.npz import finite_float32, read_npz
from prepare.formats.pickles import Stub, as_array, read_pickle
from utils.errors import TakeError, UserError

MAX_FILE_BYTES = 2 << 30
# What the pickle of a body model may use besides numpy: chumpy's arrays, scipy's sparse matrices. chumpy's contain sets
_ALLOWED = r"chumpy(\.\w+)+|scipy\.sparse(\.\w+)*\.cs[cr]_(matrix|array)|copyreg\._reconstructor|builtins\.(object|set)"
_EXPECTED = f"a body model: download it from {SMPLH.page}; see human_model/README.md"

Body = dict[str, np.ndarray]


def load_body(name: str) -> Body:
    """The body that `--body` names: "synthetic", or a file or folder. Raises UserError as `read_body` does."""
    if name == "synthetic":
        from prepare.synthetic.body import body_structure  # imported here because only this option needs it

        return check_body(body_structure(), "the synthetic body")
    return read_body(body_file(name))


def body_file(name: str) -> Path:
    """The file that `--body` names. In a folder, it is the first one of a usual name (`Flavour.files`)."""
    path = Path(name)
    usual = [path / file for flavour in FLAVOURS for file in flavour.files]
    return next((file for file in usual if file.is_file()), usual[0]) if path.is_dir() else path


def read_body(path: Path) -> Body:
    """Read a body from `.pkl` or `.npz`.

    Returns the float32 arrays of `Flavour.shapes` except `kintree_table`, from which `parents` (J,) int64 is made.
    Raises UserError when the file is missing, damaged or another body model, or when it is a pickle with anything but
    arrays.
    """
    if path.suffix.lower() == ".npz":
        try:
            content, _ = read_npz(path, SMPLH.shapes)  # SMPL-X has arrays of the same names
        except TakeError as error:
            raise UserError(f"{path}: {error}; expected {_EXPECTED}") from error
    elif path.suffix.lower() == ".pkl":
        content = read_pickle(path, _EXPECTED, MAX_FILE_BYTES, _ALLOWED)
    else:
        raise UserError(f"{path}: is neither .pkl nor .npz; expected {_EXPECTED}")
    return check_body(content, str(path))


def check_body(content: Any, origin: str) -> Body:
    """The arrays that `read_body` returns, from a body model's dictionary. Raises UserError that names `origin`."""
    if not isinstance(content, dict) or "kintree_table" not in content:
        raise UserError(f"{origin}: has no 'kintree_table'; expected {_EXPECTED}")
    shape = _numbers(content["kintree_table"], "kintree_table", origin).shape
    flavour = next((flavour for flavour in FLAVOURS if flavour.shapes["kintree_table"] == shape), None)
    if flavour is None:
        wanted = ", ".join(f"{f.model} (from {f.page}) has {f.shapes['kintree_table']}" for f in FLAVOURS)
        raise UserError(f"{origin}: has a 'kintree_table' of shape {shape}; {wanted}")
    body = {}
    for name, expected in flavour.shapes.items():
        if name not in content:
            if name.startswith("hands"):
                continue
            raise UserError(f"{origin}: has no {name!r}; expected {_EXPECTED}")
        array = _numbers(content[name], name, origin)
        if array.shape != expected:
            found = f"{name!r} of shape {array.shape}, {flavour.model} has {expected}"
            raise UserError(f"{origin}: has {found}: get {flavour.model} from {flavour.page}")
        try:
            body[name] = finite_float32(array, f"a {name!r} with values")
        except TakeError as error:
            raise UserError(f"{origin}: {error}; expected {_EXPECTED}") from None
    parents = body.pop("kintree_table")[0].astype(np.int64)
    parents[0] = -1  # written as 2^32 - 1 in the model files
    if any(not 0 <= parent < child for child, parent in enumerate(parents) if child):
        raise UserError(f"{origin}: has a kintree_table in which a joint comes before its parent; expected {_EXPECTED}")
    return {**body, "parents": parents}


def body_digest(body: Body) -> str:
    """SHA-256 of a body's arrays; the form of its file does not matter."""
    digest = hashlib.sha256()
    for name in sorted(body):
        digest.update(f"{name} {body[name].shape} {body[name].dtype}\n".encode())
        digest.update(np.ascontiguousarray(body[name]).data)
    return digest.hexdigest()


def _numbers(value: Any, name: str, origin: str) -> np.ndarray:
    """The array `name` of a body model. In a pickle, it is one of numpy, chumpy or scipy.sparse."""
    if isinstance(value, Stub) and isinstance(value.state, dict):
        value = as_array(value.state["x"]) if "x" in value.state else _dense(value.state)  # chumpy's arrays have x
    elif not isinstance(value, np.ndarray):
        value = as_array(value)
    if value is None or value.dtype.kind not in "fiu":
        raise UserError(f"{origin}: has a {name!r} that is no array of numbers; expected {_EXPECTED}")
    return value


def _dense(state: dict[str, Any]) -> np.ndarray | None:
    """A sparse J_regressor as an array; None when its parts do not fit together."""
    arrays = [as_array(state.get(name)) for name in ("data", "indices", "indptr")]
    shape = state.get("_shape")
    if shape not in [flavour.shapes["J_regressor"] for flavour in FLAVOURS] or any(array is None for array in arrays):
        return None
    data, indices, indptr = arrays
    if not indices.dtype.kind == indptr.dtype.kind == "i" or not indptr.ndim:
        return None
    form = csr_array if len(indptr) == shape[0] + 1 else csc_array  # by rows or by columns
    try:
        sparse = form((data.astype(np.float64), indices, indptr), shape=shape)
        sparse.check_format(full_check=True)  # invalid indices would crash toarray
        return sparse.toarray() if 0 < sparse.nnz == data.size else None  # check_format does not check empty arrays
    except ValueError:
        return None
