"""Localization in plain loops over frames: the oracle of the tests."""

import math

import numpy as np

from utils.config import EvalSettings

Found = list[tuple[int, int, int, float]]  # class, start, end, score


def proposals(probs: list[float], settings: EvalSettings) -> list[tuple[int, int]]:
    """Runs [start, end) of at least `min_length` frames above each threshold."""
    found = []
    for threshold in settings.thresholds:
        start = None
        for t, p in enumerate([*probs, -1.0]):
            if p > threshold and start is None:
                start = t
            elif p <= threshold and start is not None:
                found += [(start, t)] if t - start >= settings.min_length else []
                start = None
    return found


def mean(values: list[float]) -> float:
    """The mean, 0 of no values."""
    return math.fsum(values) / len(values) if values else 0.0


def corrected_score(probs: list[float], start: int, end: int, settings: EvalSettings) -> float:
    """Mean inside [start, end) minus the weighted mean of the margins beside it."""
    margin = math.ceil(settings.outer_share * (end - start))
    outer = probs[max(0, start - margin) : start] + probs[end : end + margin]
    return mean(probs[start:end]) - settings.outer_weight * mean(outer)


def released_score(probs: list[float], start: int, end: int, settings: EvalSettings) -> float:
    """The released code's score: inside goes one frame past the end, and the margins lie beside that."""
    share = settings.outer_share * (end - start)
    before = range(max(0, int(start - share)), start)
    after = range(end + 1, min(len(probs) - 1, int(end + share + 1)))
    outer = [probs[t] for t in (*before, *after)]
    return mean(probs[start : end + 1]) - settings.outer_weight * mean(outer)


def localize_plainly(
    frame_probs: np.ndarray, video_probs: np.ndarray, settings: EvalSettings, released: bool = False
) -> Found:
    """Detections in one clip with frame_probs (T, K) and video_probs (K,), by the corrected or the released rules."""
    found: Found = []
    for k in range(len(video_probs)):
        if video_probs[k] < settings.min_video_score:
            continue
        probs = frame_probs[:, k].tolist()
        score = released_score if released else corrected_score
        scored = {
            (s, e + released): float(np.float32(score(probs, s, e, settings))) for s, e in proposals(probs, settings)
        }
        kept: Found = []
        for (start, end), value in sorted(scored.items(), key=lambda item: (-item[1], item[0])):
            for _, better_start, better_end, _ in kept:
                common = max(0, min(end, better_end) - max(start, better_start) + released)
                lower, better = end - start + released, better_end - better_start + released
                whole = {"shorter": min(lower, better), "union": lower + better - common, "lower": lower}
                overlap = common / whole["lower" if released else settings.suppression_overlap]
                if overlap > settings.suppression_threshold:
                    break
            else:
                kept.append((k, start, end, value))
        found += kept
    return found
