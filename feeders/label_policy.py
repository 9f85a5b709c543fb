"""Label policy: how overlapping labels, unannotated frames and long clips are treated.

The policy is four settings of the group `data`: overlaps, gaps, max_frames and length_counts.
"""

import numpy as np

from utils.config import DataSettings


def corrected_policy(data: DataSettings) -> DataSettings:
    """The settings with the label policy of the corrected evaluation (docs/released.md): all labels count.

    `max_frames` stays as it is.
    """
    return data.model_copy(update={"overlaps": "all", "gaps": "background", "length_counts": "clip"})


def is_too_long(annotated: np.ndarray, data: DataSettings) -> bool:
    """Whether a clip is left out because of its length. `annotated` as in `used_labels`."""
    return (annotated.sum() if data.length_counts == "annotated" else len(annotated)) > data.max_frames


def used_labels(
    labels: np.ndarray, annotated: np.ndarray, data: DataSettings, untimed: np.ndarray | None = None
) -> np.ndarray | None:
    """Labels (T, K) bool of a clip → its labels (T', K) under the policy; None if the clip is left out.

    `gaps: removed` removes unannotated frames from the labels but not from the motion, as the released code does. So
    labels after a gap move to earlier frames, and the clip is cut to the length T' of its labels.

    Args:
        annotated: (T,) bool, frames that any annotation covers.
        untimed: (K,) bool, classes of the clip whose times are not known. A clip with such a class is kept even if none
            of its frames has a label.
    """
    if is_too_long(annotated, data):
        return None
    if data.gaps == "removed":
        labels = labels[annotated]
    if data.overlaps == "lowest":
        labels = labels & (labels.cumsum(axis=1) == 1)  # the first class of each frame
    has_class = labels.any() or (untimed is not None and untimed.any())
    return labels if has_class else None
