"""What becomes of overlapping labels, of un-annotated frames and of long clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.config import DataSettings


@dataclass(frozen=True)
class LabelPolicy:
    """What becomes of overlapping labels, of un-annotated frames and of long clips; the values are base.yaml's."""

    overlaps: str
    gaps: str
    max_frames: int
    length_counts: str

    @classmethod
    def of(cls, data: DataSettings) -> LabelPolicy:
        """The policy that the settings name."""
        return cls(data.overlaps, data.gaps, data.max_frames, data.length_counts)

    def corrected(self) -> LabelPolicy:
        """Every label in its place: what the corrected evaluation judges by, whatever training used."""
        return LabelPolicy("all", "background", self.max_frames, "clip")

    def apply(self, labels: np.ndarray, annotated: np.ndarray) -> np.ndarray | None:
        """Dense labels (T, K) and annotated frames (T,) of a clip → its labels, or None if it is left out.

        Under `gaps: removed` un-annotated frames are taken from the labels but not from the motion, so labels
        move up, and the clip ends early: it is as long as its labels.
        """
        counted = annotated.sum() if self.length_counts == "annotated" else len(labels)
        if counted > self.max_frames:
            return None
        if self.gaps == "removed":
            labels = labels[annotated]
        if self.overlaps == "lowest":
            labels = labels & (labels.cumsum(axis=1) == 1)
        return labels if labels.any() else None
