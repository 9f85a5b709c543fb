"""Splits are written as released pickles and read back. Other pickles are refused, and no code in them runs."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import Hostile

from feeders.label_policy import used_labels
from prepare.store.exports import export_released
from prepare.store.interchange import import_split
from utils import config
from utils.errors import UserError
from utils.lock import lock_folder
from utils.store import Split

LOWEST = config.load(assignments=["data.overlaps=lowest"]).data
CLASSES = ["walk", "wave"]


def clip(**changes: Any) -> dict[str, Any]:
    frames = 7
    good = {"sid": "a", "X": np.zeros((3, frames, 25, 1)), "Y": [1], "L": np.array([1, 1, 2, 2, 2, 1, 2])}
    return {**good, **changes}


def released(*clips: dict[str, Any]) -> dict[str, list]:
    """The released layout: a list of each entry of the clips."""
    return {key: [entry[key] for entry in clips] for key in clips[0]}


def imported(tmp_path: Path, train: Any, val: Any = None) -> Split:
    files = {"train": tmp_path / "train.pkl", "val": tmp_path / "val.pkl"}
    for path, content in zip(files.values(), (train, val or released(clip(sid="v"))), strict=True):
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    return import_split(files, CLASSES, "theirs", tmp_path / "out")


def test_a_split_comes_back_as_it_went(make_split, tmp_path: Path) -> None:
    split = make_split(train=[12, 30], val=[25])
    train, val = export_released(split, tmp_path)
    back = imported(tmp_path, train.read_bytes(), val.read_bytes())
    for subset in ("train", "val"):
        assert back.clip_ids(subset) == split.clip_ids(subset)
        for sid in split.clip_ids(subset):
            assert np.array_equal(back.store.joints(sid), split.store.joints(sid))
            assert np.array_equal(back.labels(sid), used_labels(split.labels(sid), split.annotated(sid), LOWEST))


def test_the_pickle_has_the_released_layout(make_split, tmp_path: Path) -> None:
    path, _ = export_released(make_split(train=[12], val=[9]), tmp_path)
    content = pickle.loads(path.read_bytes())
    assert sorted(content) == ["L", "X", "Y", "sid"]
    assert content["X"][0].shape == (3, 12, 25, 1)
    assert content["L"][0].shape == (12,)
    assert set(content["Y"][0]) == set(content["L"][0].tolist()) - {2}


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_every_pickle_protocol_is_read(tmp_path: Path, protocol: int) -> None:
    joints = np.arange(7 * 75.0).reshape(7, 25, 3)
    content = released(clip(X=joints.transpose(2, 0, 1)[..., None], Y=[np.int64(1)]))  # a transposed view
    split = imported(tmp_path, pickle.dumps(content, protocol=protocol))
    assert np.array_equal(split.store.joints("a"), joints)
    assert split.labels("a").astype(int).tolist() == [[0, 1], [0, 1], [0, 0], [0, 0], [0, 0], [0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (clip(X=np.zeros((3, 7, 24, 1))), r"X of shape \(3, 7, 24, 1\) and type float64, expected \(3, T, 25, 1\)"),
        (clip(X=np.full((3, 7, 25, 1), np.nan)), r"expected .* finite floats up to 3.40282e\+38"),
        (clip(X=np.full((3, 7, 25, 1), np.inf, np.float16)), r"expected .* finite floats up to"),
        (clip(X=np.full((3, 7, 25, 1), 1e300)), r"expected .* finite floats up to 3.40282e\+38"),
        (clip(L=np.zeros(6, int)), r"L of shape \(6,\)"),
        (clip(L=np.full(7, 3)), "labels from 3 to 3, expected 0 to 2"),
        ({"sid": "a"}, "expected lists sid, X and L"),
        (clip(sid=np.str_("a")), "has an id that is neither text nor a whole number"),
    ],
)
def test_what_is_no_clip_is_named(tmp_path: Path, entry: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        imported(tmp_path, released(entry))
    assert not (tmp_path / "out" / "theirs").exists()


class Crashing:
    """An array whose state brings numpy itself down."""

    def __reduce__(self) -> tuple:
        return (np.ndarray.__reduce__(np.zeros(1))[0], (np.ndarray, (0,), b"b"), (1, (1000,), np.dtype("O"), False, []))


def test_a_state_that_numpy_cannot_survive_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has X of shape None"):
        imported(tmp_path, released(clip(X=Crashing())))


def test_code_in_a_pickle_is_refused_by_name_and_not_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.pkl: asks for pathlib\S*, which was not run; expected a released"):
        imported(tmp_path, released(clip(sid=Hostile(tmp_path / "payload"))))
    assert not (tmp_path / "payload").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(released(clip()))[:-400]])
def test_a_damaged_pickle_is_one_message(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"train\.pkl: is not a whole pickle"):
        imported(tmp_path, content or b"\x80")


def test_lists_of_other_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="with one entry per clip"):
        imported(tmp_path, {**released(clip()), "L": []})


def test_an_import_writes_nothing_while_another_command_writes_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with lock_folder(tmp_path / "out", "preparation", ""), pytest.raises(UserError, match="another preparation"):
        imported(tmp_path, released(clip()))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    assert imported(tmp_path, released(clip())).clip_ids("train") == ["a"]


def test_a_split_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    imported(tmp_path, released(clip()))
    with pytest.raises(UserError, match="theirs: is there already; choose another --name"):
        imported(tmp_path, released(clip(sid="b")))
    assert Split.open(tmp_path / "out", "theirs").clip_ids("train") == ["a"]


def test_files_without_a_clip_are_refused_and_write_no_split(tmp_path: Path) -> None:
    empty = {key: [] for key in clip()}
    with pytest.raises(UserError, match="hold no clip"):
        imported(tmp_path, empty, empty)
    assert not (tmp_path / "out" / "theirs").exists()
    assert imported(tmp_path, empty).clip_ids("val") == ["v"]


def test_clip_ids_may_not_repeat(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 clip ids occur twice"):
        imported(tmp_path, released(clip(), clip()))
