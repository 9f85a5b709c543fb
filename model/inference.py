"""Run a trained network over clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from model.localizer import Localizer, frame_probabilities, video_probabilities


class ClipScores(NamedTuple):
    """One clip: its index in the data set, frame_probs (T, K+1) and video_probs (K+1,), background last."""

    index: int
    frame_probs: np.ndarray
    video_probs: np.ndarray


@torch.inference_mode()
def score_clips(model: Localizer, batches: Iterable, device: torch.device) -> Iterator[ClipScores]:
    """Score every clip of an iterable of batches with the first view, padding cut off; sets evaluation mode."""
    model.eval()
    for batch in batches:
        batch = batch.to(device)
        view = model(batch.joints, batch.mask).views[0]
        frame_probs = frame_probabilities(view).float().cpu().numpy()
        video_probs = video_probabilities(view).float().cpu().numpy()
        lengths = batch.mask.sum(1).tolist()
        for index, length, frames, video in zip(batch.index.tolist(), lengths, frame_probs, video_probs, strict=True):
            yield ClipScores(index, frames[:length], video)
