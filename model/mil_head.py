"""Multiple-instance head: cosine classifier and multi-temperature pooling over time (FAC-Net, Huang et al. 2021)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class View(NamedTuple):
    """What one head says of a batch; the last of the K+1 classes is background.

    video_logits: (N, K+1); their sigmoid is the video probability.
    frame_scores: (N, T, K+1), the class activation sequence; its softmax over classes is the frame probability. Padding
        holds zeros.
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

    def forward(self, features: Tensor, mask: Tensor, lengths: Tensor, frames: int) -> View:
        """Score clips.

        Args:
            features: (N, T', C) of the backbone.
            mask: (N, T') which of them are real.
            lengths: (N,) real frames of each clip at full rate.
            frames: T.
        """
        cosine = F.linear(F.normalize(features, dim=-1), F.normalize(self.prototypes, dim=-1))
        scores = self.scale * cosine  # (N, T', K+1)
        return View(self.pool(scores, mask), stretch(scores, mask.sum(1), lengths, frames))

    def pool(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Pool frame scores (N, T', K+1) to video logits (N, K+1): v_τ = Σ_t softmax_t(τ·s)·s, 2·mean_τ v_τ."""
        padding = ~mask.unsqueeze(-1)
        pooled = [
            ((tau * scores).masked_fill(padding, -torch.inf).softmax(dim=1) * scores).sum(dim=1)
            for tau in self.temperatures
        ]
        return 2 * torch.stack(pooled).mean(dim=0)


def stretch(scores: Tensor, source: Tensor, target: Tensor, frames: int) -> Tensor:
    """Linear interpolation along time, first and last real frames aligned.

    Each clip is stretched by its own lengths, so a padded clip gets the scores that it gets alone.

    Args:
        scores: (N, T', K).
        source, target: (N,) int64, real frames of each clip before and after.
        frames: T.

    Returns:
        (N, T, K), zeros in the padding.
    """
    last = (source - 1).unsqueeze(1)  # (N, 1)
    frame = torch.arange(frames, device=scores.device)
    position = frame * (last.to(scores.dtype) / (target - 1).clamp(min=1).unsqueeze(1))  # (N, T)
    left = torch.minimum(position.floor().long(), last)
    right = torch.minimum(left + 1, last)
    weight = (position - left).unsqueeze(-1)

    def take(index: Tensor) -> Tensor:
        return scores.gather(1, index.unsqueeze(-1).expand(-1, -1, scores.shape[-1]))

    padding = (frame >= target.unsqueeze(1)).unsqueeze(-1)
    return ((1 - weight) * take(left) + weight * take(right)).masked_fill(padding, 0)
