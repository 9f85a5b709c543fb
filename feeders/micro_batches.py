"""Micro-batches: the parts of a training batch, and the normalization of their losses.

Each optimizer step sees one batch. Its clips are distributed over the ranks, and on each rank over `train.accumulate`
passes. A micro-batch is what one rank computes in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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

    def __post_init__(self) -> None:
        self.lengths = self.batches.lengths
        self.start_epoch(0, np.ones(len(self.lengths), bool))

    def start_epoch(self, epoch: int, labelled: np.ndarray) -> None:
        """Choose the epoch to load next. `labelled` (N,) bool: which clips have pseudo-labels."""
        self.epoch, self.labelled = epoch, labelled

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[MicroBatch]:
        for step in self.batches.of_epoch(self.epoch):
            groups = balance(self.lengths[step].tolist(), self.accumulate * self.ranks)
            groups = [[step[i] for i in group] for group in groups]
            passes = [groups[i : i + self.ranks] for i in range(0, len(groups), self.ranks)]
            passes = [by_rank for by_rank in passes if any(by_rank)]  # a small batch may need fewer passes
            for i, by_rank in enumerate(passes):
                yield self._micro_batch(by_rank, step, last=i == len(passes) - 1)

    def _micro_batch(self, by_rank: list[list[int]], step: list[int], last: bool) -> MicroBatch:
        """This rank's micro-batch. `by_rank`: the clips of each rank in this pass; `step`: the clips of the batch."""
        local, together = by_rank[self.rank], sum(by_rank, [])
        if self.mask_padding:
            longest = [int(self.lengths[clips].max(initial=1)) for clips in by_rank]
            padded = [math.ceil(T / self.multiple) * self.multiple for T in longest]  # T of each rank
            counted = self.lengths
        else:  # padding counts, and all clips of a step have the same T
            longest = int(self.lengths[step].max())
            padded = [longest] * self.ranks
            counted = np.full_like(self.lengths, longest)
        with_labels = self.lengths * self.labelled
        normalization = LossNormalization(
            clip_weight=len(local) / len(step),
            label_weight=float(with_labels[local].sum() / max(1, with_labels[step].sum())),
            multi_view_weight=float(counted[together].sum() / counted[step].sum()),
            frames_of_ranks=int(counted[together].sum()),
            max_padded_frames=max(len(clips) * T for clips, T in zip(by_rank, padded, strict=True)),
        )
        frames = int(self.lengths[together].sum())
        return MicroBatch(self.epoch, local, padded[self.rank], normalization, frames, last)


def train_loader(clips: SkeletonClips, settings: Settings, few_shapes: bool = False) -> Loader:
    """Loads this rank's micro-batches of the epoch that `loader.sampler.start_epoch` has set.

    Yields pairs (Batch, MicroBatch). With `few_shapes`, T is rounded up to a multiple of FRAME_MULTIPLE, if padding is
    masked.
    """
    data, train = settings.data, settings.train
    batches = TrainBatches(clips.lengths, train.batch_size, train.seed, data.bucketing, data.bucket_mix, data.drop_last)
    multiple = FRAME_MULTIPLE if few_shapes else 1
    sampler = MicroBatches(
        batches, train.accumulate, settings.model.mask_padding, multiple, distributed.rank(), distributed.size()
    )

    def load(micro: MicroBatch) -> tuple[Batch, MicroBatch]:
        batch = collate([clips[i] for i in micro.local], len(clips.classes), micro.padded)
        return augment(batch, data.mirror, data.scale, train.seed, micro.epoch), micro

    return Loader(clips, sampler, load)
