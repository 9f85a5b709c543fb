"""Segments of frames, half-open [start, end): runs of a mask, temporal IoU, suppression of overlapping ones."""

from __future__ import annotations

import numpy as np

OVERLAPS = ("shorter", "union", "lower")


def runs(mask: np.ndarray) -> np.ndarray:
    """Runs of true frames in a mask (T,) as (n, 2) int64 [start, end), in order of time."""
    return runs_of_rows(np.asarray(mask)[None])[1]


def runs_of_rows(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs in each row of masks (R, T): their rows (n,) and segments (n, 2) int64, by row, then by time."""
    rows, frames = masks.shape
    padded = np.zeros((rows, frames + 2), dtype=np.int8)
    padded[:, 1:-1] = masks
    steps = np.diff(padded, axis=1)
    row, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return row, np.stack([starts, ends], axis=1)


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
    order = np.lexsort((ends, starts, -scores, groups))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    offset = groups * (int(ends.max(initial=0)) + 1)  # on one axis, groups cannot touch
    starts, ends = starts + offset, ends + offset
    alive = np.lexsort((rank, starts))
    kept = [np.empty(0, dtype=np.int64)]
    while alive.size:
        reach = np.maximum.accumulate(ends[alive])
        first = np.concatenate([[True], starts[alive][1:] >= reach[:-1]])  # of its connected stretch
        leaders = order[np.minimum.reduceat(rank[alive], np.flatnonzero(first))]
        kept.append(leaders)
        leader = leaders[np.cumsum(first) - 1]
        share = _overlap_share(starts, ends, leader, alive, overlap)
        alive = alive[(share <= threshold) & (alive != leader)]
    return order[np.sort(rank[np.concatenate(kept)])]


def _overlap_share(
    starts: np.ndarray, ends: np.ndarray, better: np.ndarray, lower: np.ndarray, overlap: str
) -> np.ndarray:
    common = np.minimum(ends[better], ends[lower]) - np.maximum(starts[better], starts[lower])
    common = np.maximum(common, 0)
    whole = ends[lower] - starts[lower]
    if overlap == "shorter":
        whole = np.minimum(whole, ends[better] - starts[better])
    elif overlap == "union":
        whole = whole + (ends[better] - starts[better]) - common
    return np.divide(common, whole, out=np.zeros(len(common)), where=whole > 0)
