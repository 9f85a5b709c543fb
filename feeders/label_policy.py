"""Label policy: how overlapping labels, un-annotated frames and long clips are treated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.config import DataSettings


@dataclass(frozen=True)
class LabelPolicy:
    """Which clips and labels are used. The fields are settings of the group `data`."""

    overlaps: str
    gaps: str
    max_frames: int
    length_counts: str

    @classmethod
    def of(cls, data: DataSettings) -> LabelPolicy:
        """The policy in the settings."""
        return cls(data.overlaps, data.gaps, data.max_frames, data.length_counts)

    def corrected(self) -> LabelPolicy:
        """The policy of the corrected evaluation: all labels, unshifted. Only `max_frames` stays as it is."""
        return LabelPolicy("all", "background", self.max_frames, "clip")

    def is_too_long(self, annotated: np.ndarray) -> bool:
        """Whether a clip is left out because of its length. `annotated` as in `apply`."""
        return (annotated.sum() if self.length_counts == "annotated" else len(annotated)) > self.max_frames

    def apply(self, labels: np.ndarray, annotated: np.ndarray, untimed: np.ndarray | None = None) -> np.ndarray | None:
        """Labels (T, K) bool of a clip → its labels (T', K) under this policy; None if the clip is left out.

        `gaps: removed` removes un-annotated frames from the labels but not from the motion, as the released code does.
        So labels after a gap move to earlier frames, and the clip is cut to the length T' of its labels.

        Args:
            annotated: (T,) bool, frames that any annotation covers.
            untimed: (K,) bool, classes of the clip whose times are not known. A clip with such a class is kept even if
                none of its frames has a label.
        """
        if self.is_too_long(annotated):
            return None
        if self.gaps == "removed":
            labels = labels[annotated]
        if self.overlaps == "lowest":
            labels = labels & (labels.cumsum(axis=1) == 1)  # the first class of each frame
        has_class = labels.any() or (untimed is not None and untimed.any())
        return labels if has_class else None
