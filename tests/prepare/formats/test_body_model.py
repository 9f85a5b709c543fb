"""Body models: every form of SMPL-H files is read, and nothing that a pickle names is run."""

import os
import pickle
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csc_array, csc_matrix, csr_matrix

from prepare.formats.body_model import Body, body_digest, check_body, load_body, read_body
from prepare.formats.flavours import SMPLH, Flavour
from prepare.synthetic.body import body_structure
from utils.errors import UserError

Structure = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def structure() -> Structure:
    return body_structure()


@pytest.fixture()
def light(structure: Structure, monkeypatch: pytest.MonkeyPatch) -> Structure:
    """A body without `posedirs`, its only large array; the reader does not expect it then."""
    shapes = {name: shape for name, shape in SMPLH.shapes.items() if name != "posedirs"}
    monkeypatch.setattr(Flavour, "shapes", shapes)
    return {name: values for name, values in structure.items() if name != "posedirs"}


@pytest.fixture()
def path(tmp_path: Path) -> Path:
    return tmp_path / "SMPLH_male.pkl"


def read(path: Path, content: Any, protocol: int = 4) -> Body:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return read_body(path)


def holds(body: Body, structure: Structure) -> bool:
    return body_digest(body) == body_digest(check_body(structure, "the synthetic body"))


def test_a_body_is_read_as_it_was_written(path: Path, structure: Structure) -> None:
    body = read(path, {**structure, "J_regressor": csc_matrix(structure["J_regressor"])}, protocol=2)
    assert body["parents"].tolist() == [-1, *structure["kintree_table"][0, 1:]]
    for name in SMPLH.shapes.keys() - {"kintree_table"}:
        assert body[name].dtype == np.float32
        assert body[name].flags.writeable  # torch warns of others
        assert np.array_equal(body[name], structure[name])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", [csc_matrix, csr_matrix, csc_array, np.array])
def test_every_pickle_protocol_is_read(path: Path, light: Structure, form: Callable, protocol: int) -> None:
    content = {**light, "J_regressor": form(light["J_regressor"]), "bs_style": {"lbs"}}
    assert holds(read(path, content, protocol), light)


