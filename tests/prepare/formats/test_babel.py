"""BABEL's labels are read, and the message about any other file says what is wrong with it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prepare.formats.babel import Babel, read_babel
from prepare.formats.labels import Label, dense_labels, read_actions
from utils.errors import UserError


def label(start: Any = 0.0, end: Any = 1.0, categories: Any = None) -> dict[str, Any]:
    return {"raw_label": "r", "proc_label": "p", "seg_id": "s", "act_cat": categories, "start_t": start, "end_t": end}


def clip(*labels: Any, **changes: Any) -> dict[str, Any]:
    good = {
        "babel_sid": 1,
        "url": "u",
        "feat_p": "CMU/CMU/01/01_01_poses.npz",
        "dur": 2.0,
        "seq_ann": None,
        "frame_ann": {"babel_lid": "l", "labels": list(labels)},
    }
    return {**good, **changes}


def babel(folder: Path, train: Any, val: Any = None, **others: Any) -> Babel:
    for name, content in {"train": train, "val": {} if val is None else val, **others}.items():
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / f"{name}.json").write_bytes(text)
    return read_babel(folder)


def test_clips_come_in_the_files_order_with_their_segments(tmp_path: Path) -> None:
    labels = (label(1.5, 2.1, ["walk", "turn"]), label(0, 1, None), label(-0.1, 1.6, []))
    content = {"9": clip(*labels), "10": clip(dur=3), "8": clip(frame_ann=None), "7": clip(frame_ann=None)}
    found = babel(tmp_path, content, {"1": clip(label(categories=["wave"])), "2": clip(frame_ann=None)})
    assert [(entry.sid, entry.subset, entry.duration) for entry in found.clips] == [
        ("9", "train", 2.0), ("10", "train", 3.0), ("1", "val", 2.0),
    ]  # fmt: skip
    assert found.clips[0].labels == [Label(("walk", "turn"), 1.5, 2.1), Label((), 0.0, 1.0), Label((), -0.1, 1.6)]
    assert found.clips[0].take == "CMU/CMU/01/01_01_poses.npz"
    assert found.unlabelled == {"train": 2, "val": 1}


def test_files_that_are_not_used_may_be_anything(tmp_path: Path) -> None:
    extra = {"5": {"frame_anns": [], "seq_anns": []}, "6": {}}
    found = babel(tmp_path, {"1": clip()}, test={"3": {}}, extra_train=extra, extra_val=b"damaged")
    assert [entry.sid for entry in found.clips] == ["1"]
    assert found.hashes.keys() == {"train.json", "val.json"}


def test_hashes_tell_files_apart(tmp_path: Path) -> None:
    first, second = (babel(tmp_path, {"1": clip(dur=seconds)}).hashes for seconds in (2.0, 2.5))
    assert first["train.json"] != second["train.json"]
    assert first["val.json"] == second["val.json"]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (b"{", r"is not JSON \("),
        (b"", r"is not JSON \("),
        (b"\xff\xfe\xfd", r"is not UTF-8 text"),
        (b'{"7": {}, "8": {}, "7": {}}', r"is not JSON \(the key '7' stands twice in one object\)"),
        (b'{"\\ud800": {}}', r".*'\\ud800'.*, expected a valid string, unable to parse raw data"),
        (
            {"1": clip(label(categories=["\ud800"]))},
            r"1\.frame_ann\.labels\.0\.act_cat\.0 is '\\ud800', expected a valid string",
        ),
        (b"[" * 100_000, r"is not JSON \(.*recursion"),
        ([], r"the file is \[\], expected a valid dictionary"),
        ({"1": None}, r"1 is None, expected a valid dictionary"),
        (
            {"1": {"feat_p": "a/b/c", "dur": 2.0, "frame_anns": []}},
            r"1\.frame_ann is missing",
        ),
        ({"1": {"frame_ann": None}}, r"1\.feat_p is missing"),
        ({"1": clip(feat_p=["x" * 99])}, r"1\.feat_p is \['x{44,}\.\.\.x{44,}'\], expected a valid string"),
        *(({"1": clip(dur=dur)}, r"1\.dur is .*, expected a valid number") for dur in ("2", None, True)),
        *(({"1": clip(dur=dur)}, r"1\.dur is .*, expected greater than 0") for dur in (0, -1.0)),
        ({"1": clip(dur=1e300)}, r"1\.dur is 1e\+300, expected less than or equal to 1000000000"),
        (
            b'{"1": %s}' % json.dumps(clip()).replace("2.0", "NaN").encode(),
            r"1\.dur is nan, expected a finite number",
        ),
        ({"1": clip(frame_ann=[])}, r"1\.frame_ann is \[\], expected a valid dictionary"),
        ({"1": clip(frame_ann={"labels": None})}, r"1\.frame_ann\.labels is None, expected a valid list"),
        ({"1": clip("walk")}, r"1\.frame_ann\.labels\.0 is 'walk', expected a valid dictionary"),
        ({"1": clip(label(end=None))}, r"1\.frame_ann\.labels\.0\.end_t is None, expected a valid number"),
        ({"1": clip({"act_cat": None})}, r"1\.frame_ann\.labels\.0\.start_t is missing"),
        ({"1": clip(label(start=float("nan")))}, r"1\..*\.start_t is nan, expected a finite number"),
        ({"1": clip(label(end=float("inf")))}, r"1\..*\.end_t is inf, expected a finite number"),
        ({"1": clip(label(end=10**400))}, r"1\..*\.end_t is 1000.*, expected a valid number"),
        ({"1": clip(label(categories="walk"))}, r"1\..*\.act_cat is 'walk', expected a valid list"),
        ({"1": clip(label(), label(categories=[1]))}, r"1\..*labels\.1\.act_cat\.0 is 1, expected a valid string"),
    ],
)
def test_what_is_not_babels_is_named(tmp_path: Path, train: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"train\.json: {said}.*; expected BABEL's labels: download .* by --babel"):
        babel(tmp_path, train)


def test_a_clip_in_both_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"val\.json: clip '1' is in train\.json too; expected BABEL's"):
        babel(tmp_path, {"1": clip()}, {"1": clip()})


def test_a_folder_without_labels_says_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"train\.json: cannot be read \(No such file.*\); expected .* by --babel"):
            read_babel(folder)
    with pytest.raises(UserError, match=r"no clip of train\.json and val\.json has frame labels"):
        babel(tmp_path, {"1": clip(frame_ann=None)})


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ("pipe", "it is a named pipe, not a regular file"),
        ("/dev/zero", "it is a device"),
        ("x", "Too many levels"),
    ],
)
def test_only_regular_files_are_read(tmp_path: Path, odd: str, said: str) -> None:
    babel(tmp_path, {"1": clip()})
    (tmp_path / "val.json").unlink()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x").symlink_to("x")
    (tmp_path / "val.json").symlink_to(odd)
    with pytest.raises(UserError, match=rf"val\.json: cannot be read \({said}.*\); expected BABEL's labels"):
        read_babel(tmp_path)
    with pytest.raises(UserError, match=rf"val\.json: cannot be read \({said}.*\); expected names with the indices"):
        read_actions(tmp_path / "val.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3),
    max_leaves=6,
)


@st.composite
def almost_babel(draw: st.DrawFn) -> Any:
    """A good file of one clip in which one or two parts are replaced by anything at all."""
    content = {"1": clip(label(0.0, 1.0, ["walk"]), label())}
    for _ in range(draw(st.integers(1, 2))):
        at: Any = content
        while True:
            key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            if not (isinstance(at[key], dict | list) and at[key] and draw(st.integers(0, 4))):
                break
            at = at[key]
        at[key] = draw(JSON)
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("babel")


@settings(max_examples=150, deadline=None)
@given(content=almost_babel() | JSON)
def test_any_json_is_read_or_refused_in_one_message(folder: Path, content: Any) -> None:
    (folder / "actions.json").write_text(json.dumps(content))
    try:
        assert read_actions(folder / "actions.json")
    except UserError as error:
        assert "actions.json: " in str(error)
    try:
        clips = babel(folder, content).clips
    except UserError as error:
        assert str(error)
    else:
        for entry in clips:
            dense_labels(entry.labels, ["walk"], min(entry.frame_limit(), 100))
