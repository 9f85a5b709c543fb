"""From frame probabilities to detections: proposals, outer-inner contrast scores, suppression (paper, Inference)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from utils.config import EvalSettings
from utils.segments import runs_of_rows, suppress


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


def localize(
    clip: int,
    frame_probs: np.ndarray,
    video_probs: np.ndarray,
    settings: EvalSettings,
    conventions: Conventions = CORRECTED,
    background: bool = False,
) -> Detections:
    """Detections in one clip, by class, then falling score.

    Runs of frames above each threshold are proposals of a class whose video probability is high enough; a
    proposal scores its mean probability minus a share of that of the margins beside it (AutoLoc, Shou et al.
    2018); the proposals of all thresholds are pooled, and overlapping ones suppressed by class.

    Args:
        clip: index that the detections carry.
        frame_probs: (T, K+1), background last.
        video_probs: (K+1,).
        background: localize the background class (index K) as well.

    Raises:
        ValueError: a probability is not finite, or the shapes do not fit.
    """
    frame_probs, video_probs = np.asarray(frame_probs, np.float64), np.asarray(video_probs, np.float64)
    if frame_probs.ndim != 2 or video_probs.shape != frame_probs.shape[1:]:
        raise ValueError(f"frame probabilities {frame_probs.shape} and video probabilities {video_probs.shape}")
    if not (np.isfinite(frame_probs).all() and np.isfinite(video_probs).all()):
        raise ValueError("probabilities that are not finite")
    candidates = np.flatnonzero(video_probs[: len(video_probs) - (not background)] >= settings.min_video_score)
    probs = frame_probs.T[candidates]  # (candidates, T)
    above = [runs_of_rows(probs > threshold) for threshold in settings.thresholds]
    row = np.concatenate([rows for rows, _ in above])
    segments = np.concatenate([found for _, found in above])
    long_enough = segments[:, 1] - segments[:, 0] >= settings.min_length
    row, segments = row[long_enough], segments[long_enough]
    # The probabilities are float32; differences below that would let rounding decide between equal scores.
    scores = _contrast(probs, row, segments, settings, conventions).astype(np.float32).astype(np.float64)
    segments = segments + [0, conventions.past_end]
    kept = suppress(
        segments,
        scores,
        conventions.overlap or settings.suppression_overlap,
        settings.suppression_threshold,
        groups=row,
        past_end=conventions.past_end,
    )
    return Detections.of(clip, candidates[row[kept]], segments[kept], scores[kept])


def _contrast(
    probs: np.ndarray, row: np.ndarray, segments: np.ndarray, settings: EvalSettings, conventions: Conventions
) -> np.ndarray:
    """Mean probability inside each segment minus the weighted mean of the margins beside it, (n,)."""
    frames = probs.shape[1]
    sums = np.concatenate([np.zeros((len(probs), 1)), probs.cumsum(axis=1)], axis=1)  # (candidates, T+1)
    starts, ends = segments.T
    past = conventions.past_end
    margin = settings.outer_share * (ends - starts)
    before = np.maximum(0, starts - np.ceil(margin).astype(np.int64))
    # The released code rounds the margin up before a segment, down after it, and stops a frame before the clip's end.
    after = ends + past + (np.floor(margin) if past else np.ceil(margin)).astype(np.int64)
    after = np.minimum(after, frames - past)
    inner_end = np.minimum(ends + past, frames)
    inner = (sums[row, inner_end] - sums[row, starts]) / (inner_end - starts)
    outer_frames = (starts - before) + np.maximum(after - (ends + past), 0)
    outer = (
        sums[row, starts]
        - sums[row, before]
        + np.where(after > ends + past, sums[row, after] - sums[row, inner_end], 0.0)
    )
    return inner - settings.outer_weight * outer / np.maximum(outer_frames, 1)


def segmentation(frame_probs: list[np.ndarray]) -> Detections:
    """Segments of clips from their frame probabilities (T, K+1): the runs of each frame's likeliest class, scores 1.

    The last class, background, has segments too.
    """
    parts = []
    for clip, probs in enumerate(frame_probs):
        label, segments = runs_of_rows(np.arange(probs.shape[1])[:, None] == probs.argmax(axis=1))
        parts.append(Detections.of(clip, label, segments, 1.0))
    return Detections.concatenate(parts)


def ground_truth(labels: list[np.ndarray], conventions: Conventions = CORRECTED) -> Detections:
    """Ground-truth segments of clips from their dense labels (T, K) bool: the runs of each class, scores 1."""
    parts = []
    for clip, frame_labels in enumerate(labels):
        label, segments = runs_of_rows(frame_labels.T)
        parts.append(Detections.of(clip, label, segments - [0, conventions.truth_short], 1.0))
    return Detections.concatenate(parts)


def whole_clip_answer(labels: list[np.ndarray], conventions: Conventions = CORRECTED) -> Detections:
    """The answer that knows every clip's classes but not when: each over the whole clip, scores 1."""
    parts = []
    for clip, frame_labels in enumerate(labels):
        present = np.flatnonzero(frame_labels.any(axis=0))
        whole = np.tile([0, len(frame_labels) + conventions.past_end], (len(present), 1))
        parts.append(Detections.of(clip, present, whole, 1.0))
    return Detections.concatenate(parts)
