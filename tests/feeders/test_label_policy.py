"""Label policies against plain loops over frames. tests/feeders/test_dataset.py applies them to clips."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeders.label_policy import corrected_policy, used_labels
from utils import config
from utils.config import DataSettings

RELEASED = config.BASE.parent / "released.yaml"
DEFAULT = config.load().data
FIELDS = ("overlaps", "gaps", "max_frames", "length_counts")
ALL_POLICIES = list(itertools.product(("all", "lowest"), ("background", "removed"), ("clip", "annotated")))


def policy(*values: str | int) -> DataSettings:
    """Settings with these values of FIELDS."""
    return DEFAULT.model_copy(update=dict(zip(FIELDS, values, strict=True)))


def values(data: DataSettings) -> tuple[str | int, ...]:
    return tuple(getattr(data, name) for name in FIELDS)


@st.composite
def clips(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels (T, K) and annotated frames (T,); a label is an annotation."""
    frames, classes = draw(st.integers(0, 12)), draw(st.integers(1, 4))
    rows = draw(st.lists(st.integers(0, 2**classes), min_size=frames, max_size=frames))  # the last one: null category
    labels = np.array([[row >> k & 1 for k in range(classes)] for row in rows], bool).reshape(frames, classes)
    return labels, np.array(rows, dtype=np.int64) > 0


def looped(labels: np.ndarray, annotated: np.ndarray, data: DataSettings) -> list[list[bool]] | None:
    """The policy in a plain loop over frames."""
    frames = len(labels) if data.length_counts == "clip" else sum(annotated.tolist())
    if frames > data.max_frames:
        return None
    kept = []
    for row, seen in zip(labels.tolist(), annotated.tolist(), strict=True):
        if data.gaps == "removed" and not seen:
            continue
        if data.overlaps == "lowest" and any(row):
            row = [k == row.index(True) for k in range(len(row))]
        kept.append(row)
    return kept if any(any(row) for row in kept) else None


@pytest.mark.parametrize(("overlaps", "gaps", "counts"), ALL_POLICIES)
@given(clip=clips(), limit=st.integers(1, 12))
def test_a_policy_equals_plain_loops(overlaps: str, gaps: str, counts: str, clip: tuple, limit: int) -> None:
    data, before = policy(overlaps, gaps, limit, counts), clip[0].copy()
    found = used_labels(*clip, data)
    assert (None if found is None else found.tolist()) == looped(*clip, data)
    assert found is None or found.dtype == bool
    assert np.array_equal(clip[0], before)


def test_a_clip_whose_only_classes_have_no_times_stays() -> None:
    labels, annotated, untimed = np.zeros((5, 2), bool), np.ones(5, bool), np.array([False, True])
    assert np.array_equal(used_labels(labels, annotated, policy("all", "background", 9, "clip"), untimed), labels)


@given(clips())
def test_lowest_keeps_one_label_of_each_labelled_frame(clip: tuple) -> None:
    whole = used_labels(*clip, policy("all", "background", 1000, "clip"))
    lowest = used_labels(*clip, policy("lowest", "background", 1000, "clip"))
    assert (whole is None) == (lowest is None)
    if whole is not None:
        assert np.array_equal(lowest.sum(axis=1), whole.any(axis=1))
        assert not (lowest & ~whole).any()


@pytest.mark.parametrize(("counts", "limit"), [("clip", 6), ("annotated", 4)])
def test_a_clip_of_exactly_the_limit_stays(counts: str, limit: int) -> None:
    labels = np.array([[1], [0], [0], [1], [1], [1]], bool)
    annotated = labels[:, 0]
    assert used_labels(labels, annotated, policy("all", "background", limit, counts)) is not None
    assert used_labels(labels, annotated, policy("all", "background", limit - 1, counts)) is None


def test_read_only_labels_are_accepted() -> None:
    labels = np.ones((4, 3), bool)
    labels.setflags(write=False)  # as a mapped file's are
    kept = used_labels(labels, np.array([1, 0, 1, 1], bool), policy("lowest", "removed", 1000, "clip"))
    assert kept.astype(int).tolist() == [[1, 0, 0]] * 3


def test_lowest_works_with_hundreds_of_classes_in_a_frame() -> None:
    labels = np.zeros((1, 600), bool)
    labels[0, 3:] = True
    lowest = used_labels(labels, np.ones(1, bool), policy("lowest", "background", 1000, "clip"))
    assert lowest.nonzero()[1].tolist() == [3]


def test_the_settings_of_the_released_code_name_its_policy() -> None:
    assert values(DEFAULT) == ("all", "background", 1000, "clip")
    assert values(config.load([RELEASED]).data) == ("lowest", "removed", 1000, "annotated")


def test_the_corrected_policy_keeps_only_the_limit() -> None:
    data = policy("lowest", "removed", 700, "annotated")
    assert values(corrected_policy(data)) == ("all", "background", 700, "clip")
    assert data.overlaps == "lowest"
