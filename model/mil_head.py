"""Multiple-instance head: cosine classifier and multi-temperature pooling over time (FAC-Net, Huang et al. 2021)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class View(NamedTuple):
    """The scores that one head gives a batch: a "view" of the paper, not of a camera. The last class is background.

    video_logits: (N, K+1).
    frame_scores: (N, T, K+1), the class activation sequence: scores before the softmax, zeros in the padding (if
        `mask_padding` is true).
    """

    video_logits: Tensor
    frame_scores: Tensor

    @property
    def video_probs(self) -> Tensor:
        """(N, K+1), an independent probability of each class (sigmoid)."""
        return self.video_logits.sigmoid()

    @property
    def frame_probs(self) -> Tensor:
        """(N, T, K+1), the frame probabilities: the softmax of the frame scores over the classes."""
        return self.frame_scores.softmax(dim=-1)


class MILHead(nn.Module):
    """Frame scores from learned class prototypes, video scores by attention pooling.

    Args:
        channels: of the features.
        num_classes: K action classes. Background gets a prototype as well.
        scale: factor on the cosine.
        temperatures: the factors τ. Scores are multiplied by each τ before the softmax of attention pooling. (FAC-Net
            calls them temperatures, although they do not divide.)
    """

    def __init__(self, channels: int, num_classes: int, scale: float, temperatures: list[float]) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.empty(num_classes + 1, channels))
        nn.init.xavier_uniform_(self.prototypes)
        self.scale, self.temperatures = scale, temperatures

    def forward(self, features: Tensor, mask: Tensor, lengths: Tensor, frames: int) -> View:
        """Score clips.

        Args:
            features: (N, T', C) of the backbone.
            mask: (N, T') real frames of the features.
            lengths: (N,) real frames of each clip at full rate.
            frames: T.
        """
        cosine = F.linear(F.normalize(features, dim=-1), F.normalize(self.prototypes, dim=-1))
        scores = self.scale * cosine  # (N, T', K+1)
        return View(self.pool(scores, mask), interpolate(scores, mask.sum(1), lengths, frames))

    def pool(self, scores: Tensor, mask: Tensor) -> Tensor:
        """Pool frame scores s (N, T', K+1) to video logits (N, K+1): 2 · mean_τ v_τ with v_τ = Σ_t softmax_t(τ·s)·s.

        The factor 2 is that of the released code.
        """
        padding = ~mask.unsqueeze(-1)
        pooled = [
            ((tau * scores).masked_fill(padding, -torch.inf).softmax(dim=1) * scores).sum(dim=1)
            for tau in self.temperatures
        ]
        return 2 * torch.stack(pooled).mean(dim=0)


def interpolate(values: Tensor, lengths: Tensor, new_lengths: Tensor, frames: int) -> Tensor:
    """Linear interpolation along time from each clip's first real frame to its last, as in the released code.

    The values are stretched: the last one lies on the clip's last frame (PyTorch's align_corners=True). Each clip has
    its own lengths, so padding does not change its values.

    Args:
        values: (N, T', K).
        lengths: (N,) int64, number of real frames of each clip in `values`.
        new_lengths: (N,) int64, the same in the result.
        frames: T.

    Returns:
        (N, T, K), zeros after the first `new_lengths` frames.
    """
    last = (lengths - 1).unsqueeze(1)  # (N, 1)
    frame = torch.arange(frames, device=values.device)
    position = frame * (last.to(values.dtype) / (new_lengths - 1).clamp(min=1).unsqueeze(1))  # (N, T)
    left = torch.minimum(position.floor().long(), last)
    right = torch.minimum(left + 1, last)
    weight = (position - left).unsqueeze(-1)

    def take(index: Tensor) -> Tensor:
        return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))

    padding = (frame >= new_lengths.unsqueeze(1)).unsqueeze(-1)
    return ((1 - weight) * take(left) + weight * take(right)).masked_fill(padding, 0)
