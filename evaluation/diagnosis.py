"""Why detections are wrong and which true segments they miss: DETAD (Alwassel et al. 2018) for several labels a frame.

A detection is *correct* if it takes a true segment at TIOU, as in detection mAP. Every other detection is a false
positive of exactly one kind. Its kind follows from its highest tIoU with a true segment of its own class in its clip
(own), and from its highest tIoU with a true segment of another class (other):

    double detection            own >= TIOU; better-scored detections have taken all such segments
    localization error          LOWEST <= own < TIOU
    wrong class                 own < LOWEST, other >= TIOU              (DETAD: wrong label error)
    wrong class and boundary    own < LOWEST, LOWEST <= other < TIOU     (DETAD: confusion error)
    background                  own < LOWEST, other < LOWEST

A detection's own class is asked first, because classes may overlap in time (a turn while walking): a "walk" near a
true "walk" does not have the wrong class, even if it fits a "turn" better. Detections of a class that the truth does
not have are left out, as in mAP.

The profile counts kinds among the k·G best detections of each class: G is the number of its true segments, k = 1 … 10.
Missed segments and the effect of fixing errors are about all detections. A fixed detection gets the class and the ends
of the true segment with that highest tIoU. Double detections and background are removed, and so are detections that
would become double detections by being fixed.

Letters: n detections, T frames, K action classes; class K is background.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array

from evaluation.localization import Detections
from evaluation.metrics import detection_map, match, mean_of_numbers, nan_to_none, overlaps_by_clip, ranking
from utils.skeleton import FPS

TIOU, LOWEST = 0.5, 0.1  # LOWEST is DETAD's
MOST_G = 10  # DETAD's
KINDS = ("correct", "double detection", "localization error", "wrong class", "wrong class and boundary", "background")
CORRECT, DOUBLE, LOCALIZATION, CLASS, CLASS_AND_BOUNDARY, BACKGROUND = range(len(KINDS))
# Groups of true segments, by the lower bound of each: by their seconds, and by the true segments in their clip
DURATIONS = {"0 to 0.5": 0.0, "0.5 to 1": 0.5, "1 to 2": 1.0, "2 to 4": 2.0, "4 to 8": 4.0, "8 and more": 8.0}
ACTIONS = {"1": 1, "2": 2, "3 to 4": 3, "5 to 8": 5, "9 and more": 9}


class Missed(NamedTuple):
    """A group of true segments, and how many of them no detection takes."""

    group: str
    segments: int
    missed: int


@dataclass(frozen=True)
class Diagnosis:
    """Figures of one diagnosis. mAP is in percent at TIOU, and NaN if there are no true segments.

    profile (MOST_G, 6) int: number of detections of each kind among the k·G best of each class, for each k.
    true_segments: the sum of G over the classes.
    map: detection mAP.
    fixed: detection mAP if each kind of error were fixed, and if all were ("all").
    missed: true segments that no detection takes, by duration, by number of actions in the clip and by class.
    """

    true_segments: int
    profile: np.ndarray
    map: float
    fixed: dict[str, float]
    missed: dict[str, list[Missed]]

    def to_dict(self) -> dict[str, Any]:
        """All figures for JSON, NaN as None."""
        return nan_to_none(
            {
                "tIoU": TIOU,
                "lowest_tIoU": LOWEST,
                "true_segments": self.true_segments,
                "best_detections": {
                    f"{k}G": dict(zip(KINDS, counts, strict=True)) for k, counts in enumerate(self.profile.tolist(), 1)
                },
                "mAP": self.map,
                "mAP_fixed": self.fixed,
                "missed": {by: [group._asdict() for group in groups] for by, groups in self.missed.items()},
            }
        )


def diagnose(detections: Detections, truth: Detections, classes: Sequence[str]) -> Diagnosis:
    """Diagnose detections against true segments that do not overlap within a clip and class, such as runs of labels."""
    counts = np.bincount(truth.label, minlength=len(classes))
    ranked = detections.where(ranking(detections, len(classes)))
    ranked = ranked.where(counts[ranked.label] > 0)
    taken = match(ranked, truth, [TIOU])[0]
    kind, target = kinds(ranked, truth, taken)
    profile = np.zeros((MOST_G, len(KINDS)), dtype=np.int64)
    for label in np.flatnonzero(counts):
        own = kind[ranked.label == label]
        for k in range(1, MOST_G + 1):
            profile[k - 1] += np.bincount(own[: k * counts[label]], minlength=len(KINDS))
    errors = {KINDS[error]: kind == error for error in range(DOUBLE, len(KINDS))}
    errors["all"] = kind != CORRECT
    found = np.zeros(len(truth), dtype=bool)
    found[taken[taken >= 0]] = True
    return Diagnosis(
        true_segments=len(truth),
        profile=profile,
        map=_map(ranked, truth, classes),
        fixed={name: _map(fix(ranked, truth, taken, target, error), truth, classes) for name, error in errors.items()},
        missed=_missed(truth, found, classes),
    )


def kinds(ranked: Detections, truth: Detections, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kind (n,) of each ranked detection, and index (n,) of the true segment that fixes it; -1 if none does.

    taken (n,): index of the true segment that each detection takes, or -1.
    """
    own, other = np.zeros((2, len(ranked)))  # highest tIoU with a true segment
    own_segment, other_segment = np.full((2, len(ranked)), -1)
    for found, segments, overlap in overlaps_by_clip(ranked, truth):
        same = ranked.label[found][:, None] == truth.label[segments]
        for best, segment, asked in ((own, own_segment, same), (other, other_segment, ~same)):
            values = np.where(asked, overlap, 0)
            best[found] = values.max(axis=1)
            segment[found] = segments[values.argmax(axis=1)]
    cases = [taken >= 0, own >= TIOU, own >= LOWEST, other >= TIOU, other >= LOWEST]
    kind = np.select(cases, [CORRECT, DOUBLE, LOCALIZATION, CLASS, CLASS_AND_BOUNDARY], BACKGROUND)
    of_other = (kind == CLASS) | (kind == CLASS_AND_BOUNDARY)
    return kind, np.select([kind == LOCALIZATION, of_other], [own_segment, other_segment], -1)


