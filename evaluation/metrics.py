"""Detection mAP, classification AP, frame accuracy and segmental F1, in percent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.metrics import average_precision_score

from evaluation.localization import Detections
from evaluation.segments import in_blocks, paired_tiou

PAIRS_AT_ONCE = 1 << 20  # bounds the memory that candidate pairs take


def detection_map(detections: Detections, truth: Detections, num_classes: int, tious: Sequence[float]) -> np.ndarray:
    """Average precision of each class at each tIoU, (len(tious), K) percent; NaN for classes not in the truth.

    Detections of all clips are ranked by score, ties by clip, then start. Each takes the best ground-truth
    segment of its clip and class that is still free, if their tIoU reaches the threshold (ActivityNet's rule);
    AP is the area under the precision envelope.

    Args:
        detections: any segments.
        truth: segments that do not overlap within a clip and class, such as runs of labels.
        num_classes: K; detections of other labels (background) are left out.
    """
    detections = detections.where(ranking(detections, num_classes))
    hits = match(detections, truth, tious) >= 0
    present = np.bincount(truth.label, minlength=num_classes)
    ap = np.full((len(tious), num_classes), np.nan)
    for label in np.flatnonzero(present[:num_classes]):
        ap[:, label] = 100 * _average_precision(hits[:, np.flatnonzero(detections.label == label)], present[label])
    return ap


def classification_ap(video_probs: np.ndarray, video_labels: np.ndarray, absent_ap: float = np.nan) -> np.ndarray:
    """Non-interpolated average precision of each class over clips, (K,) percent.

    Args:
        video_probs: (N, K).
        video_labels: (N, K), what is not 0 is positive.
        absent_ap: what a class without positives counts (the released code: 100).
    """
    ap = np.full(video_probs.shape[1], absent_ap)
    for label in np.flatnonzero(np.any(video_labels, axis=0)):
        ap[label] = 100 * average_precision_score(video_labels[:, label] != 0, video_probs[:, label])
    return ap


def frame_accuracy(frame_probs: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """Frames whose most probable class is among their labels, background where they have none; and all frames.

    Args:
        frame_probs: (T, K+1), background last.
        labels: (T, K) bool.
    """
    right = np.concatenate([labels, ~labels.any(axis=1, keepdims=True)], axis=1)
    predicted = frame_probs.argmax(axis=1)
    return int(right[np.arange(len(right)), predicted].sum()), len(right)


def segmental_f1(segmentation: Detections, truth: Detections, num_classes: int, tious: Sequence[float]) -> np.ndarray:
    """Segmental F1 of each class at each tIoU, (len(tious), K) percent; NaN for classes that occur in neither.

    A segment is right if its tIoU with a true one that is still free reaches the threshold (Lea et al. 2017,
    "Temporal Convolutional Networks for Action Segmentation and Detection"). Classes are counted one by one, over
    all clips, since true segments of different classes may overlap.

    Args:
        segmentation: segments that do not overlap within a clip and class, as of `localization.segmentation`.
        truth: likewise.
    """
    segmentation = segmentation.where(ranking(segmentation, num_classes))
    hits = match(segmentation, truth, tious) >= 0
    found, present = (np.bincount(part.label, minlength=num_classes)[:num_classes] for part in (segmentation, truth))
    right = np.stack([np.bincount(segmentation.label[hit], minlength=num_classes)[:num_classes] for hit in hits])
    segments = np.broadcast_to(found + present, right.shape)
    return np.divide(200.0 * right, segments, out=np.full(right.shape, np.nan), where=segments > 0)


def ranking(detections: Detections, num_classes: int) -> np.ndarray:
    """Indices of the detections of the K classes by falling score, ties by clip, then start."""
    order = np.argsort(-detections.scores)
    scores = detections.scores[order]
    equal = np.concatenate([[False], scores[1:] == scores[:-1], [False]])
    tied = np.flatnonzero(equal[1:] | equal[:-1])  # few: only they are sorted by all that decides
    among = np.sort(order[tied])
    starts, ends = detections.segments[among].T
    order[tied] = among[np.lexsort((ends, starts, detections.clip[among], -detections.scores[among]))]
    return order[detections.label[order] < num_classes]


def _average_precision(hits: np.ndarray, present: int) -> np.ndarray:
    """Area under the precision envelope; hits (n_tious, n) bool in order of rank, `present` true segments."""
    envelope = np.zeros_like(hits, dtype=np.float64)
    for at, hit in enumerate(hits):
        places = np.flatnonzero(hit)  # recall rises only there, and precision is highest there
        precision = np.arange(1, len(places) + 1) / (places + 1)
        envelope[at, places] = np.maximum.accumulate(precision[::-1])[::-1]
    return envelope.sum(axis=1) / present


def match(detections: Detections, truth: Detections, tious: Sequence[float]) -> np.ndarray:
    """The true segment that each ranked detection takes at each tIoU, (n_tious, n) int64 index, -1 for none.

    Only pairs that overlap enough for the lowest tIoU are looked at: a few for each detection.
    """
    taken_by = np.full((len(tious), len(detections)), -1)
    candidates: dict[int, list[tuple[float, int]]] = {}
    for detection, segment, value in pairs(detections, truth, min(tious)):
        for d, s, v in zip(detection.tolist(), segment.tolist(), value.tolist(), strict=True):
            candidates.setdefault(d, []).append((-v, s))  # sorts the best first, of equal ones the earlier
    ordered = [(detection, sorted(candidates[detection])) for detection in sorted(candidates)]
    for at, threshold in enumerate(tious):
        taken: set[int] = set()
        for detection, options in ordered:
            for negative, segment in options:
                if -negative < threshold:
                    break
                if segment not in taken:
                    taken.add(segment)
                    taken_by[at, detection] = segment
                    break
    return taken_by


def pairs(
    detections: Detections, truth: Detections, lowest: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of pairs of one clip and class that overlap, with a tIoU of at least `lowest`.

    Each block is (detection indices, truth indices, tIoU); detections rise over all blocks.
    """
    labels = max(detections.label.max(initial=0), truth.label.max(initial=0)) + 1
    own, theirs = (part.clip * labels + part.label for part in (detections, truth))
    order = np.lexsort((truth.segments[:, 0], theirs))
    starts, ends = truth.segments[order].T
    places, theirs = np.flatnonzero(np.isin(own, theirs)), theirs[order]
    own, (begins, stops) = own[places], detections.segments[places].T
    first = _search(theirs, ends, own, begins, "right")  # the first that ends after it starts
    last = _search(theirs, starts, own, stops, "left")  # up to where one starts at its end
    counts = np.maximum(last - first, 0)
    for block in in_blocks(counts, PAIRS_AT_ONCE):
        count = counts[block]
        detection = np.repeat(places[block], count)
        within = np.arange(len(detection)) - np.repeat(count.cumsum() - count, count)
        segment = order[np.repeat(first[block], count) + within]
        value = paired_tiou(detections.segments[detection], truth.segments[segment])
        near = (value >= lowest) & (value > 0)
        yield detection[near], segment[near], value[near]


def _search(groups: np.ndarray, values: np.ndarray, group: np.ndarray, value: np.ndarray, side: str) -> np.ndarray:
    """`np.searchsorted` in (groups, values), sorted by both, for each (group, value): complex numbers go by both."""
    return np.searchsorted(groups + 1j * values, group + 1j * value, side=side)
