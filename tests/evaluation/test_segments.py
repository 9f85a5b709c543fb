"""Segments: runs, tIoU and suppression against loops over frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.segments import LEAST_SCORE, runs, runs_of_classes, suppress, suppress_softly, tiou

FRAMES = 12
OVERLAPS = ("shorter", "union", "lower")
masks = st.lists(st.booleans(), max_size=30)
segment = st.tuples(st.integers(0, FRAMES), st.integers(0, FRAMES)).map(sorted)
segment_lists = st.lists(segment, max_size=6).map(lambda found: np.array(found, dtype=np.int64).reshape(-1, 2))


def frames_of(segments: np.ndarray, frames: int) -> np.ndarray:
    """The mask (T,) of frames that any of the segments (n, 2) covers."""
    mask = np.zeros(frames, dtype=bool)
    for start, end in segments:
        mask[start:end] = True
    return mask


@given(masks)
def test_runs_cover_the_frames_of_their_mask_and_no_others(mask: list[bool]) -> None:
    assert frames_of(runs(np.array(mask, bool)), len(mask)).tolist() == mask


@given(masks)
def test_runs_are_separate_ordered_and_not_empty(mask: list[bool]) -> None:
    edges = runs(np.array(mask, bool)).reshape(-1)
    assert (np.diff(edges) > 0).all()


def test_a_run_is_half_open_and_may_reach_both_edges() -> None:
    assert runs(np.array([1, 1, 0, 1], bool)).tolist() == [[0, 2], [3, 4]]
    assert runs(np.ones(1, bool)).tolist() == [[0, 1]]


@given(st.integers(0, 9), st.integers(0, 3), st.integers(0, 2**32))
def test_runs_of_classes_are_the_runs_of_each_class(frames: int, classes: int, seed: int) -> None:
    masks = np.random.default_rng(seed).random((frames, classes)) < 0.5
    label, segments = runs_of_classes(masks)
    expected = [[k, *run] for k in range(classes) for run in runs(masks[:, k]).tolist()]
    assert np.column_stack([label, segments]).tolist() == expected


@given(segment_lists, segment_lists)
def test_tiou_equals_counting_frames_and_is_symmetric(a: np.ndarray, b: np.ndarray) -> None:
    found = tiou(a, b)
    assert found.shape == (len(a), len(b))
    assert np.array_equal(found, tiou(b, a).T)
    for i, j in np.ndindex(found.shape):
        own, theirs = set(range(*a[i])), set(range(*b[j]))
        assert found[i, j] == (len(own & theirs) / len(own | theirs) if own | theirs else 0)


def test_tiou_of_fractions_of_frames_is_exact() -> None:
    assert tiou(np.array([[0.5, 1.5]]), np.array([[1.0, 2.0]])) == pytest.approx(1 / 3)


def share(better: np.ndarray, lower: np.ndarray, overlap: str, past_end: int) -> float:
    """Overlap of two segments, counted frame by frame."""
    own, theirs = (set(range(start, end + past_end)) for start, end in (better, lower))
    whole = {"shorter": min(len(own), len(theirs)), "union": len(own | theirs), "lower": len(theirs)}[overlap]
    return len(own & theirs) / whole


def greedy(segments: np.ndarray, scores: list[float], overlap: str, threshold: float, past_end: int) -> list[int]:
    """The same suppression, with overlaps counted frame by frame."""
    left = sorted(range(len(segments)), key=lambda i: (-scores[i], *segments[i], i))
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if share(segments[best], segments[i], overlap, past_end) <= threshold]
    return kept


@pytest.mark.parametrize("overlap", OVERLAPS)
@settings(deadline=None)
@given(st.data())
def test_suppression_equals_counting_frames(overlap: str, data: st.DataObject) -> None:
    not_empty = segment.filter(lambda edges: edges[0] < edges[1])
    rows = data.draw(st.lists(st.tuples(not_empty, st.sampled_from([0.1, 0.5, 0.9])), max_size=14))
    threshold = data.draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
    past_end = data.draw(st.integers(0, 1))
    segments = np.array([row[0] for row in rows], dtype=np.int64).reshape(-1, 2)
    scores = [row[1] for row in rows]
    kept = suppress(segments + [0, past_end], np.array(scores), overlap, threshold)
    assert kept.tolist() == greedy(segments, scores, overlap, threshold, past_end)


def softly(segments: np.ndarray, scores: list[float], sigma: float) -> list[tuple[int, int, float]]:
    """The same soft suppression, with overlaps counted frame by frame and one loop for each segment."""
    left = {tuple(edges): score for edges, score in zip(segments.tolist(), scores, strict=True)}
    found = []
    while left := {edges: score for edges, score in left.items() if score >= LEAST_SCORE}:
        best = min(left, key=lambda edges: (-left[edges], *edges))
        found.append((*best, left.pop(best)))
        for edges in left:
            left[edges] *= np.exp(-(share(np.array(best), np.array(edges), "union", 0) ** 2) / sigma)
    return found


@settings(deadline=None)
@given(st.data())
def test_soft_suppression_equals_counting_frames(data: st.DataObject) -> None:
    not_empty = segment.filter(lambda edges: edges[0] < edges[1]).map(tuple)
    scored = data.draw(st.dictionaries(not_empty, st.sampled_from([-0.2, 0.0, 0.1, 0.5, 0.9]), max_size=14))
    sigma = data.draw(st.sampled_from([0.05, 0.3, 2.0]))
    segments, scores = np.array(list(scored), dtype=np.int64).reshape(-1, 2), list(scored.values())
    order, new = suppress_softly(segments, np.array(scores), sigma)
    expected = softly(segments, scores, sigma)
    assert segments[order].tolist() == [[start, end] for start, end, _ in expected]
    assert new.tolist() == pytest.approx([score for *_, score in expected])


def test_overlap_with_the_shorter_segment_removes_a_long_one_that_the_released_overlap_keeps() -> None:
    piece_in_long = np.array([[40, 50], [0, 100]])
    scores = np.array([0.9, 0.8])
    assert suppress(piece_in_long, scores, "lower", 0.2).tolist() == [0, 1]  # 10 of 100 frames
    assert suppress(piece_in_long, scores, "shorter", 0.2).tolist() == [0]  # 10 of 10


def test_soft_suppression_keeps_what_overlaps_with_a_lower_score_and_drops_repetitions() -> None:
    segments = np.array([[0, 10], [5, 15], [0, 10], [40, 50], [60, 70], [80, 90]])
    order, scores = suppress_softly(segments, np.array([0.7, 0.6, 0.8, 0.5, 0.001, 0.0009]), 0.5)
    assert order.tolist() == [2, 3, 1, 4]
    assert scores == pytest.approx([0.8, 0.5, 0.6 * np.exp(-((1 / 3) ** 2) / 0.5), 0.001])


def test_an_overlap_equal_to_the_threshold_is_kept() -> None:
    a_fifth = np.array([[0, 10], [8, 18]])
    assert len(suppress(a_fifth, np.array([0.9, 0.8]), "shorter", 0.2)) == 2
    assert len(suppress(a_fifth, np.array([0.9, 0.8]), "shorter", 0.199)) == 1


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_ten_thousand_segments_of_one_class_are_suppressed(overlap: str) -> None:
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 10**5, 10_000)
    segments = np.stack([starts, starts + rng.integers(1, 100, len(starts))], axis=1)
    scores = rng.random(len(segments))
    kept = suppress(segments, scores, overlap, 0.2)
    assert 0 < len(kept) < len(segments)
    assert (np.diff(scores[kept]) < 0).all()
    overlaps = tiou(segments[kept], segments[kept])
    np.fill_diagonal(overlaps, 0)
    assert (overlaps <= 0.2).all()  # other overlaps are at least the tIoU


def test_empty_input_gives_empty_output() -> None:
    nothing = np.empty((0, 2), dtype=np.int64)
    assert runs(np.zeros(0, bool)).shape == (0, 2)
    assert tiou(nothing, nothing).shape == (0, 0)
    assert not frames_of(nothing, 3).any()
    assert suppress(nothing, np.empty(0), "union", 0.2).shape == (0,)
    assert [found.shape for found in suppress_softly(nothing, np.empty(0), 0.3)] == [(0,), (0,)]
