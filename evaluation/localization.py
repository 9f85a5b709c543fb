"""From frame probabilities to detections: proposals, outer-inner contrast scores, suppression.

Letters: T frames, K action classes; class K is background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from evaluation.segments import runs_of_classes, suppress, suppress_softly
from utils.config import EvalSettings


class Protocol(NamedTuple):
    """What differs between the corrected and the released evaluation."""

    name: str
    past_end: int  # frames added to the end of a detection. Suppression adds them a second time when it compares
    truth_short: int  # frames that a true segment lacks at its end
    absent_ap: float  # classification AP, in percent, of a class without a positive clip


CORRECTED = Protocol("corrected", past_end=0, truth_short=0, absent_ap=np.nan)
RELEASED = Protocol("released", past_end=1, truth_short=1, absent_ap=100.0)
PROTOCOLS = (CORRECTED, RELEASED)


@dataclass(frozen=True)
class Detections:
    """Scored segments in many clips. Ground truth has this form too, with scores of 1."""

    clip: np.ndarray  # (n,) int64 index
    label: np.ndarray  # (n,) int64 index of the class
    segments: np.ndarray  # (n, 2) float64 frames [start, end)
    scores: np.ndarray  # (n,) float64

    def __len__(self) -> int:
        return len(self.clip)

    @classmethod
    def of(
        cls, clip: np.ndarray | int, label: np.ndarray | int, segments: np.ndarray, scores: np.ndarray | float
    ) -> Detections:
        """Detections from arrays of any number type. A single clip, label or score applies to all segments."""
        segments = np.asarray(segments, dtype=np.float64).reshape(len(segments), 2)
        count = len(segments)
        clip, label = np.full(count, clip, dtype=np.int64), np.full(count, label, dtype=np.int64)
        return cls(clip, label, segments, np.full(count, scores, dtype=np.float64))

    @classmethod
    def concatenate(cls, parts: Sequence[Detections]) -> Detections:
        """All detections of the parts, in their order."""
        parts = [cls.of(0, 0, np.empty((0, 2)), 0.0), *parts]  # np.concatenate needs at least one
        columns = zip(*((part.clip, part.label, part.segments, part.scores) for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def select(self, choice: np.ndarray) -> Detections:
        """The detections that a mask (n,) bool or an index array selects."""
        return Detections(self.clip[choice], self.label[choice], self.segments[choice], self.scores[choice])

    def of_clip(self, clip: int) -> Detections:
        """The detections in one clip."""
        return self.select(self.clip == clip)


def localize(
    frame_probs: Sequence[np.ndarray],
    video_probs: Sequence[np.ndarray],
    settings: EvalSettings,
    protocol: Protocol = CORRECTED,
) -> Detections:
    """Detections in clips, by clip, then class, then falling score.

    Proposals are the runs of frames above each threshold. A proposal's score is its mean probability minus the weighted
    mean of the margins beside it (outer-inner contrast: AutoLoc, Shou et al. 2018). Proposals of all thresholds
    enter one non-maximum suppression for each class.

    Args:
        frame_probs: (T, K+1) of each clip, finite.
        video_probs: (K+1,) of each clip.
    """
    if protocol is RELEASED:  # no Soft-NMS; overlap is divided by the length of the segment with the lower score
        settings = settings.model_copy(update={"suppression_overlap": "lower", "suppression_sigma": 0.0})
    parts = []
    for clip, (probs, video) in enumerate(zip(frame_probs, video_probs, strict=True)):
        if probs.shape[1:] != video.shape:
            found = f"frame_probs of shape {probs.shape} and video_probs of shape {video.shape}"
            raise ValueError(f"clip {clip} has {found}, expected (T, K+1) and (K+1,), background last")
        for label in np.flatnonzero(video[:-1].astype(np.float64) >= settings.min_video_score):
            segments, scores = _localize_class(probs[:, label].astype(np.float64), settings, protocol)
            parts.append(Detections.of(clip, label, segments, scores))
    return Detections.concatenate(parts)


def _localize_class(probs: np.ndarray, settings: EvalSettings, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Segments (n, 2) and scores (n,) of one class in one clip, from its probabilities (T,)."""
    proposals = runs_of_classes(probs[:, None] > np.array(settings.thresholds))[1]
    proposals = proposals[proposals[:, 1] - proposals[:, 0] >= settings.min_length]
    scores = _contrast(probs, proposals, settings, protocol.past_end)
    # Probabilities are float32. A finer difference between two scores is rounding and must not decide their order.
    scores = scores.astype(np.float32).astype(np.float64)
    segments = proposals + [0, protocol.past_end]
    if settings.suppression_sigma:
        kept, scores = suppress_softly(segments, scores, settings.suppression_sigma)
        return segments[kept], scores
    compared = segments + [0, protocol.past_end]
    kept = suppress(compared, scores, settings.suppression_overlap, settings.suppression_threshold)
    return segments[kept], scores[kept]


def _contrast(probs: np.ndarray, segments: np.ndarray, settings: EvalSettings, past_end: int) -> np.ndarray:
    """Mean of the probabilities (T,) inside each of the segments (n, 2) minus the weighted mean beside it, (n,)."""
    frames = len(probs)
    sums = np.pad(probs.cumsum(), (1, 0))  # sums[t]: total of the frames before t
    starts, ends = segments.T
    margin = settings.outer_share * (ends - starts)
    ends = np.minimum(ends + past_end, frames)
    before = np.maximum(starts - np.ceil(margin), 0).astype(np.int64)
    # The released code rounds the margin up before a segment, down after it, and stops a frame before the clip's end.
    after = np.minimum(ends + (np.floor(margin) if past_end else np.ceil(margin)), frames - past_end)
    after = np.maximum(after, ends).astype(np.int64)
    inner = (sums[ends] - sums[starts]) / (ends - starts)
    outer = (sums[starts] - sums[before]) + (sums[after] - sums[ends])
    outer_frames = (starts - before) + (after - ends)
    return inner - settings.outer_weight * outer / np.maximum(outer_frames, 1)


def segmentation(frame_probs: Sequence[np.ndarray]) -> Detections:
    """Segments of clips from frame probabilities (T, K+1): runs of frames whose most probable class is an action."""
    return _runs([np.arange(probs.shape[1] - 1) == probs.argmax(axis=1, keepdims=True) for probs in frame_probs])


def ground_truth(labels: Sequence[np.ndarray], protocol: Protocol = CORRECTED) -> Detections:
    """Ground-truth segments of clips from frame labels (T, K) bool: the runs of each class, by clip, class and time."""
    runs = _runs(labels)
    return replace(runs, segments=runs.segments - [0, protocol.truth_short])


def whole_clip_baseline(labels: Sequence[np.ndarray], protocol: Protocol = CORRECTED) -> Detections:
    """The whole-clip baseline of labels (T, K): each true class is detected from the clip's first frame to its last.

    It shows the score of a detector that knows which actions a clip has, but not when they occur.
    """
    whole = _runs([np.broadcast_to(mask.any(axis=0), mask.shape) for mask in labels])
    return replace(whole, segments=whole.segments + [0, protocol.past_end])


def _runs(masks: Sequence[np.ndarray]) -> Detections:
    """The runs of true frames in each column of the masks (T, K) of clips, with scores of 1."""
    found = (runs_of_classes(mask) for mask in masks)
    return Detections.concatenate([Detections.of(clip, *run, 1.0) for clip, run in enumerate(found)])
