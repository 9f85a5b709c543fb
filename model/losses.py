"""The terms of the training loss (Yu & Fujiwara 2023). Means are over real frames; `mask` is (N, T) bool."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.localizer import Output
from utils import distributed
from utils.config import Settings
from utils.distributed import LossWeights
from utils.errors import UserError

WHOLE_BATCH = LossWeights()


def objective(
    output: Output,
    video_labels: Tensor,
    mask: Tensor,
    pseudo: tuple[Tensor, Tensor] | None,
    settings: Settings,
    weights: LossWeights = WHOLE_BATCH,
) -> dict[str, Tensor]:
    """The loss of a batch and its terms, by name; "total" is the one to minimise.

    Without pseudo-labels: MIL of both views + multi-view agreement. With them the MIL term weighs less, and both
    views learn the pseudo-labels.

    Args:
        output: of the network on the batch.
        video_labels: (N, K) the classes in each clip.
        mask: (N, T) real frames.
        pseudo: pseudo-labels (N, T, K+1) and which clips have any (N,), or None before refinement starts.
        weights: of a micro-batch. Its weighted terms, added over all ranks and passes, are those of the step.
    """
    first, second = (view.frame_scores for view in output.views)
    mil = weights.clips * sum(mil_loss(view.video_logits, video_labels) for view in output.views)
    counted = mask if settings.model.mask_padding else torch.ones_like(mask)
    multi_view = multi_view_loss(first, second, counted, settings.loss.multi_view_share, weights.frames, weights.rows)
    multi_view = weights.multi_view * multi_view
    if settings.loss.detach_multi_view:
        multi_view = multi_view.detach()
    terms = {"mil": mil, "multi_view": multi_view}
    if pseudo is None:
        return {"total": mil + settings.loss.multi_view * multi_view, **terms}
    labels, labelled = pseudo[0].to(first.dtype), mask & pseudo[1].unsqueeze(1)
    refined = sum(pseudo_label_loss(scores, labels, labelled) for scores in (first, second))
    refined = weights.labelled_frames * refined
    total = settings.loss.mil_when_refining * mil + settings.loss.multi_view * multi_view + refined
    return {"total": total, **terms, "pseudo_label": refined}


def mil_loss(video_logits: Tensor, video_labels: Tensor) -> Tensor:
    """Binary cross-entropy of (N, K+1) video logits against (N, K) labels, background present in every clip."""
    background = torch.ones_like(video_labels[:, :1])
    target = torch.cat([video_labels, background], dim=1).to(video_logits.dtype)
    reduction = "mean" if len(target) else "sum"  # a rank without clips has no mean
    return F.binary_cross_entropy_with_logits(video_logits, target, reduction=reduction)


def multi_view_loss(
    scores1: Tensor, scores2: Tensor, mask: Tensor, share: float, frames: int | None = None, rows: int | None = None
) -> Tensor:
    """Disagreement of two views (N, T, K+1), on the frames where they agree best.

    Per frame ½ KL(1‖2) + ½ KL(2‖1) of the softmaxed scores. The mean is over the `share` of the batch's frames with the
    smallest disagreement, at least one frame. With several ranks the batch is that of all ranks, and each rank returns
    what its own frames add to the mean.

    Args:
        mask: (N, T) the frames to choose from.
        frames: how many frames all ranks' masks hold; None: counts the mask, which makes the program wait for a GPU.
        rows: N·T of the rank that has most; None: this rank's.
    """
    log1, log2 = scores1.log_softmax(-1), scores2.log_softmax(-1)
    divergence = 0.5 * ((log1.exp() - log2.exp()) * (log1 - log2)).sum(-1).masked_fill(~mask, torch.inf).flatten()
    frames = int(mask.sum()) if frames is None else frames
    rows = len(divergence) if rows is None else rows
    own = F.pad(divergence.detach(), (0, rows - len(divergence)), value=torch.inf)
    everyone = distributed.stack(own)  # (ranks, rows)
    count = max(1, int(share * frames))
    smallest = everyone.flatten().topk(count, largest=False).indices
    chosen = torch.zeros_like(everyone, dtype=torch.bool).flatten().index_fill(0, smallest, True).view_as(everyone)
    chosen = chosen[distributed.rank(), : len(divergence)]
    return divergence.masked_fill(~chosen, 0).sum() / count


def pseudo_label_loss(scores: Tensor, pseudo: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of frame scores (N, T, K+1) against soft pseudo-labels of that shape, mean over `mask`."""
    per_frame = -(pseudo * scores.log_softmax(-1)).sum(-1)  # (N, T)
    return per_frame.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


class EpochLosses:
    """Sums of the loss terms over an epoch. They stay on the device, so that the program need not wait for it.

    A loss that is not finite is noticed when the next one comes: by then the device has computed it.

    Args:
        clip_ids: names of the clips, for the message.
    """

    def __init__(self, epoch: int, clip_ids: Sequence[str]) -> None:
        self.epoch, self.clip_ids = epoch, clip_ids
        self.names: list[str] = []
        self.sums: Tensor | float = 0.0
        self.last: tuple[Tensor, Tensor] | None = None

    def add(self, terms: dict[str, Tensor], index: Tensor) -> None:
        """Add the terms of the batch of clips `index` (N,). Raises UserError: those before are not finite."""
        self._check()
        values = torch.stack([term.detach() for term in terms.values()]).double()
        self.names, self.sums, self.last = list(terms), self.sums + values, (values, index)

    def totals(self) -> dict[str, float]:
        """Sums over the epoch and all ranks, by term. Raises UserError: the last terms are not finite."""
        self._check()
        return dict(zip(self.names, distributed.add_up(self.sums).tolist(), strict=True))

    def _check(self) -> None:
        if self.last is None or math.isfinite(self.last[0][0].item()):
            return
        values, index = self.last
        listed = ", ".join(f"{name} {value:g}" for name, value in zip(self.names, values.tolist(), strict=True))
        clips = ", ".join(self.clip_ids[i] for i in index.tolist())
        raise UserError(
            f"epoch {self.epoch}: the loss is not finite ({listed}) on clips {clips}. The last good epoch is kept in "
            "last.pt; look at these clips, or resume with a lower train.learning_rate in another --work-dir"
        )
