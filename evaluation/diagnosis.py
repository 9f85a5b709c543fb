"""Why detections are wrong and which truth they miss: the idea of DETAD (Alwassel et al. 2018) for many labels a frame.

A detection is *correct* where it takes a true segment as in detection mAP at TIOU. Every other one is a false
positive of exactly one kind, by the best tIoU that it has in its clip with a true segment of its own class (own) and
of any other class (other):

    double detection            own >= TIOU: all such segments are taken by better-scored detections
    poor boundary               LOWEST <= own < TIOU
    wrong class                 own < LOWEST, other >= TIOU
    wrong class and boundary    own < LOWEST, LOWEST <= other < TIOU
    background                  own < LOWEST, other < LOWEST

Classes may overlap in time (a turn while walking), so its own class is asked first: a "walk" that lies near a true
"walk" is not of the wrong class, however well it fits a "turn" at the same time. Detections of classes without a true
segment take no part, as they do not in mAP.

Kinds are counted among the k·G best of each class, G being its number of true segments, k = 1 … 10. Missed truth, and
what mending is worth, are about all detections. Mended, a detection has the class and ends of the true segment of that
best tIoU; double detections and background go, and so does what would become a double detection by mending.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array

from evaluation.localization import Detections
from evaluation.metrics import detection_map, match, pairs, ranking
from utils.skeleton import FPS

TIOU, LOWEST = 0.5, 0.1  # the lower bound is DETAD's
MOST_G = 10  # of DETAD
KINDS = (
    "correct",
    "double detection",
    "poor boundary",
    "wrong class",
    "wrong class and boundary",
    "background",
)
CORRECT, DOUBLE, BOUNDARY, CLASS, BOTH, BACKGROUND = range(len(KINDS))
DURATIONS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds from which a bucket begins
ACTIONS = (1, 2, 3, 5, 9)  # true segments in the clip, likewise


class Missed(NamedTuple):
    """A group of true segments, and how many of them no detection takes."""

    group: str
    segments: int
    missed: int


@dataclass(frozen=True)
class Diagnosis:
    """Figures of one diagnosis.

    profile (MOST_G, 6) int: of the k·G best detections of each class, how many are of each kind. true_segments is the
    sum of all G. map is detection mAP at TIOU in percent, mended what it would be without each kind of error, and
    without all of them ("all"); not a number where there is no truth. missed by duration, by actions in the clip and
    by class.
    """

    classes: tuple[str, ...]
    true_segments: int
    profile: np.ndarray
    map: float
    mended: dict[str, float]
    missed: dict[str, list[Missed]]

    def to_dict(self) -> dict[str, Any]:
        """All figures for JSON, not-a-number as None."""
        return {
            "tIoU": TIOU,
            "lowest_tIoU": LOWEST,
            "true_segments": self.true_segments,
            "best_detections": {
                f"{k}G": dict(zip(KINDS, counts, strict=True)) for k, counts in enumerate(self.profile.tolist(), 1)
            },
            "mAP": _plain(self.map),
            "mAP_mended": {kind: _plain(value) for kind, value in self.mended.items()},
            "missed": {by: [group._asdict() for group in groups] for by, groups in self.missed.items()},
        }


def diagnose(detections: Detections, truth: Detections, classes: Sequence[str]) -> Diagnosis:
    """Diagnose detections against true segments that do not overlap within a clip and class, such as runs of labels."""
    counts = np.bincount(truth.label, minlength=len(classes))
    ranked = detections.where(ranking(detections, len(classes)))
    ranked = ranked.where(counts[ranked.label] > 0)
    taken = match(ranked, truth, [TIOU])[0]
    kind, target = kinds(ranked, truth, taken)
    place = _place_in_class(ranked.label)
    profile = [np.bincount(kind[place < k * counts[ranked.label]], minlength=len(KINDS)) for k in range(1, MOST_G + 1)]
    errors = range(DOUBLE, len(KINDS))
    mended = {KINDS[error]: _map(mend(ranked, truth, taken, target, kind == error), truth, classes) for error in errors}
    mended["all"] = _map(mend(ranked, truth, taken, target, kind != CORRECT), truth, classes)
    found = np.zeros(len(truth), dtype=bool)
    found[taken[taken >= 0]] = True
    return Diagnosis(
        classes=tuple(classes),
        true_segments=len(truth),
        profile=np.array(profile),
        map=_map(ranked, truth, classes),
        mended=mended,
        missed=_missed(truth, found, counts, classes),
    )


def kinds(ranked: Detections, truth: Detections, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kind of each ranked detection (n,), and the true segment (n,) that it should have been; -1 for none.

    `taken` (n,) is the true segment that each one takes, or -1.
    """
    own, own_segment = _best(pairs(ranked, truth, LOWEST), len(ranked))
    crossed, source = _as_other_classes(ranked, truth)
    found = ((source[detection], *rest) for detection, *rest in pairs(crossed, truth, LOWEST))
    other, other_segment = _best(found, len(ranked))
    near, other_near = own >= LOWEST, other >= LOWEST
    cases = [taken >= 0, own >= TIOU, near, other >= TIOU, other_near]
    kind = np.select(cases, [CORRECT, DOUBLE, BOUNDARY, CLASS, BOTH], BACKGROUND)
    target = np.select([kind == BOUNDARY, (kind == CLASS) | (kind == BOTH)], [own_segment, other_segment], -1)
    return kind, target


