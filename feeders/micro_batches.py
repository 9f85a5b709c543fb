"""Micro-batches: the parts of a training batch, and the normalization of their losses.

Each optimizer step sees one batch. Its clips are distributed over the ranks, and on each rank over `train.accumulate`
passes. A micro-batch is what one rank computes in one pass.
"""

import math
from typing import NamedTuple

import numpy as np

from feeders.augment import augment
from feeders.batches import Batch, Loader, collate, epoch_batches, partition
from feeders.dataset import SkeletonClips
from utils import distributed
from utils.config import Settings
from utils.distributed import LossNormalization

FRAME_MULTIPLE = 64  # T is padded to a multiple of this for CUDA graphs and torch.compile, which need few shapes


class MicroBatchPlan(NamedTuple):
    """Which clips a micro-batch has, and what training must know about the other ranks."""

    local: list[int]  # indices of this rank's clips in the dataset; may be empty
    padded_frames: int  # T to which these clips are padded
    loss_normalization: LossNormalization  # turns this rank's losses into its part of the step's losses
    frames: int  # real frames of all ranks in this pass
    ends_step: bool  # whether the optimizer steps after this pass


def micro_batches(
    batch: list[int],
    lengths: np.ndarray,
    labelled: np.ndarray,
    settings: Settings,
    round_frames: bool = False,
    rank: int = 0,
    ranks: int = 1,
) -> list[MicroBatchPlan]:
    """Divide a training batch into micro-batches. Returns the plans of one rank's micro-batches.

    All ranks have the same number of micro-batches. Those of one pass have similar numbers of frames.

    Args:
        batch: the clips of the batch.
        lengths: (N,) frames of all clips.
        labelled: (N,) bool, which clips have pseudo-labels.
        round_frames: round T up to a multiple of FRAME_MULTIPLE, if padding is masked.
    """
    groups = partition(lengths[batch].tolist(), settings.train.accumulate * ranks)
    groups = [[batch[i] for i in group] for group in groups]
    passes = [groups[i : i + ranks] for i in range(0, len(groups), ranks)]
    passes = [by_rank for by_rank in passes if any(by_rank)]  # a small batch may need fewer passes
    multiple = FRAME_MULTIPLE if round_frames else 1
    labelled_frames = lengths * labelled
    result = []
    for by_rank in passes:
        local, together = by_rank[rank], sum(by_rank, [])
        if settings.model.mask_padding:
            padded = [multiple * math.ceil(lengths[clips].max(initial=1) / multiple) for clips in by_rank]
            counted = lengths
        else:  # all clips of a batch are padded to the same T. Padding counts in pooling and in the multi-view loss
            padded = [int(lengths[batch].max())] * ranks
            counted = np.full_like(lengths, padded[0])
        frames_of_ranks = int(counted[together].sum())
        normalization = LossNormalization(
            clip_weight=len(local) / len(batch),
            label_weight=float(labelled_frames[local].sum() / max(1, labelled_frames[batch].sum())),
            multi_view_weight=float(frames_of_ranks / counted[batch].sum()),
            frames_of_ranks=frames_of_ranks,
            max_frames_of_a_rank=max(len(clips) * T for clips, T in zip(by_rank, padded, strict=True)),
        )
        frames = int(lengths[together].sum())
        result.append(MicroBatchPlan(local, padded[rank], normalization, frames, ends_step=by_rank is passes[-1]))
    return result


def train_loader(
    clips: SkeletonClips, settings: Settings, epoch: int, labelled: np.ndarray, round_frames: bool = False
) -> Loader:
    """Loads this rank's micro-batches of an epoch as pairs: batch and plan. Arguments as in `micro_batches`."""
    data, rank, ranks = settings.data, distributed.rank(), distributed.size()
    plans = []
    for batch in epoch_batches(clips.lengths, settings, epoch):
        plans += micro_batches(batch, clips.lengths, labelled, settings, round_frames, rank, ranks)

    def load(plan: MicroBatchPlan) -> tuple[Batch, MicroBatchPlan]:
        batch = collate(clips, plan.local, plan.padded_frames)
        return augment(batch, data.mirror, data.scale, settings.train.seed, epoch), plan

    return Loader(clips, plans, load)
