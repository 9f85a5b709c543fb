"""Evaluates scored clips by one protocol, and the whole-clip baseline for comparison.

Letters: T frames, K action classes; class K is background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from evaluation import metrics
from evaluation.localization import Detections, Protocol, ground_truth, localize, segmentation, whole_clip_baseline
from utils.config import EvalSettings
from utils.errors import UserError

F1_TIOUS = (0.1, 0.25, 0.5)  # F1@10, F1@25, F1@50 of the action segmentation literature


class ClipResult(NamedTuple):
    """A scored clip: frame_probs (T, K+1), video_probs (K+1,) and its labels (T, K) bool."""

    name: str
    frame_probs: np.ndarray
    video_probs: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """Figures of one evaluation in percent; NaN if not defined, such as the detection AP of an absent class.

    The released classification AP of an absent class is 100.
    """

    protocol: str
    classes: tuple[str, ...]
    tious: tuple[float, ...]
    ap: np.ndarray  # (n_tious, K) detection AP
    classification_ap: np.ndarray  # (K,)
    confusion: np.ndarray  # (K+1, K+1) frames by true and most probable class (`metrics.frame_confusion`)
    f1: np.ndarray  # (3, K) segmental F1 at F1_TIOUS
    whole_clip_ap: np.ndarray  # (n_tious, K) detection AP of the whole-clip baseline
    detections: Detections
    names: list[str]  # of the clips
    truth: Detections  # as the protocol reads it

    @property
    def map_at(self) -> np.ndarray:
        """Detection mAP at each tIoU, (n_tious,): the mean over classes that occur."""
        return metrics.nan_mean(self.ap, axis=1)

    @property
    def average_map(self) -> float:
        """Detection mAP averaged over the tIoUs: the main figure."""
        return float(self.map_at.mean())

    @property
    def whole_clip_map_at(self) -> np.ndarray:
        """Detection mAP of the whole-clip baseline at each tIoU, (n_tious,)."""
        return metrics.nan_mean(self.whole_clip_ap, axis=1)

    @property
    def classification_map(self) -> float:
        """Mean of the classification AP over classes that occur (corrected) or all classes (released)."""
        return float(metrics.nan_mean(self.classification_ap))

    @property
    def frame_accuracy(self) -> float:
        """Percentage of the frames whose most probable class is right."""
        return float(100 * self.confusion.trace() / self.confusion.sum())

    @property
    def f1_at(self) -> dict[str, float]:
        """Segmental F1 as F1@10, F1@25 and F1@50: the mean over classes that occur or are predicted."""
        return {f"F1@{100 * t:g}": float(metrics.nan_mean(f1)) for t, f1 in zip(F1_TIOUS, self.f1, strict=True)}

    @property
    def ap_by_class(self) -> dict[str, float]:
        """Detection AP averaged over the tIoUs, by class name."""
        return dict(zip(self.classes, self.ap.mean(axis=0).tolist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """All figures for JSON, NaN as None. The detections are a file of their own."""

        def at_tious(values: np.ndarray) -> dict[str, float]:
            return {f"{tiou:g}": value for tiou, value in zip(self.tious, values, strict=True)}

        baseline = {"mAP": self.whole_clip_map_at.mean(), "mAP_at_tIoU": at_tious(self.whole_clip_map_at)}
        figures = {
            "protocol": self.protocol,
            "clips": len(self.names),
            "mAP": self.average_map,
            "mAP_at_tIoU": at_tious(self.map_at),
            "AP": self.ap_by_class,
            "AP_at_tIoU": {name: at_tious(ap) for name, ap in zip(self.classes, self.ap.T, strict=True)},
            "classification_mAP": self.classification_map,
            "classification_AP": dict(zip(self.classes, self.classification_ap, strict=True)),
            "frame_accuracy": self.frame_accuracy,
            "segmental_F1": self.f1_at,
            "whole_clip_baseline": baseline,
        }
        return metrics.nan_to_none(figures)

    def table(self, other: Evaluation, what: str = "model") -> str:
        """The figures as a text table; `other` is the evaluation by the other protocol."""
        width = max(34, *(len(name) + 2 for name in self.classes))
        head = [*(f"{tiou:g}" for tiou in self.tious), "Avg", "cls mAP", "frame acc", *self.f1_at]
        rows = [(f"{len(self.names)} clips, detection mAP (%) at tIoU", head)]
        for e in (self, other):
            figures = [*e.map_at, e.average_map, e.classification_map, e.frame_accuracy, *e.f1_at.values()]
            rows.append((f"{what}, {e.protocol} evaluation", figures))
        for e in (self, other):
            rows.append((f"whole-clip baseline, {e.protocol}", [*e.whole_clip_map_at, e.whole_clip_map_at.mean()]))
        rows.append((f"AP by class, {self.protocol} evaluation", []))
        for name, ap, classification_ap in zip(self.classes, self.ap.T, self.classification_ap, strict=True):
            rows.append((f"  {name}", [*ap, ap.mean(), classification_ap]))
        return "\n".join(_row(name, cells, width).rstrip() for name, cells in rows)


def evaluate(
    results: Sequence[ClipResult], classes: Sequence[str], settings: EvalSettings, protocol: Protocol
) -> Evaluation:
    """Localize and score clips by one of the two protocols.

    Raises UserError when a clip has probabilities that are not finite.
    """
    names, frame_probs, video_probs, labels = zip(*results, strict=True)
    for clip in results:
        if not (np.isfinite(clip.frame_probs).all() and np.isfinite(clip.video_probs).all()):
            raise UserError(
                f"clip {clip.name}: the network gave probabilities that are not finite; expected numbers from 0 to 1. "
                "Either this clip's joints or the network's weights are damaged: look at the clip, or train again "
                "with a lower train.learning_rate"
            )
    detections = localize(frame_probs, video_probs, settings, protocol)
    action_probs = np.stack(video_probs)[:, : len(classes)]
    video_labels = np.stack([frame_labels.any(axis=0) for frame_labels in labels])
    return replace(
        score_detections(detections, names, labels, classes, settings.tious, protocol),
        classification_ap=metrics.classification_ap(action_probs, video_labels, protocol.absent_ap),
        confusion=metrics.frame_confusion(frame_probs, labels),
        # In both protocols, F1 compares with unshortened true segments
        f1=metrics.segmental_f1(segmentation(frame_probs), ground_truth(labels), len(classes), F1_TIOUS),
    )


def score_detections(
    detections: Detections,
    names: Sequence[str],
    labels: Sequence[np.ndarray],
    classes: Sequence[str],
    tious: Sequence[float],
    protocol: Protocol,
) -> Evaluation:
    """Score detections in clips `names` with frame labels (T, K) bool. Figures that need probabilities are NaN.

    The protocol decides how the truth is read. It does not change the detections.
    """
    truth, baseline = ground_truth(labels, protocol), whole_clip_baseline(labels, protocol)
    return Evaluation(
        protocol=protocol.name,
        names=list(names),
        classes=tuple(classes),
        tious=tuple(tious),
        detections=detections,
        truth=truth,
        ap=metrics.detection_ap(detections, truth, len(classes), tious),
        whole_clip_ap=metrics.detection_ap(baseline, truth, len(classes), tious),
        classification_ap=np.full(len(classes), np.nan),
        confusion=np.full((len(classes) + 1, len(classes) + 1), np.nan),
        f1=np.full((len(F1_TIOUS), len(classes)), np.nan),
    )


def _row(name: str, cells: Sequence[float | str], width: int) -> str:
    texts = [cell if isinstance(cell, str) else "-" if np.isnan(cell) else f"{cell:.2f}" for cell in cells]
    return name.ljust(width) + "".join(text.rjust(max(7, len(text) + 2)) for text in texts)
