"""A damaged or hostile store is refused with one message, and no code in it runs."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from utils import store
from utils.errors import UserError
from utils.manifest import Clip, _checksum, plain_name, write_manifest
from utils.skeleton import NUM_JOINTS
from utils.store import SkeletonStore, Split, map_array, write_split, write_store

Change = Callable[[dict[str, Any]], Any]
FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=8,
)


@pytest.fixture()
def root(make_split: Callable[..., Split], tmp_path: Path) -> Path:
    """A split `tiny` over a store of clips of 5, 3 and 4 frames."""
    make_split(train=[5, 3], val=[4])
    return tmp_path


def paths(root: Path) -> dict[str, Path]:
    return {"store": root / "skeletons-test" / "store.json", "split": root / "tiny" / "split.json"}


def edit(path: Path, change: Change, seal: bool = True) -> None:
    """Change a manifest: with a new checksum, as a hostile file, or without one, as on a damaged disk."""
    manifest = json.loads(path.read_text())
    change(manifest)
    if seal:
        manifest["checksum"] = _checksum(manifest)
    path.write_text(json.dumps(manifest))


def everything(root: Path) -> list[Any]:
    """All that training reads from a split and its store."""
    split = Split.open(root, "tiny")
    found: list[Any] = [split.name, split.classes, split.store.digest, split.store.clips]
    for subset in ("train", "val"):
        for sid in split.clip_ids(subset):
            arrays = (split.store.joints(sid), split.labels(sid), split.annotated(sid))
            assert {len(array) for array in arrays} == {split.store.clips[sid].frames}
            found += [sid, *(array.tobytes() for array in arrays)]
    return found


def put(*keys: Any) -> Change:
    """Sets an entry: `put("clips", 0, "start", 7)`."""
    *keys, last, value = keys

    def change(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for key in keys:
            place = place[key]
        place[last] = value

    return change


@pytest.mark.parametrize(
    ("which", "change", "said"),
    [
        ("store", put("clips", 1, "start", 9), "clip 'train1' starts at row 9, expected 5"),
        ("store", put("clips", 0, "start", -1), "clip 'train0' starts at row -1, expected 0"),
        ("store", put("clips", 0, "start", 0.0), r"clips\.0\.start is 0\.0, expected a valid integer"),
        (
            "store",
            put("clips", 2, "frames", 10**15),
            r"\(\(12, 25, 3\), .*, expected \(\(1000000000000008, 25, 3\)",
        ),
        ("store", put("clips", 2, "frames", 0), r"clips\.2\.frames is 0, expected greater than 0"),
        ("store", put("clips", 0, "frames", "5"), r"clips\.0\.frames is '5', expected a valid integer"),
        ("store", put("clips", 0, "fps", float("nan")), r"clips\.0\.fps is nan, expected a finite number"),
        ("store", put("clips", 0, "duration", "long"), r"clips\.0\.duration is 'long', expected a valid number"),
        ("store", put("clips", 0, "duration", 10**400), r"clips\.0\.duration is 1000.*, expected a valid number"),
        ("store", put("clips", 0, "source", ["x"]), r"clips\.0\.source is \['x'\], expected a valid dictionary"),
        ("store", put("clips", 0, "sid", 3), r"clips\.0\.sid is 3, expected a valid string"),
        ("store", put("clips", 0, "subset", "test"), r"clips\.0\.subset is 'test', expected 'train' or 'val'"),
        ("store", put("clips", 0, {}), r"clips\.0\.sid is missing"),
        ("store", put("clips", 0, "odd", 1), r"clips\.0\.odd is 1: Extra inputs are not permitted"),
        ("store", put("clips", 1, "sid", "train0"), "clip 'train0' is listed 2 times"),
        ("store", put("clips", {}), r"clips is \{\}, expected a valid list"),
        (
            "store",
            put("joints_file", "../../joints.npy"),
            r"joints_file is '\.\./\.\./joints\.npy', which does not",
        ),
        (
            "store",
            lambda m: m.update(digest="../../../x", joints_file="joints-../../../x.npy"),
            "digest is '../../../x'",
        ),
        ("store", put("digest", None), "digest is None, expected a valid string"),
        ("store", put("format", 2), "format is 2, expected 1; .* move .* away and make it again with"),
        ("store", lambda m: m.pop("format"), "format is missing"),
        ("split", put("skeletons", "../../etc"), r"skeletons is '\.\./\.\./etc': String should match pattern"),
        (
            "split",
            put("skeletons", "skeletons-gone"),
            "no store skeletons-gone, which .*split.json needs: make it with",
        ),
        (
            "split",
            put("labels_file", "../../labels.npy"),
            r"labels_file is '\.\./\.\./labels\.npy': String should match",
        ),
        ("split", put("annotated_file", "/etc/passwd"), "annotated_file is '/etc/passwd': String should match pattern"),
        ("split", put("name", "other"), "it is named 'other'"),
        ("split", put("classes", ["walk", "walk"]), "class 'walk' is listed 2 times"),
        ("split", put("classes", []), r"classes is \[\]: List should have at least 1 item"),
        (
            "split",
            put("classes", ["walk"]),
            r"it has shape, type, order and bytes \(\(12, 2\), 'bool'.*, expected \(\(12, 1\), 'bool'",
        ),
        ("split", put("clips", []), r"clips is \[\], expected a valid dictionary"),
        ("split", put("clips", "val", 3), r"clips\.val is 3, expected a valid list"),
        ("split", lambda m: m["clips"].pop("val"), "Dictionary should have at least 2 items"),
        ("split", put("clips", "train", 0, ["train0", True]), r"clips\.train\.0\.1 is True, expected a valid integer"),
        ("split", put("clips", "train", 0, ["val0", 4]), "clip 'val0' is listed 2 times"),
        (
            "split",
            put("clips", "val", 0, ["gone", 4]),
            "clip 'gone' is not the same as in skeletons-test.*Make the split",
        ),
        ("split", put("clips", "val", 0, ["val0", 10**15]), "clip 'val0' is not the same as in skeletons-test"),
    ],
)
def test_a_manifest_that_lies_is_refused(root: Path, which: str, change: Change, said: str) -> None:
    edit(paths(root)[which], change)
    with pytest.raises(UserError, match=said) as caught:
        everything(root)
    assert re.search("(again|it) with `bash prepare", str(caught.value))


@pytest.mark.parametrize("which", ["store", "split"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", r"is not JSON \(Expecting value"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[" * 100_000, "is not JSON .*recursion"),
        (b'{"format": ' + b"9" * 5000 + b"}", "is not JSON .*digits"),
        (b"[]", r"the file is \[\], expected a valid dictionary"),
        (b'{"format": 1}', "checksum is missing"),
    ],
)
def test_what_is_no_manifest_is_refused(root: Path, which: str, text: bytes, said: str) -> None:
    path = paths(root)[which]
    path.write_bytes(text)
    with pytest.raises(UserError, match=rf"{path}: {said}.*; expected prepared .* move {path.parent} away and make it"):
        everything(root)


def test_a_changed_entry_is_found_by_the_checksum(root: Path) -> None:
    edit(paths(root)["store"], put("clips", 0, "feat_p", "A/B/other.npz"), seal=False)
    with pytest.raises(UserError, match="its checksum does not fit its content"):
        everything(root)


def test_a_manifest_too_large_to_be_one_is_not_read(root: Path) -> None:
    os.truncate(paths(root)["store"], 2 << 30)
    with pytest.raises(UserError, match="is larger than 1 GiB; expected prepared data"):
        everything(root)


@given(data=st.data(), which=st.sampled_from(["store", "split"]), cut=st.booleans())
@FUZZ
def test_a_manifest_damaged_at_random_is_refused_or_the_same(
    root: Path, data: st.DataObject, which: str, cut: bool
) -> None:
    path, honest = paths(root)[which], everything(root)
    before = path.read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    path.write_bytes(before[:place] if cut else before[:place] + data.draw(st.binary(max_size=3)) + before[place + 1 :])
    try:
        assert everything(root) == honest
    except UserError as error:
        assert str(error)
    finally:
        path.write_bytes(before)


@given(data=st.data(), which=st.sampled_from(["store", "split"]), value=JSON)
@FUZZ
def test_any_json_anywhere_in_a_sealed_manifest_is_refused_or_consistent(
    root: Path, data: st.DataObject, which: str, value: Any
) -> None:
    path = paths(root)[which]
    before = path.read_bytes()

    def change(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        while True:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
                place[key] = value
                return
            place = place[key]

    try:
        edit(path, change)
        everything(root)  # if it opens, each clip has as many rows in every array as it has frames
    except UserError as error:
        assert len(str(error)) < 2000
    finally:
        path.write_bytes(before)


@given(name=st.text(max_size=120))
def test_a_name_is_one_file_name_or_refused(name: str) -> None:
    try:
        assert (Path("/folder") / plain_name(name, "it")).parent == Path("/folder")
    except UserError as error:
        assert "is not a plain name: letters, digits" in str(error)
    else:
        assert name not in ("", ".", "..")


def test_a_split_that_is_missing_names_those_that_are_there(root: Path) -> None:
    with pytest.raises(
        UserError, match=r"holds no split 'tinny' \(did you mean 'tiny'\?\): make it with `bash prepare"
    ):
        Split.open(root, "tinny")
    with pytest.raises(UserError, match=r"holds no split 'tiny' \(no split is there yet\): make it with"):
        Split.open(root / "nowhere", "tiny")
    with pytest.raises(UserError, match=r"\(known are: tiny\): make it with `bash prepare/pkummd.sh --out"):
        Split.open(root, "pkummd_cross_view")


def test_a_manifest_that_cannot_be_read_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"split\.json: cannot be read \(Permission denied\)"):
        Split.open(root, "tiny")


def test_a_split_that_is_prepared_again_while_it_is_opened_is_read(
    make_split: Callable[..., Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_split(train=[5], val=[4]).folder

    def prepare_again(*arguments: Any) -> np.ndarray:
        monkeypatch.undo()
        labelled = [(f"{name}0", np.ones((n, 2), bool), np.ones(n, bool)) for name, n in (("train", 5), ("val", 4))]
        facts = {"name": "tiny", "classes": ["walk", "wave"], "skeletons": "skeletons-test"}
        write_split(folder, {"train": labelled[:1], "val": labelled[1:]}, facts)
        return map_array(*arguments)

    monkeypatch.setattr(store, "map_array", prepare_again)
    assert Split.open(folder.parent, "tiny").labels("train0").all()


def test_an_array_that_the_manifest_no_longer_names_is_deleted(make_split: Callable[..., Split]) -> None:
    folder = make_split(train=[5], val=[4]).folder
    before = {path.name for path in folder.iterdir()}
    (folder / "labels-000000000000.npy").touch()
    (folder / "mine.npy").touch()
    write_manifest(folder / "split.json", json.loads((folder / "split.json").read_text()))
    assert {path.name for path in folder.iterdir()} == before | {"mine.npy"}


def test_the_place_of_a_clip_is_that_in_the_manifest(make_split: Callable[..., Split]) -> None:
    split = make_split(train=[3] * 11, val=[4])
    assert [split.index(sid) for sid in split.clip_ids()] == list(range(12))


def test_a_store_holds_one_or_two_people_per_clip(tmp_path: Path) -> None:
    people = [np.random.default_rng(0).normal(size=(4, count, NUM_JOINTS, 3)) for count in (1, 2, 1)]
    clips, start = [], 0
    for number, some in enumerate(people):
        facts = {"subset": None, "feat_p": "", "fps": 30.0, "duration": 1.0, "source": {}}
        clips.append(Clip(sid=str(number), start=start, frames=4, people=some.shape[1], **facts))
        start += 4 * some.shape[1]
    write_store(tmp_path, clips, people, {})
    store = SkeletonStore.open(tmp_path)
    for sid, some in zip(store.clips, people, strict=True):
        np.testing.assert_array_equal(store.people(sid), some.astype(np.float32))
        np.testing.assert_array_equal(store.joints(sid), some[:, 0].astype(np.float32))
