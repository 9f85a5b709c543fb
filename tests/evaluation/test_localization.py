"""Localization against plain loops over frames, and what a detection must be."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.localization import (
    CORRECTED,
    RELEASED,
    Detections,
    Protocol,
    ground_truth,
    localize,
    segmentation,
    whole_clip_baseline,
)
from evaluation.segments import tiou
from tests.evaluation.plain_localization import Found, localize_plainly
from utils import config

EVAL = config.load().eval
OVERLAPS = ("shorter", "union", "lower")
LABELS = [
    np.array([[1, 0], [1, 0], [0, 0], [1, 1]], bool),
    np.zeros((3, 2), bool),
    np.array([[0, 1], [0, 1]], bool),
]


def rows(found: Detections) -> Found:
    segments = found.segments.astype(int).tolist()
    assert found.segments.tolist() == segments
    return [(k, *s, score) for k, s, score in zip(found.label.tolist(), segments, found.scores.tolist(), strict=True)]


@st.composite
def clips(draw: st.DrawFn, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame and video probabilities; those of frames in 64ths, whose sums have no rounding to argue about."""
    frames = draw(st.integers(1, 40))
    levels = draw(st.lists(st.sampled_from([0, 1, 2, 3, 7, 40, 64]), min_size=1, max_size=9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    stays = rng.random((frames, columns)) < draw(st.sampled_from([0.0, 0.5, 0.8]))
    values = rng.choice(levels, (frames, columns))
    for t in range(1, frames):
        values[t] = np.where(stays[t], values[t - 1], values[t])
    video = draw(st.lists(st.sampled_from([0.0, 0.09, 0.1, 0.9]), min_size=columns, max_size=columns))
    return values / 64, np.array(video)


@pytest.mark.parametrize("protocol", [CORRECTED, RELEASED], ids=["corrected", "released"])
@settings(deadline=None, max_examples=200)
@given(
    st.integers(2, 4).flatmap(clips), st.sampled_from(OVERLAPS), st.integers(1, 4), st.sampled_from([0.0, 0.25, 1.0])
)
def test_localization_equals_plain_loops_over_frames(
    protocol: Protocol, clip: tuple, overlap: str, min_length: int, outer_share: float
) -> None:
    frame_probs, video_probs = clip
    changes = {"suppression_overlap": overlap, "min_length": min_length, "outer_share": outer_share}
    chosen = EVAL.model_copy(update=changes)
    found = rows(localize([frame_probs], [video_probs], chosen, protocol))
    expected = localize_plainly(frame_probs[:, :-1], video_probs[:-1], chosen, protocol is RELEASED)
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    assert [row[3] for row in found] == pytest.approx([row[3] for row in expected], abs=1e-6)


def test_a_frame_at_a_threshold_is_in_no_proposal() -> None:
    probs = np.array([[0.5, 0.5]] * 5 + [[0.25, 0.75]] * 5)
    chosen = EVAL.model_copy(update={"thresholds": [0.25]})
    assert localize([probs], [np.array([0.9, 0.1])], chosen).segments.tolist() == [[0, 5]]


def test_of_scores_that_differ_by_rounding_the_earlier_segment_comes_first() -> None:
    probs = np.zeros((40, 2), np.float32)
    probs[5:10, 0] = probs[25:30, 0] = 0.7
    probs[10:12, 0] = 1e-9  # beside the first
    assert localize([probs], [np.array([0.9, 0.1])], EVAL).segments.tolist() == [[5, 10], [25, 30]]


@pytest.mark.parametrize("protocol", [CORRECTED, RELEASED], ids=["corrected", "released"])
@settings(deadline=None)
@given(st.integers(2, 4).flatmap(lambda columns: st.lists(clips(columns), min_size=1, max_size=6)))
def test_each_clip_is_localized_independently_of_the_others(protocol: Protocol, several: list) -> None:
    frame_probs, video_probs = zip(*((frame / np.float32(3), video) for frame, video in several), strict=True)
    together = localize(frame_probs, video_probs, EVAL, protocol)
    alone = [localize([frame], [video], EVAL, protocol) for frame, video in zip(frame_probs, video_probs, strict=True)]
    expected = Detections.concatenate([replace(part, clip=part.clip + clip) for clip, part in enumerate(alone)])
    np.testing.assert_equal(vars(together), vars(expected))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(3, 30)), min_size=1, max_size=8))
def test_perfect_probabilities_give_exactly_the_true_segments(stretches: list[tuple[int, int]]) -> None:
    one_hot = np.concatenate([np.repeat(np.eye(3)[[k]], frames, axis=0) for k, frames in stretches])
    labels = one_hot[:, :2].astype(bool)
    found = localize([one_hot], [one_hot.max(axis=0)], EVAL)
    truth = ground_truth([labels])
    assert sorted(row[:3] for row in rows(found)) == sorted(row[:3] for row in rows(truth))
    assert (found.scores > 0.39).all()  # margins that reach the next run cost 0.6 at most


def test_detections_are_half_open_and_may_reach_both_ends_of_the_clip() -> None:
    probs = np.array([[0.9, 0.1]] * 4 + [[0.0, 1.0]] * 6 + [[0.9, 0.1]] * 3)
    found = localize([probs[:0], probs], [np.ones(2)] * 2, EVAL)
    assert sorted(found.segments.tolist()) == [[0, 4], [10, 13]]
    assert found.clip.tolist() == [1, 1]


