"""The terms of the training loss (Yu & Fujiwara 2023). Means are over real frames; `mask` is (N, T) bool."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model.localizer import Output
from utils import distributed
from utils.config import Settings


class Portion(NamedTuple):
    """How much the means over one rank's part of a batch weigh in those over all that a step of the optimizer sees.

    Its share of the step's clips, and of its frames with pseudo-labels; and all ranks' share in this pass of its frames
    that the multi-view loss counts. 1 where the part is the whole.
    """

    clips: float = 1.0
    known: float = 1.0
    counted: float = 1.0

    @classmethod
    def of(
        cls,
        own: list[int],
        together: list[int],
        step: list[int],
        lengths: Tensor,
        known: Tensor,
        mask_padding: bool,
    ) -> Portion:
        """Read it from the clips of this rank's part, of all ranks' in this pass, and of the whole step.

        Args:
            lengths, known: (N,) of all clips, their frames and which have pseudo-labels.
        """

        def share(clips: list[int], of_clips: Tensor) -> float:
            return float(of_clips[clips].sum() / of_clips[step].sum().clamp(min=1))

        ones = torch.ones(len(lengths), dtype=torch.float64)
        counted = lengths.double() if mask_padding else ones  # with padding, all clips of a step are as long
        return cls(
            clips=share(own, ones),
            known=share(own, lengths.double() * known),
            counted=share(together, counted),
        )


WHOLE = Portion()


def objective(
    output: Output,
    video_labels: Tensor,
    mask: Tensor,
    pseudo: tuple[Tensor, Tensor] | None,
    settings: Settings,
    portion: Portion = WHOLE,
) -> dict[str, Tensor]:
    """The loss of a batch and its terms, by name; "total" is the one to minimise.

    Without pseudo-labels: MIL of both views + multi-view agreement. With them the MIL term weighs less, and both
    views learn the refined frame-level labels.

    Args:
        output: of the network on the batch.
        video_labels: (N, K) the classes in each clip.
        mask: (N, T) real frames.
        pseudo: refined labels (N, T, K+1) and which clips have any (N,), or None before refinement starts.
        portion: what part of a step's clips these are; its terms over all ranks and passes add up to the step's.
    """
    first, second = (view.frame_scores for view in output.views)
    mil = portion.clips * sum(mil_loss(view.video_logits, video_labels) for view in output.views)
    counted = mask if settings.model.mask_padding else torch.ones_like(mask)
    multi_view = portion.counted * multi_view_loss(first, second, counted, settings.loss.multi_view_share)
    if settings.loss.detach_multi_view:
        multi_view = multi_view.detach()
    terms = {"mil": mil, "multi_view": multi_view}
    if pseudo is None:
        return {"total": mil + settings.loss.multi_view * multi_view, **terms}
    labels, known = pseudo[0].to(first), mask & pseudo[1].to(mask.device).unsqueeze(1)
    refined = portion.known * (pseudo_label_loss(first, labels, known) + pseudo_label_loss(second, labels, known))
    total = settings.loss.mil_when_refining * mil + settings.loss.multi_view * multi_view + refined
    return {"total": total, **terms, "pseudo_label": refined}


def mil_loss(video_logits: Tensor, video_labels: Tensor) -> Tensor:
    """Binary cross-entropy of (N, K+1) video logits against (N, K) labels, background present in every clip."""
    background = torch.ones_like(video_labels[:, :1])
    target = torch.cat([video_labels, background], dim=1).to(video_logits.dtype)
    reduction = "mean" if len(target) else "sum"  # a rank without a clip has no mean
    return F.binary_cross_entropy_with_logits(video_logits, target, reduction=reduction)


def multi_view_loss(scores1: Tensor, scores2: Tensor, mask: Tensor, share: float) -> Tensor:
    """Disagreement of two views (N, T, K+1) where they agree best.

    Per frame ½ KL(1‖2) + ½ KL(2‖1) of the softmaxed scores; the mean over the `share` of the batch's frames
    with the smallest disagreement, at least one frame. Of several ranks, each gives its share of the sum.
    """
    log1, log2 = scores1.log_softmax(-1), scores2.log_softmax(-1)
    divergence = 0.5 * ((log1.exp() - log2.exp()) * (log1 - log2)).sum(-1)[mask]  # (R,)
    everyone, own = distributed.gather_rows(divergence)
    count = max(1, int(share * len(everyone)))
    chosen = everyone.topk(count, largest=False).indices
    chosen = chosen[(own.start <= chosen) & (chosen < own.stop)] - own.start
    return divergence[chosen].sum() / count


def pseudo_label_loss(scores: Tensor, pseudo: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of frame scores (N, T, K+1) against soft pseudo-labels of that shape, mean over `mask`."""
    per_frame = -(pseudo * scores.log_softmax(-1)).sum(-1)  # (N, T)
    return per_frame.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)