def mend(
    ranked: Detections, truth: Detections, taken: np.ndarray, target: np.ndarray, chosen: np.ndarray
) -> Detections:
    """The detections with the `chosen` ones (n,) bool as they should have been; no double one comes of it."""
    moved = np.flatnonzero(chosen & (target >= 0))
    segments, label = ranked.segments.copy(), ranked.label.copy()
    segments[moved], label[moved] = truth.segments[target[moved]], truth.label[target[moved]]
    kept = np.flatnonzero(~chosen | (target >= 0))
    mended = replace(ranked, segments=segments, label=label).where(kept)
    order = ranking(mended, int(truth.label.max(initial=-1)) + 1)
    mended, kept = mended.where(order), kept[order]
    right = match(mended, truth, [TIOU])[0] >= 0
    return mended.where(right | ~(chosen | (taken >= 0))[kept])


def frame_confusion(clips: Iterable[tuple[np.ndarray, np.ndarray]]) -> csr_array:
    """Frames by true class (rows) and most probable class (columns), (K+1, K+1), background last.

    A frame counts once: under the most probable class where that is among its classes, else in equal parts under
    each of its classes. So the diagonal's share of the whole is the frame accuracy.

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


def _best(found: Iterable[tuple[np.ndarray, ...]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The best tIoU of each of `count` detections in blocks of pairs, and its true segment; 0 and -1 for none."""
    blocks = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)), *found]
    detection, segment, value = (np.concatenate(part) for part in zip(*blocks, strict=True))
    order = np.lexsort((segment, -value, detection))
    detection, first = np.unique(detection[order], return_index=True)
    best, best_segment = np.zeros(count), np.full(count, -1)
    best[detection], best_segment[detection] = value[order][first], segment[order][first]
    return best, best_segment


def _as_other_classes(ranked: Detections, truth: Detections) -> tuple[Detections, np.ndarray]:
    """Every detection once for each other class that is true in its clip, as that class; and where it came from."""
    clip, label = np.unique(np.stack([truth.clip, truth.label], axis=1), axis=0).T
    first = np.searchsorted(clip, ranked.clip, side="left")
    count = np.searchsorted(clip, ranked.clip, side="right") - first
    source = np.repeat(np.arange(len(ranked)), count)
    within = np.arange(len(source)) - np.repeat(count.cumsum() - count, count)
    label = label[first[source] + within]
    others = label != ranked.label[source]
    source = source[others]
    return replace(ranked.where(source), label=label[others]), source


def _place_in_class(label: np.ndarray) -> np.ndarray:
    """How many before each one have its label, (n,)."""
    order = np.argsort(label, kind="stable")
    first = np.searchsorted(label[order], label[order], side="left")
    place = np.empty(len(label), dtype=np.int64)
    place[order] = np.arange(len(label)) - first
    return place


def _missed(
    truth: Detections, found: np.ndarray, counts: np.ndarray, classes: Sequence[str]
) -> dict[str, list[Missed]]:
    seconds = (truth.segments[:, 1] - truth.segments[:, 0]) / FPS
    actions = np.bincount(truth.clip)[truth.clip]
    missed = np.bincount(truth.label[~found], minlength=len(classes))
    return {
        "duration in seconds": _grouped(seconds, DURATIONS, found),
        "actions in the clip": _grouped(actions, ACTIONS, found),
        "class": [Missed(classes[k], int(counts[k]), int(missed[k])) for k in np.flatnonzero(counts)],
    }


def _grouped(values: np.ndarray, edges: Sequence[float], found: np.ndarray) -> list[Missed]:
    """Missed ones by [low, high) of neighbouring edges; the last group is open."""
    groups = []
    for low, high in itertools.pairwise([*edges, np.inf]):
        inside = (values >= low) & (values < high)
        last = high - 1 if values.dtype.kind == "i" else high  # whole numbers name the last one that they take
        name = f"{low:g} and more" if high == np.inf else f"{low:g}" if last == low else f"{low:g} to {last:g}"
        groups.append(Missed(name, int(inside.sum()), int((inside & ~found).sum())))
    return groups


def _map(detections: Detections, truth: Detections, classes: Sequence[str]) -> float:
    ap = detection_map(detections, truth, len(classes), [TIOU])[0]
    return float(np.nanmean(ap)) if not np.isnan(ap).all() else float("nan")


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
