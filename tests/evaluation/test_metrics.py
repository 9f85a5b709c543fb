"""Metrics against plain loops, and invariants of any metric."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.localization import CORRECTED, RELEASED, Detections, ground_truth, segmentation
from evaluation.metrics import classification_ap, detection_ap, frame_confusion, segmental_f1

TIOUS = (0.1, 0.3, 0.5, 0.7)
CLASSES = 2
CLIPS, FRAMES = 3, 12

edges = st.tuples(st.integers(0, FRAMES), st.integers(0, FRAMES)).map(sorted)
places = st.tuples(st.integers(0, CLIPS - 1), st.integers(0, CLASSES))  # clip and class, background too
scored = st.lists(st.tuples(places, edges, st.sampled_from([0.1, 0.4, 0.8])), max_size=12)
label_bits = st.lists(st.integers(0, 2 ** (FRAMES * CLASSES) - 1), min_size=CLIPS, max_size=CLIPS)
readings = st.sampled_from([CORRECTED, RELEASED])


def detections(found: list) -> Detections:
    clip, label = np.array([place for place, _, _ in found], dtype=np.int64).reshape(-1, 2).T
    return Detections.of(clip, label, [segment for _, segment, _ in found], [score for _, _, score in found])


def labels_of(bits: list[int]) -> list[np.ndarray]:
    flat = [[number >> i & 1 for i in range(FRAMES * CLASSES)] for number in bits]
    return [np.array(row, bool).reshape(FRAMES, CLASSES) for row in flat]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    common = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    whole = (a[1] - a[0]) + (b[1] - b[0]) - common
    return common / whole if whole else 0.0


def oracle(found: Detections, truth: Detections, label: int, tiou: float) -> float:
    """Average precision in a loop: rank, give each detection its best free segment, take the area."""
    ranked = [i for i in range(len(found)) if found.label[i] == label]
    ranked.sort(key=lambda i: (-found.scores[i], found.clip[i], *found.segments[i]))
    free = [j for j in range(len(truth)) if truth.label[j] == label]
    count, hits = len(free), []
    for i in ranked:
        options = [j for j in free if truth.clip[j] == found.clip[i]]
        best = max(options, key=lambda j: overlap(found.segments[i], truth.segments[j]), default=None)
        hits.append(best is not None and overlap(found.segments[i], truth.segments[best]) >= tiou)
        if hits[-1]:
            free.remove(best)
    precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    area = sum(max(precision[n:]) / count for n in range(len(hits)) if hits[n])
    return 100 * area if count else np.nan


@settings(deadline=None, max_examples=150)
@given(scored, label_bits, readings)
def test_detection_ap_is_the_area_under_the_precision_envelope(found: list, bits: list[int], reading: tuple) -> None:
    found, truth = detections(found), ground_truth(labels_of(bits), reading)
    ap = detection_ap(found, truth, CLASSES, TIOUS)
    expected = [[oracle(found, truth, label, tiou) for label in range(CLASSES)] for tiou in TIOUS]
    np.testing.assert_allclose(ap, expected, atol=1e-9)


@given(label_bits)
def test_perfect_detections_score_100(bits: list[int]) -> None:
    truth = ground_truth(labels_of(bits))
    ap = detection_ap(truth, truth, CLASSES, [*TIOUS, 1.0])
    occurs = np.isin(np.arange(CLASSES), truth.label)
    assert (ap[:, occurs] == 100).all()
    assert np.isnan(ap[:, ~occurs]).all()


@pytest.mark.parametrize(("frames", "tiou", "ap"), [(5, 0.66, 100), (5, 0.67, 0), (3, 0.5, 100), (3, 0.51, 0)])
def test_a_perfect_detection_of_l_frames_counts_up_to_a_released_tiou_of_l_minus_1_over_l_plus_1(
    frames: int, tiou: float, ap: float
) -> None:
    labels = np.zeros((20, 1), bool)
    labels[6 : 6 + frames] = True
    perfect = Detections.of(0, 0, ground_truth([labels]).segments + [0, RELEASED.past_end], 1.0)
    assert detection_ap(perfect, ground_truth([labels], RELEASED), 1, [tiou]).tolist() == [[ap]]


@given(scored, label_bits, st.permutations(range(CLIPS)))
def test_ap_lies_within_0_and_100_and_does_not_depend_on_the_order_of_clips(
    found: list, bits: list[int], order: list[int]
) -> None:
    found = [(place, segment, 0.1 + number / 100) for number, (place, segment, _) in enumerate(found)]  # no ties
    labels = labels_of(bits)
    ap = detection_ap(detections(found), ground_truth(labels), CLASSES, TIOUS)
    assert ((ap >= 0) & (ap <= 100) | np.isnan(ap)).all()
    moved = [((order.index(clip), label), segment, score) for (clip, label), segment, score in found]
    again = detection_ap(detections(moved), ground_truth([labels[clip] for clip in order]), CLASSES, TIOUS)
    np.testing.assert_allclose(again, ap, atol=1e-9)


@given(scored, label_bits, st.randoms(use_true_random=False))
def test_ap_does_not_depend_on_the_order_of_detections_with_equal_scores(found: list, bits: list[int], rnd) -> None:
    shuffled = rnd.sample(found, len(found))
    truth = ground_truth(labels_of(bits))
    ap = [detection_ap(detections(rows), truth, CLASSES, TIOUS) for rows in (found, shuffled)]
    assert np.array_equal(*ap, equal_nan=True)


def test_of_equal_scores_the_earlier_clip_ranks_first() -> None:
    truth = Detections.of(1, 0, [[0, 5]], 1.0)
    found = Detections.of([1, 0], 0, [[0, 5], [0, 5]], 0.5)  # clip 0 has no truth: a false one before the right one
    assert detection_ap(found, truth, 1, [0.5]).tolist() == [[50]]


@given(scored, label_bits, scored)
def test_false_detections_of_lowest_score_never_raise_ap(found: list, bits: list[int], others: list) -> None:
    truth = ground_truth(labels_of(bits))
    false = [((CLIPS, place[1]), segment, 0.05) for place, segment, _ in others]  # of a clip without truth
    before = detection_ap(detections(found), truth, CLASSES, TIOUS)
    after = detection_ap(detections(found + false), truth, CLASSES, TIOUS)
    assert (after <= before + 1e-9).all(where=~np.isnan(before))


def test_a_segment_is_found_once() -> None:
    truth = Detections.of(0, 0, [[0, 10], [20, 30]], 1.0)
    twice = Detections.of(0, 0, [[0, 10], [0, 9], [20, 30]], [0.9, 0.8, 0.7])
    assert detection_ap(twice, truth, 1, [0.5])[0, 0] == pytest.approx(100 * (1 / 2 + 2 / 3 / 2))


def test_of_two_equally_good_segments_the_earlier_is_taken() -> None:
    truth = Detections.of(0, 0, [[0, 4], [6, 10]], 1.0)
    between = Detections.of(0, 0, [[2, 8], [0, 4]], [0.9, 0.8])  # the first leaves the second without a segment
    assert detection_ap(between, truth, 1, [0.2]).tolist() == [[50]]


def test_at_tiou_0_a_detection_must_still_overlap() -> None:
    beside_and_empty = Detections.of(0, 0, [[5, 9], [2, 2]], 1.0)
    assert detection_ap(beside_and_empty, Detections.of(0, 0, [[0, 5]], 1.0), 1, [0.0]).tolist() == [[0]]


def test_without_detections_ap_is_0_and_without_truth_it_is_not_a_number() -> None:
    nothing = Detections.concatenate([])
    truth = Detections.of(0, 0, [[0, 5]], 1.0)
    assert detection_ap(nothing, truth, 2, [0.5])[0, 0] == 0
    assert np.isnan(detection_ap(nothing, truth, 2, [0.5])[0, 1])
    assert np.isnan(detection_ap(truth, nothing, 2, [0.5])).all()


def test_a_hundred_thousand_detections_are_scored() -> None:
    rng = np.random.default_rng(0)
    truth = ground_truth([np.repeat(rng.random((100, 4)) < 0.3, 10, axis=0) for _ in range(200)])
    starts = rng.integers(0, 950, 100_000)
    segments = np.stack([starts, starts + rng.integers(3, 50, len(starts))], axis=1)
    found = Detections.of(
        rng.integers(0, 200, len(starts)), rng.integers(0, 5, len(starts)), segments, rng.random(100_000)
    )
    ap = detection_ap(found, truth, 4, TIOUS)
    assert ((ap > 0) & (ap < 100)).all()
    assert (np.diff(ap, axis=0) <= 0).all()


@given(st.integers(1, 12), st.integers(0, 2**32))
def test_classification_ap_equals_the_mean_precision_at_positives(clips: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs, labels = rng.integers(0, 5, (clips, 3)) / 4, rng.integers(0, 2, (clips, 3))
    ap = classification_ap(probs, labels)
    for label in range(3):
        positive = labels[:, label] == 1
        precisions = [positive[probs[:, label] >= p].mean() for p in probs[positive, label]]  # of equal ones at once
        expected = 100 * sum(precisions) / len(precisions) if precisions else np.nan
        assert ap[label] == pytest.approx(expected, nan_ok=True)


def test_classification_ap_of_a_hand_made_ranking() -> None:
    probs = np.array([[0.9], [0.8], [0.7], [0.6]])
    labels = np.array([[1], [0], [1], [0]])
    assert classification_ap(probs, labels)[0] == pytest.approx(100 * (1 / 1 + 2 / 3) / 2)


def test_an_absent_class_counts_100_as_released_and_nothing_when_corrected() -> None:
    probs, labels = np.full((2, 2), 0.5), np.array([[1, 0], [1, 0]])
    assert classification_ap(probs, labels, RELEASED.absent_ap).tolist() == [100, 100]
    assert np.isnan(classification_ap(probs, labels, CORRECTED.absent_ap)).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [bool, int])
def test_a_frame_is_right_with_any_of_its_labels_or_with_background_if_it_has_none(dtype: type) -> None:
    labels = np.array([[1, 1], [1, 0], [0, 0], [0, 0]], dtype)
    likeliest = [1, 1, 2, 0]
    assert frame_confusion([np.eye(3)[likeliest]], [labels]).trace() == 2


def one_hot(names: list[int]) -> np.ndarray:
    return np.eye(CLASSES + 1)[names]


def test_a_perfect_segmentation_has_f1_of_100() -> None:
    labels = [np.array([[1, 0]] * 4 + [[0, 0]] * 3 + [[0, 1]] * 5, bool)]
    probs = [np.concatenate([clip, ~clip.any(axis=1, keepdims=True)], axis=1) for clip in labels]
    assert (segmental_f1(segmentation(probs), ground_truth(labels), CLASSES, TIOUS) == 100).all()


def test_segmental_f1_counts_pieces_and_misses() -> None:
    # Class 0: one true run of 10 frames, found as 6 + 3 frames: one right piece and one too many at 0.5, none at 0.7.
    probs = one_hot([0] * 6 + [2] + [0] * 3 + [2] * 2)
    labels = np.zeros((12, CLASSES), bool)
    labels[:10, 0] = True
    labels[10:, 1] = True  # missed
    f1 = segmental_f1(segmentation([probs]), ground_truth([labels]), CLASSES, (0.5, 0.7))
    np.testing.assert_allclose(f1, [[100 * 2 / 3, 0], [0, 0]])


def test_a_class_without_segments_on_either_side_has_no_f1() -> None:
    labels = np.ones((5, 1), bool)
    found = segmentation([np.eye(3)[[0] * 5]])
    assert np.isnan(segmental_f1(found, ground_truth([np.pad(labels, ((0, 0), (0, 1)))]), 2, (0.5,))[:, 1]).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, CLASSES), min_size=1, max_size=30), label_bits)
def test_segmental_f1_equals_plain_loops(names: list[int], bits: list[int]) -> None:
    labels = labels_of(bits)
    probs = [one_hot((names * FRAMES)[i : i + FRAMES]) for i in range(CLIPS)]
    found, truth = segmentation(probs), ground_truth(labels)
    for row, tiou in zip(segmental_f1(found, truth, CLASSES, TIOUS), TIOUS, strict=True):
        for label in range(CLASSES):
            true = [(c, *s) for c, k, s in zip(truth.clip, truth.label, truth.segments, strict=True) if k == label]
            pieces = [(c, *s) for c, k, s in zip(found.clip, found.label, found.segments, strict=True) if k == label]
            free, right = list(true), 0
            for clip, start, end in pieces:
                options = [t for t in free if t[0] == clip]
                best = max(options, key=lambda t: overlap(np.array([start, end]), np.array(t[1:])), default=None)
                if best and overlap(np.array([start, end]), np.array(best[1:])) >= tiou:
                    free.remove(best)
                    right += 1
            expected = 200 * right / (len(true) + len(pieces)) if true or pieces else np.nan
            np.testing.assert_allclose(row[label], expected)
