"""BABEL's labels: frames against a plain oracle, and what is not BABEL's refused by what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prepare.formats.babel import (
    LABEL_SETS,
    Annotation,
    Babel,
    Segment,
    check_actions,
    dense_labels,
    read_actions,
    read_babel,
)
from utils.errors import UserError

CLASSES = ["walk", "wave", "turn"]


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


def oracle(segments: list[Segment], frames: int) -> tuple[list[list[bool]], list[bool]]:
    inside = [[segment.start <= n / 30 < segment.end for segment in segments] for n in range(frames)]
    labels = [
        [any(here and name in s.categories for here, s in zip(row, segments, strict=True)) for name in CLASSES]
        for row in inside
    ]
    return labels, [any(row) for row in inside]


SECONDS = st.one_of(st.floats(-1e9, 1e9), st.floats(-1, 3), st.integers(-10, 80).map(lambda n: n / 30))
SEGMENTS = st.lists(
    st.builds(Segment, SECONDS, SECONDS, st.lists(st.sampled_from([*CLASSES, "other"]), max_size=3).map(tuple)),
    max_size=5,
)


@settings(deadline=None)
@given(segments=SEGMENTS, frames=st.integers(0, 60))
@example(segments=[Segment(0.5, 0.2, ("walk",)), Segment(-1.0, 0.1, ("wave",)), Segment(1.9, 9.0, ())], frames=60)
def test_a_segment_covers_the_frames_from_its_start_up_to_its_end(segments: list[Segment], frames: int) -> None:
    labels, annotated = dense_labels(segments, CLASSES, frames)
    assert labels.shape == (frames, 3)
    assert labels.dtype == annotated.dtype == bool
    expected, seen = oracle(segments, frames)
    assert labels.tolist() == expected
    assert annotated.tolist() == seen


def test_frames_at_the_border_belong_to_one_side() -> None:
    for n in range(1000):
        labels, _ = dense_labels([Segment(0.0, n / 30, ("walk",)), Segment(n / 30, 40.0, ("wave",))], CLASSES, 1000)
        assert labels[:, :2].sum() == 1000
        assert labels[:n, 0].all()
        assert labels[n:, 1].all()


def test_gaps_stay_in_place_as_background_and_null_is_annotated() -> None:
    segments = [Segment(1.0, 1.5, ("walk", "turn")), Segment(0.0, 0.5, ()), Segment(1.4, 9.0, ("wave",))]
    labels, annotated = dense_labels(segments, CLASSES, 60)
    assert np.flatnonzero(~annotated).tolist() == list(range(15, 30))
    assert not labels[:30].any()
    assert labels[30:42].tolist() == [[True, False, True]] * 12
    assert labels[42:45].all()
    assert labels[45:].tolist() == [[False, True, False]] * 15


@pytest.mark.parametrize(("seconds", "frames"), [(16.4, 492), (2.0, 60), (1.99, 59), (0.01, 0), (33.334, 1000)])
def test_a_clip_is_as_long_as_babel_says_and_no_longer_than_the_motion(seconds: float, frames: int) -> None:
    annotation = Annotation("1", "train", "a/b/c", seconds, ())
    assert annotation.frame_limit() == frames
    assert annotation.frames(10**6) == frames
    assert annotation.frames(frames - 1) == frames - 1
    whole, _ = dense_labels([Segment(0.0, seconds, ("walk",))], CLASSES, frames)
    assert whole[:, 0].all()


def test_clips_come_in_the_files_order_with_their_segments(tmp_path: Path) -> None:
    labels = (label(1.5, 2.1, ["walk", "turn"]), label(0, 1, None), label(-0.1, 1.6, []))
    content = {"9": clip(*labels), "10": clip(dur=3), "8": clip(frame_ann=None), "7": clip(frame_ann=None)}
    found = babel(tmp_path, content, {"1": clip(label(categories=["wave"])), "2": clip(frame_ann=None)})
    assert [(entry.sid, entry.subset, entry.duration) for entry in found.clips] == [
        ("9", "train", 2.0), ("10", "train", 3.0), ("1", "val", 2.0),
    ]  # fmt: skip
    assert found.clips[0].segments == (
        Segment(1.5, 2.1, ("walk", "turn")), Segment(0.0, 1.0, ()), Segment(-0.1, 1.6, ()),
    )  # fmt: skip
    assert found.clips[0].feat_p == "CMU/CMU/01/01_01_poses.npz"
    assert found.unlabelled == {"train": 2, "val": 1}
    assert found.categories() == ["turn", "walk", "wave"]


def test_files_that_are_not_used_are_counted_and_may_be_anything(tmp_path: Path) -> None:
    extra = {"5": {"frame_anns": [], "seq_anns": []}, "6": {}}
    found = babel(tmp_path, {"1": clip()}, test={"3": {}}, extra_train=extra, extra_val=b"damaged")
    assert found.ignored == {"test.json": 1, "extra_train.json": 2}
    assert [entry.sid for entry in found.clips] == ["1"]
    assert found.hashes.keys() == {"train.json", "val.json"}


def test_hashes_tell_files_apart(tmp_path: Path) -> None:
    first, second = (babel(tmp_path, {"1": clip(dur=seconds)}).hashes for seconds in (2.0, 2.5))
    assert first["train.json"] != second["train.json"]
    assert first["val.json"] == second["val.json"]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (b"{", r"it is not JSON \("),
        (b"", r"it is not JSON \("),
        (b"\xff\xfe\xfd", r"it is not JSON \("),
        (b"[" * 100_000, r"it is not JSON \(.*recursion"),
        ([], "it holds a list, not clips by id"),
        ({"1": None}, "clip '1' is a NoneType"),
        ({"1": {"seq_anns": [], "frame_anns": []}}, "clip '1' has 'frame_anns', as BABEL's extra_train.json"),
        ({"1": {"frame_ann": None}}, "clip '1' has no 'feat_p' and no 'dur'"),
        ({"1": clip(feat_p=["x" * 99])}, r"clip '1' has feat_p \['x{55}\.\.\."),
        *(({"1": clip(dur=dur)}, "clip '1' has dur .*, not seconds") for dur in ("2", None, 0, -1.0, True, 1e300)),
        (b'{"1": %s}' % json.dumps(clip()).replace("2.0", "NaN").encode(), "clip '1' has dur nan, not seconds"),
        ({"1": clip(frame_ann=[])}, "clip '1' has a frame_ann without a list of labels"),
        ({"1": clip(frame_ann={"labels": None})}, "clip '1' has a frame_ann without a list of labels"),
        ({"1": clip("walk")}, "clip '1' has the label 'walk'"),
        ({"1": clip(label(end=None))}, "clip '1' has a label from 0.0 to None, not seconds"),
        ({"1": clip({"act_cat": None})}, "clip '1' has a label from None to None, not seconds"),
        ({"1": clip(label(start=float("nan")))}, "clip '1' has a label from nan to 1.0, not seconds"),
        ({"1": clip(label(end=float("inf")))}, "clip '1' has a label from 0.0 to inf, not seconds"),
        ({"1": clip(label(end=10**400))}, "clip '1' has a label from 0.0 to 1000"),
        ({"1": clip(label(categories="walk"))}, "clip '1' has the act_cat 'walk', not a list of names or null"),
        ({"1": clip(label(categories=[1]))}, r"clip '1' has the act_cat \[1\], not a list of names or null"),
    ],
)
def test_what_is_not_babels_is_named(tmp_path: Path, train: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"train\.json is not BABEL's: {said}.*\. Download it from .* by --babel"):
        babel(tmp_path, train)


def test_a_clip_in_both_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"val\.json: clip '1' is in train\.json too; is it BABEL's\?"):
        babel(tmp_path, {"1": clip()}, {"1": clip()})


def test_a_folder_without_labels_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist: download BABEL from .*, or name yours by --babel"):
        read_babel(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"train\.json cannot be read \(No such file.*\): download BABEL from"):
        read_babel(tmp_path)
    with pytest.raises(UserError, match=r"no clip of train\.json and val\.json has frame labels"):
        babel(tmp_path, {"1": clip(frame_ann=None)})


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
            dense_labels(entry.segments, CLASSES, min(entry.frame_limit(), 100))


def test_a_label_set_is_names_by_index(tmp_path: Path) -> None:
    (tmp_path / "actions.json").write_text('{"wave": 1, "walk": 0, "größe": 2}', encoding="utf-8")
    assert read_actions(tmp_path / "actions.json") == ["walk", "wave", "größe"]
    with pytest.raises(UserError, match=r"missing\.json: cannot be read as a label set"):
        read_actions(tmp_path / "missing.json")
    for text in (b"[", b"\xff", b"[1]", b"{}", b'{"a": 1}', b'{"a": 0, "b": 0}', b'{"a": "0"}', b'{"a": false}'):
        (tmp_path / "actions.json").write_bytes(text)
        with pytest.raises(UserError, match=r"actions\.json: .*expected (JSON \{name: index\}|names)"):
            read_actions(tmp_path / "actions.json")


def test_an_action_that_no_clip_has_names_the_nearest_ones() -> None:
    known = sorted({name for names in LABEL_SETS.values() for name in names})
    check_actions(["walk", "stand up"], known, "split")
    with pytest.raises(UserError, match=r"mine: no clip has the action 'wakl'; did you mean 'walk'"):
        check_actions(["walk", "wakl"], known, "mine")
    with pytest.raises(UserError, match="no clip has the action 'qqq'; known are: dance, gesture, jog"):
        check_actions(["qqq"], known, "mine")