def fix(ranked: Detections, truth: Detections, taken: np.ndarray, target: np.ndarray, chosen: np.ndarray) -> Detections:
    """The detections with the `chosen` ones (n,) bool fixed.

    taken and target (n,): index of the true segment that each detection takes, and of the one that fixes it, or -1.
    """
    moved = np.flatnonzero(chosen & (target >= 0))
    segments, label = ranked.segments.copy(), ranked.label.copy()
    segments[moved], label[moved] = truth.segments[target[moved]], truth.label[target[moved]]
    kept = np.flatnonzero(~chosen | (target >= 0))
    fixed = replace(ranked, segments=segments, label=label).where(kept)
    order = ranking(fixed, int(truth.label.max(initial=-1)) + 1)
    fixed, kept = fixed.where(order), kept[order]
    # Fixed detections, and correct ones whose segment a fixed one has taken, are removed unless they take a segment.
    correct = match(fixed, truth, [TIOU])[0] >= 0
    return fixed.where(correct | ~(chosen | (taken >= 0))[kept])


def frame_confusion(clips: Iterable[tuple[np.ndarray, np.ndarray]]) -> csr_array:
    """Number of frames by true class (rows) and most probable class (columns), (K+1, K+1).

    A frame of several classes counts once in all. If its most probable class is one of them, it counts there; else it
    counts in equal parts at each of its classes. So the diagonal's fraction of the total is the frame accuracy.

    Args:
        clips: frame_probs (T, K+1) and labels (T, K) bool of each.
    """
    cells, size = [], 0
    for frame_probs, labels in clips:
        size = frame_probs.shape[1]
        truth = np.concatenate([labels, ~labels.any(axis=1, keepdims=True)], axis=1)
        predicted = frame_probs.argmax(axis=1)
        right = truth[np.arange(len(truth)), predicted]
        truth[right] = False
        truth[right, predicted[right]] = True
        frame, true = np.nonzero(truth)
        cells.append((1 / truth.sum(axis=1)[frame], true, predicted[frame]))
    weight, true, predicted = (np.concatenate(part) for part in zip(*cells, strict=True))
    return coo_array((weight, (true, predicted)), shape=(size, size)).tocsr()


def _missed(truth: Detections, found: np.ndarray, classes: Sequence[str]) -> dict[str, list[Missed]]:
    """Missed true segments by three groupings; found (n,) bool."""
    seconds = (truth.segments[:, 1] - truth.segments[:, 0]) / FPS
    actions = np.bincount(truth.clip)[truth.clip]
    return {
        "duration in seconds": _count(list(DURATIONS), np.digitize(seconds, list(DURATIONS.values())) - 1, found),
        "actions in the clip": _count(list(ACTIONS), np.digitize(actions, list(ACTIONS.values())) - 1, found),
        "class": [group for group in _count(classes, truth.label, found) if group.segments],
    }


def _count(names: Sequence[str], group: np.ndarray, found: np.ndarray) -> list[Missed]:
    segments = np.bincount(group, minlength=len(names)).tolist()
    missed = np.bincount(group[~found], minlength=len(names)).tolist()
    return [Missed(*row) for row in zip(names, segments, missed, strict=True)]


def _map(detections: Detections, truth: Detections, classes: Sequence[str]) -> float:
    return float(mean_of_numbers(detection_map(detections, truth, len(classes), [TIOU])))
