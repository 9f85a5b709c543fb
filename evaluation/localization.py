"""From frame probabilities to detections: proposals, outer-inner contrast scores, suppression (paper, Inference)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evaluation.segments import in_blocks, runs_above, runs_of_classes, suppress
from utils.config import EvalSettings

VALUES_AT_ONCE = 1 << 18  # frames times classes that are worked on together; they fit the cache


class Conventions(NamedTuple):
    """How ends of segments are read and what an absent class counts: where the two evaluations differ.

    past_end: frames past a run's end that its score averages, its stored end covers and suppression counts.
    truth_short: frames that a ground-truth segment lacks at its end.
    overlap: what suppression divides by, where it is not a setting.
    absent_ap: classification AP, in percent, of a class without a positive clip.
    """

    past_end: int
    truth_short: int
    overlap: str | None
    absent_ap: float


CORRECTED = Conventions(past_end=0, truth_short=0, overlap=None, absent_ap=np.nan)
RELEASED = Conventions(past_end=1, truth_short=1, overlap="lower", absent_ap=100.0)
PROTOCOLS = {"corrected": CORRECTED, "released": RELEASED}


@dataclass(frozen=True)
class Detections:
    """Scored segments of many clips, or the ground truth (scores 1).

    clip (n,) int64 index of the clip, label (n,) int64 class index, segments (n, 2) float64 frames
    [start, end), scores (n,) float64.
    """

    clip: np.ndarray
    label: np.ndarray
    segments: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.clip)

    @classmethod
    def of(
        cls, clip: np.ndarray | int, label: np.ndarray | int, segments: np.ndarray, scores: np.ndarray
    ) -> Detections:
        """Detections from arrays of any number type; a single clip, label or score stands for all."""
        segments = np.asarray(segments, dtype=np.float64).reshape(-1, 2)
        count = len(segments)
        whole = (np.broadcast_to(np.asarray(part, dtype=np.int64), count) for part in (clip, label))
        return cls(*whole, segments, np.broadcast_to(np.asarray(scores, dtype=np.float64), count))

    @classmethod
    def concatenate(cls, parts: list[Detections]) -> Detections:
        """All detections of the parts, in their order; none for no part."""
        parts = [cls.of(0, 0, np.empty((0, 2)), 0.0), *parts]
        return cls(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("clip", "label", "segments", "scores")))

    def where(self, choice: np.ndarray) -> Detections:
        """Those that a mask (n,) bool or an index array picks."""
        return Detections(self.clip[choice], self.label[choice], self.segments[choice], self.scores[choice])

    def of_class(self, label: int) -> Detections:
        """Those of one class."""
        return self.where(self.label == label)

    def of_clip(self, clip: int) -> Detections:
        """Those in one clip."""
        return self.where(self.clip == clip)


class BadClipError(ValueError):
    """What is wrong with the clip at position `clip` of those given."""

    def __init__(self, clip: int, reason: str) -> None:
        super().__init__(reason)
        self.clip = clip


def localize(
    frame_probs: Sequence[np.ndarray],
    video_probs: Sequence[np.ndarray],
    settings: EvalSettings,
    conventions: Conventions = CORRECTED,
    background: bool = False,
) -> Detections:
    """Detections in clips, by clip, class, then falling score.

    Runs of frames above each threshold are proposals of a class whose video probability is high enough; a
    proposal scores its mean probability minus a share of that of the margins beside it (AutoLoc, Shou et al.
    2018); the proposals of all thresholds are pooled, and overlapping ones suppressed by class.

    Args:
        frame_probs: (T, K+1) of each clip, background last.
        video_probs: (K+1,) of each clip.
        background: localize the background class (index K) as well.

    Raises:
        BadClipError: a probability is not finite, or the shapes do not fit.
    """
    for clip, (frame, video) in enumerate(zip(frame_probs, video_probs, strict=True)):
        if frame.ndim != 2 or video.shape != frame.shape[1:]:
            raise BadClipError(clip, f"frame probabilities {frame.shape} and video probabilities {video.shape}")
        if not (np.isfinite(frame).all() and np.isfinite(video).all()):
            raise BadClipError(clip, "probabilities that are not finite")
    admitted = np.stack(video_probs).astype(np.float64) >= settings.min_video_score
    clip, label = np.nonzero(admitted if background else admitted[:, :-1])
    frames = np.array([len(frame) for frame in frame_probs])[clip]
    parts = []
    for rows in in_blocks(frames, VALUES_AT_ONCE):
        row, segments, scores = _localize_rows(
            frame_probs, clip[rows], label[rows], frames[rows], settings, conventions
        )
        parts.append(Detections.of(clip[rows][row], label[rows][row], segments, scores))
    return Detections.concatenate(parts)


def _localize_rows(
    frame_probs: Sequence[np.ndarray],
    clip: np.ndarray,
    label: np.ndarray,
    frames: np.ndarray,
    settings: EvalSettings,
    conventions: Conventions,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Detections in rows, each the `frames` of one class in one clip: their row (n,), segments (n, 2), scores (n,).

    The rows lie end to end on one axis, a frame of probability 0 behind each, so that no run reaches from one into
    the next and each has the place for one sum more than it has frames.
    """
    after = (frames + 1).cumsum()
    first = after - (frames + 1)
    probs, sums = np.empty((2, after[-1]))
    probs[after - 1] = sums[first] = 0
    edges = np.flatnonzero(np.diff(clip, prepend=-1, append=-1))
    for start, end in itertools.pairwise(edges.tolist()):
        of_clip, shape = slice(first[start], after[end - 1]), (end - start, frames[start] + 1)
        inside = probs[of_clip].reshape(shape)[:, :-1]
        inside[:] = frame_probs[clip[start]].take(label[start:end], axis=1).T
        np.cumsum(inside, axis=1, out=sums[of_clip].reshape(shape)[:, 1:])
    starts, ends = runs_above(probs, settings.thresholds).T
    long_enough = ends - starts >= settings.min_length
    starts, ends = starts[long_enough], ends[long_enough]
    row = np.searchsorted(first, starts, side="right") - 1
    scores = _contrast(sums, starts, ends, first[row], after[row] - 1, settings, conventions)
    # The probabilities are float32; differences below that would let rounding decide between equal scores.
    scores = scores.astype(np.float32).astype(np.float64)
    segments = np.stack([starts, ends + conventions.past_end], axis=1) - first[row][:, None]
    kept = suppress(
        segments,
        scores,
        conventions.overlap or settings.suppression_overlap,
        settings.suppression_threshold,
        groups=row,
        past_end=conventions.past_end,
    )
    return row[kept], segments[kept], scores[kept]


