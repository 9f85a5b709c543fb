"""Segments of frames, half-open [start, end): runs of a mask, temporal IoU, suppression of overlapping ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

OVERLAPS = ("shorter", "union", "lower")


def runs(mask: np.ndarray) -> np.ndarray:
    """Runs of true frames in a mask (T,) as (n, 2) int64 [start, end), in order of time."""
    padded = np.zeros(len(mask) + 2, dtype=bool)
    padded[1:-1] = mask
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)


def runs_above(values: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Runs of values (T,) above each of the rising thresholds, (n, 2) int64, by threshold, then by time.

    A run of any threshold starts and ends where the number of thresholds that are passed changes; these places, few
    beside all frames, are found once.
    """
    passed = np.zeros(len(values) + 2, dtype=np.min_scalar_type(len(thresholds)))
    for threshold in thresholds:
        passed[1:-1] += values > threshold
    changes = np.flatnonzero(passed[1:] != passed[:-1])
    since = passed[changes + 1]  # a run that starts at one change ends at another: the last one leads to none passed
    return np.concatenate([changes[runs(since > number)] for number in range(len(thresholds))])


def runs_of_classes(masks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of each class in clips' masks (T, K): clip (n,), class (n,), segments (n, 2) int64, in this order, by time.

    The clips, at least one, lie end to end, a frame without any class before each and behind the last.
    """
    classes = masks[0].shape[1]
    gap = np.zeros((1, classes), dtype=bool)
    frames = np.concatenate([part for mask in masks for part in (gap, mask)] + [gap])
    frame, label = np.divmod(np.flatnonzero(frames[1:] != frames[:-1]), classes)
    lengths = np.array([len(mask) + 1 for mask in masks])
    first = lengths.cumsum() - lengths
    clip = np.searchsorted(first, frame, side="right") - 1
    order = np.lexsort((label, clip))
    clip, label, edges = clip[order], label[order], (frame - first[clip])[order]
    return clip[::2], label[::2], edges.reshape(-1, 2)


def in_blocks(sizes: np.ndarray, at_once: int) -> Iterator[slice]:
    """Slices of things of these sizes (n,), in their order: each holds less than `at_once` before its last one."""
    block = (sizes.cumsum() - sizes) // at_once
    edges = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
    return itertools.starmap(slice, itertools.pairwise(edges.tolist()))


def frames_of(segments: np.ndarray, frames: int) -> np.ndarray:
    """The mask (T,) bool of frames that any of the segments (n, 2) covers; the inverse of `runs`."""
    mask = np.zeros(frames, dtype=bool)
    for start, end in segments:
        mask[start:end] = True
    return mask


def tiou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Temporal IoU of every segment of a (n, 2) with every one of b (m, 2): (n, m), 0 for empty ones."""
    return paired_tiou(np.asarray(a)[:, None], np.asarray(b)[None])


def paired_tiou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Temporal IoU of segments (..., 2) with segments (..., 2), by broadcasting; 0 where both are empty."""
    both = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    both = np.maximum(both, 0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - both
    return np.divide(both, union, out=np.zeros(np.shape(union)), where=union > 0)


def suppress(
    segments: np.ndarray,
    scores: np.ndarray,
    overlap: str,
    threshold: float,
    groups: np.ndarray | None = None,
    past_end: int = 0,
) -> np.ndarray:
    """Indices of the segments that no better-scored kept one overlaps by more than `threshold`.

    Segments that do not touch cannot suppress each other, so that each round keeps the best of every
    connected stretch of time: few rounds even for many segments.

    Args:
        segments: (n, 2) int [start, end).
        scores: (n,) finite; of equal ones the earlier start goes first, then the earlier end.
        overlap: what the common frames are a share of: "shorter" of the two, their "union", or the
            "lower"-scored one.
        threshold: at least 0.
        groups: (n,) int, or None for one group; only segments of the same group suppress each other.
        past_end: frames that every length counts beyond its end (1: ends read as inclusive, the released code).

    Returns:
        (m,) int64, by group, then falling score.
    """
    if overlap not in OVERLAPS:
        raise ValueError(f"overlap is {overlap!r}, expected one of {', '.join(OVERLAPS)}")
    groups = np.zeros(len(segments), dtype=np.int64) if groups is None else groups
    starts, ends = segments[:, 0], segments[:, 1] + past_end
    offset = groups * (int(ends.max(initial=0)) + 1)  # on one axis, groups cannot touch
    starts, ends = starts + offset, ends + offset
    order = np.lexsort((ends, starts))
    starts, ends, scores = starts[order], ends[order], scores[order]
    alive = np.arange(len(order))
    kept = [np.empty(0, dtype=np.int64)]
    while alive.size:
        start, end, score = starts[alive], ends[alive], scores[alive]
        apart = start[1:] >= np.maximum.accumulate(end)[:-1]
        first = np.concatenate([[0], np.flatnonzero(apart) + 1])  # of each connected stretch
        members = np.diff(first, append=len(alive))
        best = np.flatnonzero(score == np.repeat(np.maximum.reduceat(score, first), members))
        leaders = best[np.searchsorted(best, first)]
        kept.append(alive[leaders])
        share = _overlap_share(
            np.repeat(start[leaders], members), np.repeat(end[leaders], members), start, end, overlap
        )
        lives = share <= threshold
        lives[leaders] = False
        alive = alive[lives]
    kept = np.sort(np.concatenate(kept))
    best_first = np.lexsort((-scores[kept], groups[order[kept]]))
    return order[kept[best_first]]


def _overlap_share(
    better_start: np.ndarray, better_end: np.ndarray, start: np.ndarray, end: np.ndarray, overlap: str
) -> np.ndarray:
    common = np.maximum(np.minimum(better_end, end) - np.maximum(better_start, start), 0)
    whole = end - start
    if overlap == "shorter":
        whole = np.minimum(whole, better_end - better_start)
    elif overlap == "union":
        whole = whole + (better_end - better_start) - common
    return np.divide(common, whole, out=np.zeros(len(common)), where=whole > 0)
