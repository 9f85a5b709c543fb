"""Segments of frames, half-open [start, end): runs of a mask, temporal IoU, non-maximum suppression."""

import numpy as np

LEAST_SCORE = 1e-3  # soft suppression drops segments with a lower score


def runs(mask: np.ndarray) -> np.ndarray:
    """Runs of true frames in a mask (T,), as segments (n, 2) int64 in order of time."""
    return runs_of_classes(mask[:, None])[1]


def runs_of_classes(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of true frames of each class in masks (T, K): class (n,) and segments (n, 2) int64, by class, then time."""
    frames, classes = masks.shape
    padded = np.zeros((classes, frames + 2), dtype=bool)  # a false frame at both ends, so that every run has two edges
    padded[:, 1:-1] = masks.T
    label, edge = np.nonzero(padded[:, 1:] != padded[:, :-1])
    return label[::2], edge.reshape(-1, 2)


def tiou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Temporal IoU (n, m) of every segment of a (n, 2) with every segment of b (m, 2); 0 where both are empty."""
    (a_start, a_end), (b_start, b_end) = a.T[:, :, None], b.T[:, None, :]
    common = np.maximum(np.minimum(a_end, b_end) - np.maximum(a_start, b_start), 0)
    union = (a_end - a_start) + (b_end - b_start) - common
    return np.divide(common, union, out=np.zeros(union.shape), where=union > 0)


def suppress(segments: np.ndarray, scores: np.ndarray, divide_by: str, threshold: float) -> np.ndarray:
    """Greedy non-maximum suppression: indices (m,) int64 of the segments that stay, by falling score.

    Args:
        segments: (n, 2), none empty.
        scores: (n,). Among equal scores the earlier start comes first, then the earlier end.
        divide_by: the overlap of two segments is their number of common frames, divided by the length of the "shorter"
            one, of their "union", or of the one with the "lower" score.
        threshold: a segment is removed if its overlap with a better one is above this; not negative.
    """
    starts, ends = segments.T
    lengths = ends - starts
    left = np.lexsort((ends, starts, -scores))
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        common = np.minimum(ends[left], ends[best]) - np.maximum(starts[left], starts[best])  # negative: no overlap
        if divide_by == "lower":
            whole = lengths[left]
        elif divide_by == "shorter":
            whole = np.minimum(lengths[left], lengths[best])
        else:
            whole = lengths[left] + lengths[best] - common
        left = left[common / whole <= threshold]
    return np.array(kept, dtype=np.int64)


def suppress_softly(segments: np.ndarray, scores: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Soft non-maximum suppression (Soft-NMS, Bodla et al. 2017): indices (m,) of segments and their new scores (m,).

    The best segment multiplies the score of every other segment by exp(-tIoU² / sigma). This repeats with the best of
    the others, until all scores are below LEAST_SCORE. Of segments with the same start and end, only the best is used.

    Args:
        segments: (n, 2).
        scores: (n,). Among equal scores the earlier start comes first, then the earlier end.
        sigma: above 0. The smaller, the more an overlap costs.
    """
    by_score = np.argsort(-scores, kind="stable")
    # `unique` sorts by start, then end, and keeps the first of equal segments, which is the best
    left = by_score[np.unique(segments[by_score], axis=0, return_index=True)[1]]
    segments, scores = segments[left], scores[left]
    starts, last_ends = segments[:, 0], np.maximum.accumulate(segments[:, 1])
    order, found = [], []
    while len(scores) and scores[best := scores.argmax()] >= LEAST_SCORE:
        order.append(left[best])
        found.append(scores[best])
        start, end = segments[best]
        near = slice(np.searchsorted(last_ends, start, "right"), np.searchsorted(starts, end))  # holds all overlaps
        overlap = tiou(segments[near], segments[[best]])[:, 0]
        scores[near] *= np.exp(-(overlap**2) / sigma)
        scores[best] = 0
    return np.array(order, dtype=np.int64), np.array(found)
