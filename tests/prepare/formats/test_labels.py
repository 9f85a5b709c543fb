"""Labels by frame against a plain oracle, the length of a clip, and lists of classes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prepare.formats.labels import PAPER_SPLITS, AnnotatedClip, Label, check_actions, dense_labels, read_actions
from utils.errors import UserError

CLASSES = ["walk", "wave", "turn"]


def segment(start: float, end: float, *names: str) -> Label:
    return Label(names, start, end)


def oracle(labels: list[Label], frames: int) -> tuple[list[list[bool]], list[bool]]:
    inside = [[label.start <= n / 30 < label.end for label in labels] for n in range(frames)]
    dense = [
        [any(here and name in label.names for here, label in zip(row, labels, strict=True)) for name in CLASSES]
        for row in inside
    ]
    return dense, [any(row) for row in inside]


SECONDS = st.one_of(st.floats(-1e9, 1e9), st.floats(-1, 3), st.integers(-10, 80).map(lambda n: n / 30))
SEGMENTS = st.lists(
    st.builds(
        lambda start, end, names: segment(start, end, *names),
        SECONDS,
        SECONDS,
        st.lists(st.sampled_from([*CLASSES, "other"]), max_size=3),
    ),
    max_size=5,
)


@settings(deadline=None)
@given(segments=SEGMENTS, frames=st.integers(0, 60))
@example(segments=[segment(0.5, 0.2, "walk"), segment(-1.0, 0.1, "wave"), segment(1.9, 9.0)], frames=60)
def test_a_segment_covers_the_frames_from_its_start_up_to_its_end(segments: list[Label], frames: int) -> None:
    labels, annotated = dense_labels(segments, CLASSES, frames)
    assert labels.shape == (frames, 3)
    assert labels.dtype == annotated.dtype == bool
    expected, seen = oracle(segments, frames)
    assert labels.tolist() == expected
    assert annotated.tolist() == seen


def test_frames_at_the_border_belong_to_one_side() -> None:
    for n in range(1000):
        labels, _ = dense_labels([segment(0.0, n / 30, "walk"), segment(n / 30, 40.0, "wave")], CLASSES, 1000)
        assert labels[:, :2].sum() == 1000
        assert labels[:n, 0].all()
        assert labels[n:, 1].all()


def test_gaps_stay_in_place_as_background_and_null_is_annotated() -> None:
    segments = [segment(1.0, 1.5, "walk", "turn"), segment(0.0, 0.5), segment(1.4, 9.0, "wave")]
    labels, annotated = dense_labels(segments, CLASSES, 60)
    assert np.flatnonzero(~annotated).tolist() == list(range(15, 30))
    assert not labels[:30].any()
    assert labels[30:42].tolist() == [[True, False, True]] * 12
    assert labels[42:45].all()
    assert labels[45:].tolist() == [[False, True, False]] * 15


@pytest.mark.parametrize(("seconds", "frames"), [(16.4, 492), (2.0, 60), (1.99, 59), (0.01, 0), (33.334, 1000)])
def test_a_clip_is_as_long_as_babel_says(seconds: float, frames: int) -> None:
    assert AnnotatedClip("1", "train", "a/b/c", [], seconds).frame_limit() == frames
    whole, _ = dense_labels([segment(0.0, seconds, "walk")], CLASSES, frames)
    assert whole[:, 0].all()


def test_a_label_without_times_is_in_no_frame() -> None:
    labels, annotated = dense_labels([Label(("walk",)), segment(0.0, 0.1, "wave")], CLASSES, 10)
    assert labels.sum(axis=0).tolist() == [0, 3, 0]
    assert annotated.sum() == 3


def test_actions_are_names_by_index(tmp_path: Path) -> None:
    (tmp_path / "actions.json").write_text('{"wave": 1, "walk": 0, "größe\\nx": 2}', encoding="utf-8")
    assert read_actions(tmp_path / "actions.json") == ["walk", "wave", "größe x"]
    with pytest.raises(UserError, match=r"missing\.json: cannot be read"):
        read_actions(tmp_path / "missing.json")
    for text in (b"[", b"\xff", b"[1]", b"{}", b'{"a": 1}', b'{"a": 0, "b": 0}', b'{"a": "0"}', b'{"a": false}'):
        (tmp_path / "actions.json").write_bytes(text)
        with pytest.raises(UserError, match=r"actions\.json: .*; expected names with the indices 0, 1, 2"):
            read_actions(tmp_path / "actions.json")


def test_the_papers_classes_have_the_papers_indices() -> None:  # released weights have this order
    assert PAPER_SPLITS == {
        "split1": ["walk", "stand", "turn", "jump"],
        "split2": ["sit", "run", "stand up", "kick"],
        "split3": ["jog", "wave", "dance", "gesture"],
    }


def test_an_action_that_no_clip_has_names_the_nearest_ones() -> None:
    known = sorted({name for names in PAPER_SPLITS.values() for name in names})
    check_actions(["walk", "stand up"], known, "split: no clip has the action")
    with pytest.raises(UserError, match=r"mine: no clip has the action 'wakl'; did you mean 'walk'"):
        check_actions(["walk", "wakl"], known, "mine: no clip has the action")
    with pytest.raises(UserError, match="no clip has the action 'qqq'; known are: dance, gesture, jog"):
        check_actions(["qqq"], known, "mine: no clip has the action")