def test_a_score_is_the_mean_inside_minus_the_weighted_mean_of_the_margins() -> None:
    probs = np.zeros((20, 2))
    probs[8:16, 0], probs[16:, 0] = 0.5, 0.02  # a margin of two frames on either side: 0, 0 and .02, .02
    found = localize([probs], [np.ones(2)], EVAL)
    assert rows(found) == [(0, 8, 16, pytest.approx(0.5 - 0.6 * 0.01))]


@pytest.mark.parametrize(("video_prob", "count"), [(0.099, 0), (0.1, 1)])
def test_a_class_below_the_lowest_video_score_has_no_detection(video_prob: float, count: int) -> None:
    assert len(localize([np.full((9, 2), 0.5)], [np.array([video_prob, 1.0])], EVAL)) == count


def test_runs_that_are_too_short_are_no_proposals() -> None:
    probs = np.array([[1.0, 0.0]] * 2 + [[0.0, 1.0]] * 5)
    assert len(localize([probs], [np.ones(2)], EVAL)) == 0


def test_a_clip_of_one_frame_is_localized() -> None:
    one = np.array([[0.75, 0.25]])
    assert len(localize([one], [np.ones(2)], EVAL)) == 0
    shortest = EVAL.model_copy(update={"min_length": 1})
    assert rows(localize([one], [np.ones(2)], shortest)) == [(0, 0, 1, 0.75)]
    assert rows(localize([one], [np.ones(2)], shortest, RELEASED)) == [(0, 0, 2, 0.75)]


def test_the_released_protocol_store_and_average_one_frame_past_a_run() -> None:
    probs = np.zeros((12, 2))
    probs[4:8, 0] = 0.5  # L = 4: inside 4 to 8, margins [3, 4) and [9, 10)
    probs[9, 0] = 0.01
    found = localize([probs], [np.ones(2)], EVAL, RELEASED)
    assert rows(found) == [(0, 4, 9, pytest.approx(4 * 0.5 / 5 - 0.6 * 0.01 / 2, abs=1e-7))]


def test_a_released_end_may_lie_one_frame_past_the_clip() -> None:
    found = localize([np.full((5, 2), 0.5)], [np.ones(2)], EVAL, RELEASED)
    assert rows(found) == [(0, 0, 6, 0.5)]


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 2**32))
def test_segments_of_each_clip_are_independent_of_the_others(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs = [rng.choice([0.0, 0.5, 1.0], (frames, 3)) for frames in lengths]
    for found_in, clips in ((ground_truth, [frame > 0.4 for frame in probs]), (segmentation, probs)):
        together = found_in(clips)
        expected = [replace(part, clip=part.clip + clip) for clip, part in enumerate(found_in([c]) for c in clips)]
        np.testing.assert_equal(vars(together), vars(Detections.concatenate(expected)))


def test_the_released_truth_lacks_its_last_frame() -> None:
    assert [row[:3] for row in rows(ground_truth(LABELS))] == [(0, 0, 2), (0, 3, 4), (1, 3, 4), (1, 0, 2)]
    short = ground_truth(LABELS, RELEASED)
    assert [row[:3] for row in rows(short)] == [(0, 0, 1), (0, 3, 3), (1, 3, 3), (1, 0, 1)]
    assert short.clip.tolist() == [0, 0, 0, 2]


@given(st.integers(3, 200))
def test_a_perfect_detection_of_l_frames_has_a_released_tiou_of_l_minus_1_over_l_plus_1(frames: int) -> None:
    labels = np.zeros((frames + 9, 1), bool)
    labels[4 : 4 + frames] = True
    perfect = np.concatenate([labels, ~labels], axis=1).astype(float)
    found = localize([perfect], [np.ones(2)], EVAL, RELEASED)
    overlap = tiou(found.segments, ground_truth([labels], RELEASED).segments)
    assert overlap.tolist() == [[pytest.approx((frames - 1) / (frames + 1))]]


def test_the_whole_clip_baseline_is_every_class_of_a_clip_from_its_first_frame_to_its_last() -> None:
    whole = whole_clip_baseline(LABELS)
    assert rows(whole) == [(0, 0, 4, 1.0), (1, 0, 4, 1.0), (1, 0, 2, 1.0)]
    assert whole.clip.tolist() == [0, 0, 2]
    assert rows(whole_clip_baseline(LABELS, RELEASED))[0] == (0, 0, 5, 1.0)


def test_a_clip_of_an_hour_with_sixty_classes_takes_less_than_200_mb() -> None:
    frames, classes = 108_000, 60
    levels = np.random.default_rng(0).random((frames // 120, classes + 1), dtype=np.float32)
    probs = 0.06 * levels.repeat(120, axis=0)  # below, between and above the thresholds
    tracemalloc.start()
    try:
        found = localize([probs], [np.ones(classes + 1)], EVAL)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) > classes
    assert peak < 200e6


@pytest.mark.parametrize("shape", [(2, 5), (4, 3)])
def test_segments_that_are_no_pairs_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot reshape"):
        Detections.of(0, 0, np.zeros(shape), 1.0)


def test_video_probabilities_without_background_are_refused() -> None:
    with pytest.raises(ValueError, match=r"clip 0 has .*\(4, 3\).*\(2,\), expected \(T, K\+1\) and \(K\+1,\)"):
        localize([np.full((4, 3), 0.5)], [np.ones(2)], EVAL)


def test_no_part_gives_no_detection() -> None:
    assert len(Detections.concatenate([])) == 0
    assert ground_truth([]).segments.shape == (0, 2)
