"""Detection mAP, classification AP and segmental F1 in percent, and the confusion of classes in frames.

Letters: N clips, T frames, K action classes; class K is background.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from evaluation.localization import Detections
from evaluation.segments import tiou

MAX_PAIRS = 2**20  # tIoUs that are computed at once; they and each intermediate result take 8 MB


def detection_ap(detections: Detections, truth: Detections, num_classes: int, tious: Sequence[float]) -> np.ndarray:
    """Average precision of each class at each tIoU, (len(tious), K); NaN for classes that the truth does not have.

    Detections of all clips are ranked together (`ranking`) and matched as in ActivityNet's evaluation (`match`).
    AP is the area under the precision envelope. Detections of background are left out.
    """
    detections = detections.select(ranking(detections, num_classes))
    hits = match(detections, truth, tious) >= 0
    num_true = np.bincount(truth.label, minlength=num_classes)
    ap = np.full((len(tious), num_classes), np.nan)
    for label in np.flatnonzero(num_true[:num_classes]):
        ap[:, label] = 100 * _average_precision(hits[:, detections.label == label], num_true[label])
    return ap


def classification_ap(video_probs: np.ndarray, video_labels: np.ndarray, absent_ap: float = np.nan) -> np.ndarray:
    """Non-interpolated average precision of each class over clips, (K,).

    Probabilities and labels are (N, K). A label that is not 0 is positive. `absent_ap` is the AP of a class without a
    positive clip. The released code has 100.
    """
    ap = np.full(video_probs.shape[1], absent_ap)
    for label in np.flatnonzero(np.any(video_labels, axis=0)):
        ap[label] = 100 * average_precision_score(video_labels[:, label] != 0, video_probs[:, label])
    return ap


def frame_confusion(frame_probs: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> np.ndarray:
    """Number of frames by true class (rows) and most probable class (columns), (K+1, K+1).

    Each clip has frame_probs (T, K+1) and labels (T, K), true where not 0. A frame without a label is background. A
    frame with several true classes counts for its most probable class if that is a true one. Otherwise it is divided
    equally among its true classes. So the diagonal counts the frames that are right.
    """
    size = frame_probs[0].shape[1]
    confusion = np.zeros((size, size))
    for probs, clip_labels in zip(frame_probs, labels, strict=True):
        truth = np.concatenate([clip_labels, ~clip_labels.any(axis=1, keepdims=True)], axis=1).astype(bool)
        predicted = probs.argmax(axis=1)
        right = truth[np.arange(len(truth)), predicted]
        truth[right] = False
        truth[right, predicted[right]] = True
        frame, true = np.nonzero(truth)
        np.add.at(confusion, (true, predicted[frame]), 1 / truth.sum(axis=1)[frame])
    return confusion


def segmental_f1(segmentation: Detections, truth: Detections, num_classes: int, tious: Sequence[float]) -> np.ndarray:
    """Segmental F1 of each class at each tIoU, (len(tious), K); NaN for classes that neither side has.

    A segment is right if it is matched to a true segment (`match`): Lea et al. 2017, "Temporal Convolutional Networks
    for Action Segmentation and Detection". Each class has an F1 of its own, because true segments of different classes
    may overlap. Its segments are counted over all clips. Within a clip and class, segments must not overlap each other,
    nor must true segments.
    """
    segmentation = segmentation.select(ranking(segmentation, num_classes))
    hits = match(segmentation, truth, tious) >= 0
    found, true = (np.bincount(side.label, minlength=num_classes)[:num_classes] for side in (segmentation, truth))
    right = np.array([np.bincount(segmentation.label[hit], minlength=num_classes) for hit in hits])
    return np.divide(200.0 * right, found + true, out=np.full(right.shape, np.nan), where=found + true > 0)


def ranking(detections: Detections, num_classes: int) -> np.ndarray:
    """Indices (m,) of the detections of the K classes by falling score. Ties go by clip, then start, then end."""
    starts, ends = detections.segments.T
    order = np.lexsort((ends, starts, detections.clip, -detections.scores))
    return order[detections.label[order] < num_classes]


def match(detections: Detections, truth: Detections, tious: Sequence[float]) -> np.ndarray:
    """Index of the true segment that each ranked detection is matched to at each tIoU, (len(tious), n); -1 for none.

    In order of rank, each detection looks at the true segments of its clip and class that are still free. It is matched
    to the one with the highest tIoU, if this tIoU reaches the threshold.
    """
    matched = np.full((len(tious), len(detections)), -1)
    free = np.ones((len(tious), len(truth)), dtype=bool)
    for found, true, overlap in overlaps_by_clip(detections, truth):
        overlap[detections.label[found][:, None] != truth.label[true]] = 0
        for i in np.flatnonzero(overlap.max(axis=1) >= min(tious)):
            values = np.where(free[:, true], overlap[i], 0)
            best = true[values.argmax(axis=1)]  # among equal ones the first
            value = values.max(axis=1)
            hit = np.flatnonzero((value >= tious) & (value > 0))
            matched[hit, found[i]] = best[hit]
            free[hit, best[hit]] = False
    return matched


def overlaps_by_clip(detections: Detections, truth: Detections) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, clip by clip, indices of detections (n,) and of true segments (m,), both rising, and their tIoU (n, m).

    Clips without a detection or without a true segment are skipped. The detections of a clip come in several parts if
    they make more than MAX_PAIRS pairs with its true segments.
    """
    clips = 1 + max(detections.clip.max(initial=-1), truth.clip.max(initial=-1))
    for found, true in zip(_by_clip(detections, clips), _by_clip(truth, clips), strict=True):
        if len(true):
            most = max(1, MAX_PAIRS // len(true))
            for start in range(0, len(found), most):
                part = found[start : start + most]
                yield part, true, tiou(detections.segments[part], truth.segments[true])


def _by_clip(segments: Detections, clips: int) -> list[np.ndarray]:
    """The indices of the segments of each clip, rising."""
    ends = np.bincount(segments.clip, minlength=clips).cumsum()
    return np.split(np.argsort(segments.clip, kind="stable"), ends[:-1])


def nan_mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Mean of the entries that are not NaN; NaN, without NumPy's warning, where all are."""
    return np.ma.filled(np.ma.masked_invalid(values).mean(axis=axis), np.nan)


def nan_to_none(value: Any) -> Any:
    """Figures in nested dictionaries as JSON can hold them: NaN as None, NumPy's floats as Python's."""
    if isinstance(value, dict):
        return {key: nan_to_none(entry) for key, entry in value.items()}
    if isinstance(value, float):  # np.float64 is a float
        return None if np.isnan(value) else float(value)
    return value


def _average_precision(hits: np.ndarray, num_true: int) -> np.ndarray:
    """Area under the precision envelope: hits (n_tious, n) bool in order of rank, `num_true` true segments."""
    envelope = np.zeros_like(hits, dtype=np.float64)
    for row, hit in zip(envelope, hits, strict=True):
        places = np.flatnonzero(hit)  # recall rises only at hits, and precision is highest there
        precision = np.arange(1, len(places) + 1) / (places + 1)
        row[places] = np.maximum.accumulate(precision[::-1])[::-1]
    return envelope.sum(axis=1) / num_true
