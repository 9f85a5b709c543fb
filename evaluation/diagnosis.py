"""Why detections are wrong and which true segments they miss: DETAD (Alwassel et al. 2018) for overlapping classes.

A detection is *correct* if it is matched to a true segment at TIOU, as in detection mAP. Every other detection has
exactly one kind of error. The kind depends on its highest tIoU with a true segment of its own class in its clip (own),
and on its highest tIoU with a true segment of another class (other):

    double detection            own >= TIOU, but all such segments are matched to better-scored detections
    localization error          MIN_TIOU <= own < TIOU
    wrong class                 own < MIN_TIOU, other >= TIOU                (DETAD: wrong label error)
    wrong class and boundary    own < MIN_TIOU, MIN_TIOU <= other < TIOU     (DETAD: confusion error)
    background                  own < MIN_TIOU, other < MIN_TIOU

Classes may overlap in time, such as a turn while walking. So a detection with own >= MIN_TIOU never has the wrong
class, even if it fits a segment of another class better. Detections of classes without a true segment are left out, as
in mAP.

The profile is a table. Row k counts the kinds of the k·G best detections of each class, where G is the number of the
class's true segments. To fix an error, a detection gets the class, start and end of the true segment that decided its
kind. Double detections and background are removed, and so are detections that fixing would turn into double detections.

Letters: n detections, K action classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from evaluation.localization import Detections
from evaluation.metrics import detection_ap, match, nan_mean, nan_to_none, overlaps_by_clip, ranking
from utils.skeleton import FPS

TIOU = 0.5
MIN_TIOU = 0.1  # DETAD's; below this tIoU, a detection does not belong to a true segment
MAX_K = 10  # DETAD's largest k
KINDS = ("correct", "double detection", "localization error", "wrong class", "wrong class and boundary", "background")
CORRECT, DOUBLE, LOCALIZATION, CLASS, CLASS_AND_BOUNDARY, BACKGROUND = range(len(KINDS))
# Groups of true segments with their lower bounds: by duration in seconds, and by number of true segments in the clip
DURATIONS = {"0 to 0.5": 0.0, "0.5 to 1": 0.5, "1 to 2": 1.0, "2 to 4": 2.0, "4 to 8": 4.0, "8 and more": 8.0}
ACTIONS = {"1": 1, "2": 2, "3 to 4": 3, "5 to 8": 5, "9 and more": 9}


class Missed(NamedTuple):
    """A group of true segments, and how many of them are matched to no detection."""

    group: str
    segments: int
    missed: int


@dataclass(frozen=True)
class Diagnosis:
    """Figures of one diagnosis. mAP is in percent at TIOU, and NaN if there are no true segments."""

    true_segments: int  # the sum of G over the classes
    profile: np.ndarray  # (MAX_K, 6) int: for each k, detections of each kind among the k·G best of each class
    mean_ap: float
    fixed: dict[str, float]  # mAP if each kind of error were fixed, and if all were ("all")
    missed: dict[str, list[Missed]]  # true segments by duration, by number of actions in the clip and by class

    def to_dict(self) -> dict[str, Any]:
        """All figures for JSON, NaN as None."""
        kinds_of_best = {f"{k}G": dict(zip(KINDS, row, strict=True)) for k, row in enumerate(self.profile.tolist(), 1)}
        missed = {grouping: [group._asdict() for group in groups] for grouping, groups in self.missed.items()}
        counts = {"true_segments": self.true_segments, "best_detections": kinds_of_best}
        figures = {"mAP": self.mean_ap, "mAP_fixed": self.fixed, "missed": missed}
        return nan_to_none({"tIoU": TIOU, "lowest_tIoU": MIN_TIOU, **counts, **figures})


def diagnose(detections: Detections, truth: Detections, classes: Sequence[str]) -> Diagnosis:
    """Diagnose detections against true segments that do not overlap within a clip and class, such as runs of labels."""
    counts = np.bincount(truth.label, minlength=len(classes))
    ranked = detections.select(ranking(detections, len(classes)))
    ranked = ranked.select(counts[ranked.label] > 0)
    matched = match(ranked, truth, [TIOU])[0]
    kind, target = kinds(ranked, truth, matched)
    profile = np.zeros((MAX_K, len(KINDS)), dtype=np.int64)
    for label in np.flatnonzero(counts):
        kinds_of_class = kind[ranked.label == label]
        for k, row in enumerate(profile, start=1):
            row += np.bincount(kinds_of_class[: k * counts[label]], minlength=len(KINDS))
    errors = {KINDS[error]: kind == error for error in range(DOUBLE, len(KINDS))}
    errors["all"] = kind != CORRECT
    is_matched = np.zeros(len(truth), dtype=bool)
    is_matched[matched[matched >= 0]] = True
    return Diagnosis(
        true_segments=len(truth),
        profile=profile,
        mean_ap=_mean_ap(ranked, truth, classes),
        fixed={
            name: _mean_ap(fix(ranked, truth, matched, target, error, len(classes)), truth, classes)
            for name, error in errors.items()
        },
        missed=_missed(truth, is_matched, classes),
    )


def kinds(ranked: Detections, truth: Detections, matched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kind (n,) of each ranked detection, and index (n,) of the true segment that fixes it; -1 if none does.

    matched (n,): index of the true segment that each detection is matched to, or -1.
    """
    own, other = np.zeros((2, len(ranked)))  # highest tIoU with a true segment
    own_segment, other_segment = np.full((2, len(ranked)), -1)
    for found, true, overlap in overlaps_by_clip(ranked, truth):
        same_class = ranked.label[found][:, None] == truth.label[true]
        of_own, of_other = np.where(same_class, overlap, 0), np.where(same_class, 0, overlap)
        own[found], own_segment[found] = of_own.max(axis=1), true[of_own.argmax(axis=1)]
        other[found], other_segment[found] = of_other.max(axis=1), true[of_other.argmax(axis=1)]
    cases = [matched >= 0, own >= TIOU, own >= MIN_TIOU, other >= TIOU, other >= MIN_TIOU]
    kind = np.select(cases, [CORRECT, DOUBLE, LOCALIZATION, CLASS, CLASS_AND_BOUNDARY], BACKGROUND)
    wrong_class = (kind == CLASS) | (kind == CLASS_AND_BOUNDARY)
    return kind, np.select([kind == LOCALIZATION, wrong_class], [own_segment, other_segment], -1)


