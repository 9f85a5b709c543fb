"""Micro-batches: the parts of a training batch, and the normalization of their losses.

Each optimizer step sees one batch. Its clips are distributed over the ranks, and on each rank over `train.accumulate`
passes. A micro-batch is what one rank computes in one pass.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from feeders.augment import augment
from feeders.batches import Batch, Loader, TrainBatches, balance, collate
from feeders.dataset import SkeletonClips
from utils import distributed
from utils.config import Settings
from utils.distributed import LossNormalization

FRAME_MULTIPLE = 64  # a compiled or recorded network gets T in multiples of this, so that few shapes occur


class MicroBatch(NamedTuple):
    """The clips of a micro-batch, and what training must know about the other ranks."""

    epoch: int
    local: list[int]  # indices of this rank's clips in the dataset; may be empty
    padded: int  # T to which these clips are padded
    loss_normalization: LossNormalization  # turns this rank's losses into its part of the step's losses
    frames: int  # real frames of all ranks in this pass
    last: bool  # whether the optimizer steps after this pass


@dataclass
class MicroBatches:
    """The micro-batches of one rank.

    All ranks have the same number of micro-batches. The micro-batches of one pass have similar numbers of frames.
    """

    batches: TrainBatches  # of the optimizer steps
    accumulate: int  # passes in a step
    mask_padding: bool  # false: padding counts in MIL and multi-view loss, and all clips of a step get the same T
    multiple: int = 1  # if padding is masked, T is rounded up to a multiple of this
    rank: int = 0
    ranks: int = 1

    def of_epoch(self, epoch: int, labelled: np.ndarray) -> list[MicroBatch]:
        """This rank's micro-batches of an epoch. `labelled` (N,) bool: which clips have pseudo-labels."""
        found = []
        for batch in self.batches.of_epoch(epoch):
            groups = balance(self.batches.lengths[batch].tolist(), self.accumulate * self.ranks)
            groups = [[batch[i] for i in group] for group in groups]
            passes = [groups[i : i + self.ranks] for i in range(0, len(groups), self.ranks)]
            passes = [by_rank for by_rank in passes if any(by_rank)]  # a small batch may need fewer passes
            for by_rank in passes:
                found.append(self._micro_batch(epoch, by_rank, batch, labelled, last=by_rank is passes[-1]))
        return found

    def _micro_batch(
        self, epoch: int, by_rank: list[list[int]], batch: list[int], labelled: np.ndarray, last: bool
    ) -> MicroBatch:
        """This rank's micro-batch. `by_rank`: the clips of each rank in this pass; `batch`: the clips of the step."""
        lengths, local, together = self.batches.lengths, by_rank[self.rank], sum(by_rank, [])
        if self.mask_padding:
            longest = [int(lengths[clips].max(initial=1)) for clips in by_rank]
            padded = [math.ceil(T / self.multiple) * self.multiple for T in longest]  # T of each rank
            counted = lengths
        else:
            T = int(lengths[batch].max())
            padded, counted = [T] * self.ranks, np.full_like(lengths, T)
        with_labels, frames_of_ranks = lengths * labelled, int(counted[together].sum())
        normalization = LossNormalization(
            clip_weight=len(local) / len(batch),
            label_weight=float(with_labels[local].sum() / max(1, with_labels[batch].sum())),
            multi_view_weight=float(frames_of_ranks / counted[batch].sum()),
            frames_of_ranks=frames_of_ranks,
            max_padded_frames=max(len(clips) * T for clips, T in zip(by_rank, padded, strict=True)),
        )
        frames = int(lengths[together].sum())
        return MicroBatch(epoch, local, padded[self.rank], normalization, frames, last)


def train_loaders(
    clips: SkeletonClips, settings: Settings, few_shapes: bool = False
) -> Callable[[int, np.ndarray], Loader]:
    """Returns a function that makes the Loader of an epoch, from its number and `labelled` (see `of_epoch`).

    The Loader yields this rank's micro-batches as pairs (Batch, MicroBatch). With `few_shapes`, T is rounded up to a
    multiple of FRAME_MULTIPLE, if padding is masked.
    """
    data, train = settings.data, settings.train
    batches = TrainBatches(clips.lengths, train.batch_size, train.seed, data.bucketing, data.bucket_mix, data.drop_last)
    multiple = FRAME_MULTIPLE if few_shapes else 1
    micro_batches = MicroBatches(
        batches, train.accumulate, settings.model.mask_padding, multiple, distributed.rank(), distributed.size()
    )

    def load(micro: MicroBatch) -> tuple[Batch, MicroBatch]:
        batch = collate([clips[i] for i in micro.local], len(clips.classes), micro.padded)
        return augment(batch, data.mirror, data.scale, train.seed, micro.epoch), micro

    return lambda epoch, labelled: Loader(clips, micro_batches.of_epoch(epoch, labelled), load)
