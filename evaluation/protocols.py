"""One evaluation of scored clips, corrected or released, with the whole-clip answer beside it and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from evaluation.localization import (
    PROTOCOLS,
    BadClipError,
    Conventions,
    Detections,
    ground_truth,
    localize,
    segmentation,
    whole_clip_answer,
)
from evaluation.metrics import classification_ap, detection_map, frame_accuracy, segmental_f1
from utils.config import EvalSettings
from utils.errors import UserError

F1_TIOUS = (0.1, 0.25, 0.5)  # F1@10, F1@25, F1@50 of the action segmentation literature


class ClipResult(NamedTuple):
    """A scored clip: frame_probs (T, K+1) and video_probs (K+1,), background last, and its labels (T, K) bool."""

    name: str
    frame_probs: np.ndarray
    video_probs: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """Figures of one evaluation, in percent; not a number where a class does not occur or a score is not defined.

    ap (n_tious, K) detection AP, classification_ap (K,), frame_accuracy, f1 (3, K) segmental F1 at F1_TIOUS,
    whole_clip_ap (n_tious, K) of the answer that knows every clip's classes but not when, detections of the clips
    `names`.
    """

    protocol: str
    classes: tuple[str, ...]
    tious: tuple[float, ...]
    ap: np.ndarray
    classification_ap: np.ndarray
    frame_accuracy: float
    f1: np.ndarray
    whole_clip_ap: np.ndarray
    detections: Detections
    names: list[str]

    @property
    def map_at(self) -> np.ndarray:
        """Detection mAP at each tIoU, (n_tious,): the mean over classes that occur."""
        return _mean(self.ap, axis=1)

    @property
    def average_map(self) -> float:
        """Detection mAP averaged over the tIoUs: the headline figure."""
        return float(self.map_at.mean())

    @property
    def whole_clip_map_at(self) -> np.ndarray:
        """Detection mAP of the whole-clip answer at each tIoU, (n_tious,)."""
        return _mean(self.whole_clip_ap, axis=1)

    @property
    def classification_map(self) -> float:
        """Mean of the classification AP over classes that occur (corrected) or all (released)."""
        return float(_mean(self.classification_ap, axis=0))

    @property
    def f1_at(self) -> dict[str, float]:
        """Segmental F1 as F1@10, F1@25 and F1@50: the mean over classes."""
        return {f"F1@{100 * t:g}": float(f1) for t, f1 in zip(F1_TIOUS, _mean(self.f1, axis=1), strict=True)}

    @property
    def per_class(self) -> dict[str, float]:
        """Detection AP averaged over the tIoUs, by class name."""
        return dict(zip(self.classes, self.ap.mean(axis=0).tolist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """All figures for JSON, not-a-number as None; the detections are a file of their own."""
        at = [f"{tiou:g}" for tiou in self.tious]
        by_class = {name: dict(zip(at, ap, strict=True)) for name, ap in zip(self.classes, self.ap.T, strict=True)}
        return _plain(
            {
                "protocol": self.protocol,
                "clips": len(self.names),
                "mAP": self.average_map,
                "mAP_at_tIoU": dict(zip(at, self.map_at, strict=True)),
                "AP": self.per_class,
                "AP_at_tIoU": by_class,
                "classification_mAP": self.classification_map,
                "classification_AP": dict(zip(self.classes, self.classification_ap, strict=True)),
                "frame_accuracy": self.frame_accuracy,
                "segmental_F1": self.f1_at,
                "whole_clip_answer": {
                    "mAP": self.whole_clip_map_at.mean(),
                    "mAP_at_tIoU": dict(zip(at, self.whole_clip_map_at, strict=True)),
                },
            }
        )

    def table(self, other: Evaluation | None = None, what: str = "model") -> str:
        """The figures as a short table, `other` being the same clips' evaluation by the other protocol."""
        evaluations = [self] if other is None else [self, other]
        width = max(34, *(len(name) + 2 for name in self.classes))
        head = [f"{tiou:g}" for tiou in self.tious] + ["Avg", "cls mAP", "frame acc", *self.f1_at]
        lines = [_row(f"{len(self.names)} clips, detection mAP (%) at tIoU", head, width)]
        for e in evaluations:
            figures = [*e.map_at, e.average_map, e.classification_map, e.frame_accuracy, *e.f1_at.values()]
            lines.append(_row(f"{what}, {e.protocol} evaluation", figures, width))
        for e in evaluations:
            figures = [*e.whole_clip_map_at, e.whole_clip_map_at.mean()]
            lines.append(_row(f"whole-clip answer, {e.protocol}", figures, width))
        lines.append(f"AP by class, {self.protocol} evaluation")
        for k, name in enumerate(self.classes):
            figures = [*self.ap[:, k], self.ap[:, k].mean(), self.classification_ap[k]]
            lines.append(_row(f"  {name}", figures, width))
        return "\n".join(lines)


def evaluate(
    results: Sequence[ClipResult], classes: tuple[str, ...], settings: EvalSettings, protocol: str
) -> Evaluation:
    """Localize and score clips by the "corrected" or the "released" protocol.

    Raises:
        UserError: a clip has probabilities that are not finite.
    """
    conventions = PROTOCOLS[protocol]
    names, frame_probs, video_probs, labels = zip(*results, strict=True)
    try:
        found = localize(frame_probs, video_probs, settings, conventions)
    except BadClipError as error:
        raise UserError(
            f"clip {names[error.clip]}: the network gave {error}; its weights or this clip's joints have gone wrong, "
            "look at the clip, or train anew with a lower train.learning_rate"
        ) from None
    right, frames = np.sum([frame_accuracy(*clip) for clip in zip(frame_probs, labels, strict=True)], axis=0)
    video_labels = np.stack([frame_labels.any(axis=0) for frame_labels in labels])
    return replace(
        score_detections(found, list(names), labels, classes, settings.tious, protocol),
        classification_ap=classification_ap(
            np.stack(video_probs)[:, : len(classes)], video_labels, conventions.absent_ap
        ),
        frame_accuracy=100 * right / frames,
        f1=segmental_f1(segmentation(frame_probs), ground_truth(labels), len(classes), F1_TIOUS),
    )


def score_detections(
    detections: Detections,
    names: list[str],
    labels: Sequence[np.ndarray],
    classes: Sequence[str],
    tious: Sequence[float],
    protocol: str,
) -> Evaluation:
    """Score given detections of clips with dense labels (T, K) bool; what they do not define is not a number.

    The detections' segments are taken as they are; the protocol decides how the truth is read.
    """
    conventions: Conventions = PROTOCOLS[protocol]
    truth = ground_truth(labels, conventions)
    whole = whole_clip_answer(labels, conventions)
    return Evaluation(
        protocol=protocol,
        classes=tuple(classes),
        tious=tuple(tious),
        ap=detection_map(detections, truth, len(classes), tious),
        classification_ap=np.full(len(classes), np.nan),
        frame_accuracy=np.nan,
        f1=np.full((len(F1_TIOUS), len(classes)), np.nan),
        whole_clip_ap=detection_map(whole, truth, len(classes), tious),
        detections=detections,
        names=names,
    )


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is a number; not a number, without a warning, where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, float):  # numpy's float64 is one
        return None if np.isnan(value) else float(value)
    return value


def _row(name: str, cells: Sequence[float | str], width: int) -> str:
    texts = [cell if isinstance(cell, str) else "-" if np.isnan(cell) else f"{cell:.2f}" for cell in cells]
    return name.ljust(width) + "".join(text.rjust(max(7, len(text) + 2)) for text in texts)
