"""Multiple-instance head: cosine classifier and multi-temperature pooling over time (FAC-Net, Huang et al. 2021)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.frames import Frames


class View(NamedTuple):
    """What one head says of a batch; the last of the K+1 classes is background.

    video_logits: (N, K+1); their sigmoid is the video probability.
    frame_scores: (N, T, K+1); their softmax over classes is the frame probability. Padding holds zeros.
    """

    video_logits: Tensor
    frame_scores: Tensor


class MILHead(nn.Module):
    """One view: frame scores from learned class prototypes, video scores by attention pooling.

    Args:
        channels: of the features.
        num_classes: K action classes; one prototype more is learned, for background.
        scale: factor on the cosine.
        temperatures: τ of the softmaxes over time, whose pooled scores are averaged.
    """

    def __init__(self, channels: int, num_classes: int, scale: float, temperatures: list[float]) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.empty(num_classes + 1, channels))
        nn.init.xavier_uniform_(self.prototypes)
        self.scale = scale
        self.temperatures = tuple(temperatures)

    def forward(self, features: Tensor, coarse: Frames, fine: Frames) -> View:
        """Features (N, T', C) on the `coarse` frames → a view with its scores on the `fine` frames."""
        cosine = F.linear(F.normalize(features, dim=-1), F.normalize(self.prototypes, dim=-1))
        scores = self.scale * cosine  # (N, T', K+1)
        return View(self.pool(scores, coarse), resample(scores, coarse, fine))

    def pool(self, scores: Tensor, frames: Frames) -> Tensor:
        """Pool frame scores (N, T', K+1) to video logits (N, K+1): v_τ = Σ_t softmax_t(τ·s)·s, 2·mean_τ v_τ."""
        padding = ~frames.mask.unsqueeze(-1)
        pooled = [
            ((tau * scores).masked_fill(padding, -torch.inf).softmax(dim=1) * scores).sum(dim=1)
            for tau in self.temperatures
        ]
        return 2 * torch.stack(pooled).mean(dim=0)


def resample(scores: Tensor, coarse: Frames, fine: Frames) -> Tensor:
    """Linear interpolation along time, (N, T', K+1) → (N, T, K+1), first and last real frames aligned.

    Each clip is stretched by its own lengths, so a padded clip gets the scores that it gets alone.
    """
    last = (coarse.lengths - 1).unsqueeze(1)  # (N, 1)
    T = fine.mask.shape[1]
    step = last.to(scores.dtype) / (fine.lengths - 1).clamp(min=1).unsqueeze(1).to(scores.dtype)
    position = torch.arange(T, device=scores.device, dtype=scores.dtype) * step  # (N, T)
    left = torch.minimum(position.floor().long(), last)
    right = torch.minimum(left + 1, last)
    weight = (position - left).unsqueeze(-1)

    def take(index: Tensor) -> Tensor:
        return scores.gather(1, index.unsqueeze(-1).expand(-1, -1, scores.shape[-1]))

    return ((1 - weight) * take(left) + weight * take(right)).masked_fill(~fine.mask.unsqueeze(-1), 0)