def fix(
    ranked: Detections,
    truth: Detections,
    matched: np.ndarray,
    target: np.ndarray,
    chosen: np.ndarray,
    num_classes: int,
) -> Detections:
    """The detections with the `chosen` ones (n,) bool fixed.

    matched, target (n,): indices of the true segment that a detection is matched to, and of the one that fixes it, or
    -1.
    """
    moved = chosen & (target >= 0)
    segments, label = ranked.segments.copy(), ranked.label.copy()
    segments[moved], label[moved] = truth.segments[target[moved]], truth.label[target[moved]]
    fixed = replace(ranked, segments=segments, label=label)
    kept = ~chosen | moved  # double detections and background are removed
    # A detection that is fixed now or was correct before, and is matched to no segment now, is a double detection
    fixed, must_match = fixed.select(kept), (chosen | (matched >= 0))[kept]
    order = ranking(fixed, num_classes)
    fixed, must_match = fixed.select(order), must_match[order]
    return fixed.select((match(fixed, truth, [TIOU])[0] >= 0) | ~must_match)


def _missed(truth: Detections, is_matched: np.ndarray, classes: Sequence[str]) -> dict[str, list[Missed]]:
    """Missed true segments by three groupings; is_matched (n,) bool."""
    seconds = (truth.segments[:, 1] - truth.segments[:, 0]) / FPS
    actions = np.bincount(truth.clip)[truth.clip]
    return {
        "duration in seconds": _count(list(DURATIONS), np.digitize(seconds, list(DURATIONS.values())) - 1, is_matched),
        "actions in the clip": _count(list(ACTIONS), np.digitize(actions, list(ACTIONS.values())) - 1, is_matched),
        "class": [group for group in _count(classes, truth.label, is_matched) if group.segments],
    }


def _count(names: Sequence[str], group: np.ndarray, is_matched: np.ndarray) -> list[Missed]:
    segments = np.bincount(group, minlength=len(names)).tolist()
    missed = np.bincount(group[~is_matched], minlength=len(names)).tolist()
    return [Missed(*row) for row in zip(names, segments, missed, strict=True)]


def _mean_ap(detections: Detections, truth: Detections, classes: Sequence[str]) -> float:
    return float(nan_mean(detection_ap(detections, truth, len(classes), [TIOU])))
