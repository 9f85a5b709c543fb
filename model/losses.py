"""The terms of the training loss (Yu & Fujiwara 2023)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.localizer import Output
from utils import distributed
from utils.config import Settings
from utils.device import is_cuda
from utils.distributed import LossNormalization
from utils.errors import UserError

WHOLE_BATCH = LossNormalization()


def objective(
    output: Output,
    video_labels: Tensor,
    mask: Tensor,
    pseudo: tuple[Tensor, Tensor] | None,
    settings: Settings,
    normalization: LossNormalization = WHOLE_BATCH,
) -> dict[str, Tensor]:
    """The loss of a batch, "total", and its terms by name.

    Without pseudo-labels: the MIL loss of both views + loss.multi_view × the multi-view loss. With pseudo-labels, the
    MIL loss has the weight loss.mil_when_refining, and the cross-entropy of both views and the pseudo-labels is added.

    Args:
        output: of the network on the batch.
        video_labels: (N, K) the classes in each clip.
        mask: (N, T) real frames.
        pseudo: pseudo-labels (N, T, K+1) and which clips have any (N,), or None before refinement starts.
        normalization: weights of the terms of this micro-batch. With them, the terms of all micro-batches on all ranks
            add up to the terms of the step.
    """
    first, second = (view.frame_scores for view in output.views)
    mil = normalization.clip_weight * sum(mil_loss(view.video_logits, video_labels) for view in output.views)
    frame_mask = mask if settings.model.mask_padding else torch.ones_like(mask)
    share, frames = settings.loss.multi_view_share, normalization.frames_of_ranks
    multi_view = multi_view_loss(first, second, frame_mask, share, frames, normalization.max_frames_of_a_rank)
    multi_view = normalization.multi_view_weight * multi_view
    if settings.loss.detach_multi_view:
        multi_view = multi_view.detach()
    terms = {"mil": mil, "multi_view": multi_view}
    if pseudo is None:
        return {"total": mil + settings.loss.multi_view * multi_view, **terms}
    labels, labelled_frames = pseudo[0].to(first.dtype), mask & pseudo[1].unsqueeze(1)
    refined = sum(pseudo_label_loss(scores, labels, labelled_frames) for scores in (first, second))
    refined = normalization.label_weight * refined
    total = settings.loss.mil_when_refining * mil + settings.loss.multi_view * multi_view + refined
    return {"total": total, **terms, "pseudo_label": refined}


def mil_loss(video_logits: Tensor, video_labels: Tensor) -> Tensor:
    """Binary cross-entropy of video logits (N, K+1) and labels (N, K). Background counts as present in every clip."""
    background = torch.ones_like(video_labels[:, :1])
    target = torch.cat([video_labels, background], dim=1).to(video_logits.dtype)
    reduction = "mean" if len(target) else "sum"  # a rank without clips has no mean
    return F.binary_cross_entropy_with_logits(video_logits, target, reduction=reduction)


def multi_view_loss(
    scores1: Tensor,
    scores2: Tensor,
    mask: Tensor,
    share: float,
    frames_of_ranks: int | None = None,
    max_frames_of_a_rank: int | None = None,
) -> Tensor:
    """Disagreement of two views' frame scores (N, T, K+1), averaged over the frames where they agree best.

    The disagreement of a frame is ½ KL(1‖2) + ½ KL(2‖1) of the softmaxed scores. The mean is taken over the frames with
    the smallest disagreement: a fraction `share` of the frames in the mask, and at least one frame. Several ranks
    choose among the frames of all ranks, and each rank returns the contribution of its own frames to the mean.

    Args:
        mask: (N, T) the frames to choose from.
        frames_of_ranks: number of frames in the masks of all ranks. If None, the frames of `mask` are counted, so the
            CPU waits for a GPU.
        max_frames_of_a_rank: the largest N·T among all ranks, padding included (default: N·T of this rank).
    """
    log1, log2 = scores1.log_softmax(-1), scores2.log_softmax(-1)
    divergence = 0.5 * ((log1.exp() - log2.exp()) * (log1 - log2)).sum(-1).masked_fill(~mask, torch.inf).flatten()
    missing = 0 if max_frames_of_a_rank is None else max_frames_of_a_rank - len(divergence)
    padded_divergence = F.pad(divergence.detach(), (0, missing), value=torch.inf)
    gathered = distributed.all_gather(padded_divergence)  # (ranks, max_frames_of_a_rank)
    count = max(1, int(share * (int(mask.sum()) if frames_of_ranks is None else frames_of_ranks)))
    smallest = gathered.flatten().topk(count, largest=False).indices
    chosen = mask.new_zeros(gathered.numel()).index_fill(0, smallest, True).view_as(gathered)
    own = chosen[distributed.rank(), : len(divergence)]
    return divergence.masked_fill(~own, 0).sum() / count


def pseudo_label_loss(scores: Tensor, pseudo: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of frame scores and soft pseudo-labels, both (N, T, K+1), averaged over the mask (N, T)."""
    per_frame = -(pseudo * scores.log_softmax(-1)).sum(-1)  # (N, T)
    return per_frame.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


class EpochLosses:
    """Sums of the loss terms over an epoch. The sums stay on the device.

    `add` checks that the loss of the micro-batch before is finite. On a GPU, it waits until the backward pass of that
    micro-batch has ended. The GPU computes the present backward pass meanwhile.

    Args:
        epoch: counted from 0.
        clip_ids: names of the clips, for the message.
    """

    def __init__(self, epoch: int, clip_ids: Sequence[str]) -> None:
        self.epoch, self.clip_ids = epoch, clip_ids
        self.names: list[str] = []
        self.sums: Tensor | float = 0.0
        # Of the call before: losses on the CPU, the event after their copy (None without a GPU), indices of the clips
        self.last: tuple[Tensor, torch.cuda.Event | None, Tensor] | None = None

    def add(self, terms: dict[str, Tensor], index: Tensor) -> None:
        """Add the terms of the clips `index` (N,). Raises UserError if the loss of the call before is not finite."""
        self._check()
        values = torch.stack([term.detach() for term in terms.values()]).double()
        self.names, self.sums = list(terms), self.sums + values
        copied = torch.cuda.Event() if is_cuda(values.device) else None
        self.last = values.to("cpu", non_blocking=True), copied, index
        if copied:
            copied.record()

    def totals(self) -> dict[str, float]:
        """Sums over the epoch and all ranks, by term. Raises UserError if the last loss is not finite."""
        self._check()
        return dict(zip(self.names, distributed.all_reduce(self.sums).tolist(), strict=True))

    def _check(self) -> None:
        if self.last is None:
            return
        values, copied, index = self.last
        if copied:
            copied.synchronize()
        if math.isfinite(values[self.names.index("total")].item()):
            return
        listed = ", ".join(f"{name} {value:g}" for name, value in zip(self.names, values.tolist(), strict=True))
        clips = ", ".join(self.clip_ids[i] for i in index.tolist()) or "(none: this rank has no clip in this step)"
        kept = "The last good epoch is kept in last.pt" if self.epoch else "No epoch had ended, so nothing is kept"
        raise UserError(
            f"epoch {self.epoch + 1}: the loss is not finite ({listed}) on clips {clips}. {kept}; "
            "look at these clips, or train with a lower train.learning_rate in another --work-dir"
        )