def test_numbers_of_any_type_and_layout_are_read(path: Path, light: Structure) -> None:
    changes = {
        "v_template": light["v_template"].astype(">f8"),
        "weights": np.asfortranarray(light["weights"], np.float64),
        "kintree_table": light["kintree_table"].astype(np.int64),
    }
    assert holds(read(path, {**light, **changes}), light)


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its str."""

    def save_bytes(self, content: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(content)

    dispatch = {**pickle._Pickler.dispatch, bytes: save_bytes}


class Ch:
    """An array of chumpy, with the state that chumpy pickles."""

    def __init__(self, x: np.ndarray) -> None:
        self.__dict__ = {"_dirty_vars": {"x"}, "_itr": None, "_make_dense": False, "_depends_on_deps": {}, "x": x}


def test_a_python_2_pickle_is_read_without_chumpy(
    path: Path, structure: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {**structure, "J_regressor": csc_matrix(structure["J_regressor"])}
    with monkeypatch.context() as patch, path.open("wb") as file:
        patch.setattr(Ch, "__module__", "chumpy.ch")
        for name in ("chumpy", "chumpy.ch"):
            patch.setitem(sys.modules, name, ModuleType(name))
        sys.modules["chumpy.ch"].Ch = Ch
        for name in ("v_template", "posedirs", "weights"):
            content[name] = Ch(structure[name].astype(np.float64 if name == "weights" else np.float32))
        _Python2Pickler(file, protocol=2).dump(content)
    written = path.read_bytes()
    assert b"cchumpy.ch\nCh\n" in written
    assert b"c__builtin__\nset\n" in written
    older = written.replace(b"numpy._core.", b"numpy.core.").replace(b"scipy.sparse._csc\n", b"scipy.sparse.csc\n")
    assert "chumpy" not in sys.modules
    assert holds(read(path, older), structure)


def test_amass_own_model_has_no_hand_means(tmp_path: Path, light: Structure) -> None:
    own = {name: values for name, values in light.items() if not name.startswith("hands")}
    np.savez(tmp_path / "model.npz", **own, gender=np.array("male"), extra=np.array([{}], object))
    body = read_body(tmp_path / "model.npz")
    assert all(values.flags.writeable for values in body.values())
    assert holds(body, own)


def test_an_npz_with_hand_means_is_read(tmp_path: Path, structure: Structure) -> None:
    np.savez(tmp_path / "model.npz", **structure)
    assert holds(read_body(tmp_path / "model.npz"), structure)


class Call:
    """Pickles as a call of a function, followed by a state if one is given."""

    def __init__(self, function: Callable, args: tuple, *state: Any) -> None:
        self.call = (function, args, *state)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ["touch {}"], r"(posix|nt)\.system"),
        (eval, ["open('{}', 'w')"], r"(builtins|__builtin__)\.eval"),
        (np.load, ["{}"], r"numpy\.load"),
        (np.save, ["{}", "content"], r"numpy\.save"),
    ],
)
def test_a_function_in_a_pickle_is_named_and_not_run(
    path: Path, function: Callable, arguments: list[str], name: str, protocol: int
) -> None:
    payload = path.with_name("payload.npy")
    content = {"v_template": Call(function, tuple(argument.format(payload) for argument in arguments))}
    with pytest.raises(UserError, match=rf"SMPLH_male\.pkl: asks for {name}, which was not run; expected a body model"):
        read(path, content, protocol)
    assert not payload.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cscipy.sparse.linalg\neigs\n.",  # a neighbour of what is allowed
        b"cchumpy_evil\nCh\n.",
        b"ccopy_reg\n_reconstructor\n(c__builtin__\nset\nc__builtin__\nobject\nNtR.",
        b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
    ],
)
def test_objects_that_no_body_has_are_refused(path: Path, code: bytes) -> None:
    with pytest.raises(UserError, match="asks for .* which was not run|has no 'kintree_table'"):
        read(path, code)


def test_claimed_sizes_take_no_memory_and_do_not_crash_numpy(path: Path, light: Structure) -> None:
    for dtype in ("O", "f8", "V8"):  # numpy's own __setstate__ ends the process at the first
        state = (1, (10**12,), np.dtype(dtype), False, [])
        array = Call(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state)
        with pytest.raises(UserError, match="has a 'v_template' that is no array of numbers"):
            read(path, {**light, "v_template": array})
    tracemalloc.start()
    for code in (pickle.BYTEARRAY8, pickle.BINBYTES8, pickle.BINUNICODE8):
        with pytest.raises(UserError, match="is not a whole pickle"):
            read(path, pickle.PROTO + b"\x05" + code + struct.pack("<Q", 1 << 28) + b"cut off")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("name", "lie"),  # an array, or single elements; there are 416
    [
        ("_shape", (52, 10**12)), ("_shape", np.array([52, 6890])), ("data", "text"), ("data", np.zeros((416, 1))),
        ("indices", {7: 52}), ("indices", {7: -1}), ("indices", np.zeros(416)), ("indices", np.zeros(3, int)),
        ("indptr", {-1: -5}), ("indptr", {-1: 10**6}), ("indptr", {0: -3}), ("indptr", {5: 10**6}),
        ("indptr", np.array(3)), ("indptr", np.array([0, 416])),
    ],
)  # fmt: skip
def test_a_sparse_regressor_with_false_indices_is_refused(path: Path, light: Structure, name: str, lie: Any) -> None:
    sparse = csc_matrix(light["J_regressor"])
    for place, value in lie.items() if isinstance(lie, dict) else ():
        getattr(sparse, name)[place] = value
    if not isinstance(lie, dict):
        sparse.__dict__[name] = lie
    with pytest.raises(UserError, match="has a 'J_regressor' that is no array of numbers"):
        read(path, {**light, "J_regressor": sparse})


def test_a_sparse_regressor_without_entries_is_refused(path: Path, light: Structure) -> None:
    sparse = csc_matrix((52, 6890))
    sparse.indptr[5] = 10**6  # scipy itself does not check an empty array
    with pytest.raises(UserError, match="has a 'J_regressor' that is no array of numbers"):
        read(path, {**light, "J_regressor": sparse})


@pytest.mark.parametrize("joints", [24, 16])  # of SMPL and MANO
def test_other_body_models_are_refused(path: Path, capsys: pytest.CaptureFixture, joints: int) -> None:
    with pytest.raises(UserError, match=rf"shape \(2, {joints}\); SMPL-H .* has \(2, 52\)"):
        read(path, {"v_template": np.zeros((778, 3)), "kintree_table": np.zeros((2, joints), np.uint32)})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": np.zeros((6890, 51))}, r"'weights' of shape \(6890, 51\), SMPL-H has \(6890, 52\)"),
        ({"v_template": np.full((6890, 3), np.nan)}, "a 'v_template' with values that are not finite"),
        ({"v_template": np.full((6890, 3), 1e300)}, "a 'v_template' with values that are not finite"),
        ({"v_template": [[0.0] * 3] * 6890}, "a 'v_template' that is no array of numbers"),
        ({"kintree_table": np.arange(104).reshape(2, 52)}, "a joint comes before its parent"),
    ],
)
def test_the_error_names_what_is_wrong_with_a_body(
    path: Path, light: Structure, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=rf"SMPLH_male\.pkl: has .*{said}"):
        read(path, {**light, **changes})


@pytest.mark.parametrize("name", ["v_template", "posedirs", "J_regressor", "weights", "kintree_table"])
def test_a_missing_array_is_named(structure: Structure, name: str) -> None:
    with pytest.raises(UserError, match=f"mine: has no '{name}'; expected a body model"):
        check_body({key: values for key, values in structure.items() if key != name}, "mine")


def test_a_file_that_is_no_body_gives_one_message(path: Path, light: Structure) -> None:
    with pytest.raises(UserError, match=r"SMPLH_male\.pkl: cannot be read \(No such file.*human_model/README\.md"):
        read_body(path)
    for content in (b"", b"no pickle", *(pickle.dumps(light, 4)[:size] for size in (50, 10**6, -1)), [1]):
        with pytest.raises(UserError, match=r"SMPLH_male\.pkl: (is not a whole pickle|has no 'kintree_table')"):
            read(path, content)
    for name, said in (("body.npz", r"is not a whole \.npz file"), ("body.txt", "is neither .pkl nor .npz")):
        path.with_name(name).write_bytes(b"no body")
        with pytest.raises(UserError, match=said):
            read_body(path.with_name(name))


@pytest.mark.parametrize("name", ["SMPLH_male.pkl", "model.npz"])
def test_only_regular_files_are_read(tmp_path: Path, name: str) -> None:
    for make, said in (
        (os.mkfifo, "it is a named pipe, not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ):
        make(tmp_path / name)
        with pytest.raises(UserError, match=rf"{name}: cannot be read \({said}\); expected a body model"):
            read_body(tmp_path / name)
        (tmp_path / name).unlink()


def test_a_body_is_loaded_from_the_first_known_file_of_a_folder_or_by_the_word_synthetic(
    tmp_path: Path, structure: Structure
) -> None:
    assert holds(load_body("synthetic"), structure)
    (tmp_path / "male").mkdir()
    np.savez(tmp_path / "male" / "model.npz", **structure)
    np.savez(tmp_path / "model.npz", **{**structure, "v_template": structure["v_template"] + 1})
    assert holds(load_body(str(tmp_path)), structure)
    with pytest.raises(UserError, match=r"nothing/SMPLH_male\.pkl: cannot be read"):
        (tmp_path / "nothing").mkdir()
        load_body(str(tmp_path / "nothing"))