def _contrast(
    sums: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    settings: EvalSettings,
    conventions: Conventions,
) -> np.ndarray:
    """Mean probability inside each segment minus the weighted mean of the margins beside it, (n,).

    sums holds the total before each frame of its row; each segment [start, end) lies in its row's frames [low, high).
    """
    past = conventions.past_end
    margin = settings.outer_share * (ends - starts)
    before = np.maximum(low, starts - np.ceil(margin).astype(np.int64))
    # The released code rounds the margin up before a segment, down after it, and stops a frame before the clip's end.
    after = ends + past + (np.floor(margin) if past else np.ceil(margin)).astype(np.int64)
    after = np.minimum(after, high - past)
    inner_end = np.minimum(ends + past, high)
    inner = (sums[inner_end] - sums[starts]) / (inner_end - starts)
    outer_frames = (starts - before) + np.maximum(after - (ends + past), 0)
    outer = sums[starts] - sums[before] + np.where(after > ends + past, sums[after] - sums[inner_end], 0.0)
    return inner - settings.outer_weight * outer / np.maximum(outer_frames, 1)


def segmentation(frame_probs: Sequence[np.ndarray]) -> Detections:
    """Segments of clips from their frame probabilities (T, K+1): the runs of each frame's likeliest class, scores 1.

    The last class, background, has segments too.
    """
    return ground_truth([np.arange(probs.shape[1]) == probs.argmax(axis=1, keepdims=True) for probs in frame_probs])


def ground_truth(labels: Sequence[np.ndarray], conventions: Conventions = CORRECTED) -> Detections:
    """Ground-truth segments of clips from their dense labels (T, K) bool: the runs of each class, scores 1."""
    parts = []
    for clips in in_blocks(np.array([frame_labels.size for frame_labels in labels]), VALUES_AT_ONCE):
        clip, label, segments = runs_of_classes(labels[clips])
        parts.append(Detections.of(clips.start + clip, label, segments - [0, conventions.truth_short], 1.0))
    return Detections.concatenate(parts)


def whole_clip_answer(labels: Sequence[np.ndarray], conventions: Conventions = CORRECTED) -> Detections:
    """The answer that knows every clip's classes but not when: each over the whole clip, scores 1."""
    parts = []
    for clip, frame_labels in enumerate(labels):
        present = np.flatnonzero(frame_labels.any(axis=0))
        whole = np.tile([0, len(frame_labels) + conventions.past_end], (len(present), 1))
        parts.append(Detections.of(clip, present, whole, 1.0))
    return Detections.concatenate(parts)
