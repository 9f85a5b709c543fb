"""The terms of the training loss (Yu & Fujiwara 2023). Means are over real frames; `mask` is (N, T) bool."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mil_loss(video_logits: Tensor, video_labels: Tensor) -> Tensor:
    """Binary cross-entropy of (N, K+1) video logits against (N, K) labels, background present in every clip."""
    background = torch.ones_like(video_labels[:, :1])
    target = torch.cat([video_labels, background], dim=1).to(video_logits.dtype)
    return F.binary_cross_entropy_with_logits(video_logits, target)


def multi_view_loss(scores1: Tensor, scores2: Tensor, mask: Tensor, share: float) -> Tensor:
    """Disagreement of two views (N, T, K+1) where they agree best.

    Per frame ½ KL(1‖2) + ½ KL(2‖1) of the softmaxed scores; the mean over the `share` of the batch's frames
    with the smallest disagreement, at least one frame.
    """
    log1, log2 = scores1.log_softmax(-1), scores2.log_softmax(-1)
    divergence = 0.5 * ((log1.exp() - log2.exp()) * (log1 - log2)).sum(-1)[mask]  # (R,)
    count = max(1, int(share * len(divergence)))
    return divergence.topk(count, largest=False).values.mean()


def pseudo_label_loss(scores: Tensor, pseudo: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of frame scores (N, T, K+1) against soft pseudo-labels of that shape, mean over `mask`."""
    per_frame = -(pseudo * scores.log_softmax(-1)).sum(-1)  # (N, T)
    return per_frame.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


def all_frames(mask: Tensor) -> Tensor:
    """The mask that counts padding as the released code does."""
    return torch.ones_like(mask)
