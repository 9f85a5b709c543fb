"""Score recordings of any length: whole up to a clip's length, beyond it in windows that fade into each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.localizer import Localizer, frame_probabilities, video_probabilities
from model.mil_head import stretch

OVERLAP = 0.25  # share of the longest window that neighbours have in common


class ScoredWindow(NamedTuple):
    """The next frames of a recording; none of them comes again.

    frame_probs: (T, K+1), background last. gated: the same, but 0 where a class is not in the window's clip-level
    answer, so that no detection can lie there. features: (T, C) of the backbone, brought to every frame.
    video_probs: (K+1,) of the last window that contributed.
    """

    frame_probs: np.ndarray
    gated: np.ndarray
    features: np.ndarray
    video_probs: np.ndarray


def windows(frames: int, longest: int) -> list[tuple[int, int]]:
    """[start, end) of windows of one length, at most `longest`, that cover `frames`; only neighbours overlap."""
    if frames <= longest:
        return [(0, frames)]
    overlap = int(OVERLAP * longest)
    count = math.ceil((frames - overlap) / (longest - overlap))
    length = math.ceil((frames + (count - 1) * overlap) / count)
    starts = [i * (frames - length) // (count - 1) for i in range(count)]
    return [(start, start + length) for start in starts]


@torch.inference_mode()
def score_windows(
    model: Localizer,
    window: Callable[[int, int], Tensor],
    frames: int,
    longest: int,
    min_video_score: float,
    device: torch.device,
) -> Iterator[ScoredWindow]:
    """Score a recording window by window; sets evaluation mode.

    A recording of at most `longest` frames is one window, scored as evaluation scores a clip. In a longer one every
    window is a clip of its own, with its own classes, and where two overlap, the scores go over from one to the other
    in a straight line.

    Args:
        window: gives the network's input (C, T, V, M) of frames [start, end).
        min_video_score: video probability from which on a class counts as being in a window.
    """
    model.eval()
    spans = windows(frames, longest)
    fading: list[np.ndarray] = []  # the last window's scores where it overlaps the next one
    for i, (start, end) in enumerate(spans):
        *rows, video_probs = _score(model, window(start, end).to(device), min_video_score)
        rows = [_faded(before, now) for before, now in zip(fading, rows, strict=True)] if fading else rows
        final = (spans[i + 1][0] if i + 1 < len(spans) else end) - start
        fading = [part[final:] for part in rows]
        yield ScoredWindow(*(part[:final] for part in rows), video_probs)


def _score(model: Localizer, joints: Tensor, min_video_score: float) -> tuple[np.ndarray, ...]:
    """frame_probs, gated, features and video_probs of one window (C, T, V, M)."""
    T = joints.shape[1]
    lengths = torch.tensor([T], device=joints.device)
    output = model(joints.unsqueeze(0), joints.new_ones(1, T, dtype=torch.bool), lengths)
    view = output.views[0]
    frame_probs, video_probs = frame_probabilities(view)[0], video_probabilities(view)[0]
    features = stretch(output.features, torch.full_like(lengths, output.features.shape[1]), lengths, T)[0]
    gated = frame_probs * (video_probs >= min_video_score)
    return tuple(part.float().cpu().numpy() for part in (frame_probs, gated, features, video_probs))


def _faded(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """A window's scores with its first frames going over from those of the window before, (o, K) into (T, K)."""
    share = ((np.arange(len(before), dtype=np.float32) + 0.5) / max(len(before), 1))[:, None]
    return np.concatenate([(1 - share) * before + share * now[: len(before)], now[len(before) :]])
