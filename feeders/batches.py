"""Clips of unlike length → padded batches of like length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from feeders.dataset import Sample, SkeletonClips
from utils import distributed
from utils.errors import UserError


@dataclass
class Batch:
    """What a model and a feeder agree on.

    joints: (N, C, T, V, M) float32, zeros in the padding; mask: (N, T) bool, real frames first;
    video_labels: (N, K) float32; index: (N,) int64, places in the data set.
    """

    joints: Tensor
    mask: Tensor
    video_labels: Tensor
    index: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; the indices stay on the CPU, where they are used."""
        move = {"device": device, "non_blocking": True}
        return Batch(self.joints.to(**move), self.mask.to(**move), self.video_labels.to(**move), self.index)

    def fit(self, clips: int, frames: int) -> Batch:
        """The first `clips` clips, padded to at least `frames` frames."""
        missing = frames - self.mask.shape[1]
        if clips == len(self.index) and missing <= 0:
            return self
        missing = max(0, missing)
        joints = F.pad(self.joints[:clips], (0, 0, 0, 0, 0, missing))
        return Batch(joints, F.pad(self.mask[:clips], (0, missing)), self.video_labels[:clips], self.index[:clips])

    def pin_memory(self) -> Batch:
        """Called by the loader for copies to a GPU that do not wait."""
        return Batch(self.joints.pin_memory(), self.mask.pin_memory(), self.video_labels.pin_memory(), self.index)


def collate(samples: list[Sample]) -> Batch:
    """Pad to the longest clip with zeros."""
    lengths = torch.tensor([sample.joints.shape[1] for sample in samples])
    C, _, V, M = samples[0].joints.shape
    joints = torch.zeros(len(samples), C, int(lengths.max()), V, M)
    for row, sample in zip(joints, samples, strict=True):
        row[:, : sample.joints.shape[1]] = sample.joints
    return Batch(
        joints=joints,
        mask=torch.arange(joints.shape[2]) < lengths.unsqueeze(1),
        video_labels=torch.stack([sample.video_labels for sample in samples]),
        index=torch.tensor([sample.index for sample in samples]),
    )


class TrainBatches(Sampler[list[int]]):
    """Every clip once an epoch, in random batches. Seed and epoch alone decide the order.

    With bucketing, clips of similar length share a batch. The clips are sorted by length. Each one then moves up or
    down that order by a random number of places. The order is cut into batches, and the batches are shuffled.

    Args:
        lengths: (N,) frames of each clip.
        mix: a clip moves by up to this share of all clips, and by up to one batch at least. So the batches differ
            between epochs even when there are few clips.

    Raises:
        UserError: there are fewer clips than one batch, and `drop_last` drops the rest.
    """

    def __init__(
        self, lengths: np.ndarray, batch_size: int, seed: int, bucketing: bool, mix: float, drop_last: bool
    ) -> None:
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.bucketing, self.mix, self.drop_last = bucketing, mix, drop_last
        self.epoch = 0
        if len(self) == 0:
            raise UserError(
                f"{len(lengths)} training clips make no batch of train.batch_size = {batch_size} clips, and "
                "data.drop_last drops the rest: lower train.batch_size, or set data.drop_last=false"
            )

    def __len__(self) -> int:
        whole, rest = divmod(len(self.lengths), self.batch_size)
        return whole if self.drop_last or not rest else whole + 1

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths))[: len(self) * self.batch_size]
        if self.bucketing:
            order = order[np.argsort(self.lengths[order], kind="stable")]
            reach = max(self.batch_size, self.mix * len(order))
            order = order[np.argsort(np.arange(len(order)) + rng.uniform(-reach, reach, len(order)))]
        batches = [order[i : i + self.batch_size].tolist() for i in range(0, len(order), self.batch_size)]
        for i in rng.permutation(len(batches)) if self.bucketing else range(len(batches)):
            yield batches[i]


class EvalBatches(Sampler[list[int]]):
    """Every clip once, longest first: the batch that needs most memory comes at once. Ranks share the batches out."""

    def __init__(self, lengths: np.ndarray, batch_size: int) -> None:
        order = np.argsort(-lengths, kind="stable").tolist()
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        frames = [float(lengths[batch].sum()) for batch in batches]
        self.batches = [batches[i] for i in distributed.deal(frames, distributed.size())[distributed.rank()]]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def loader(clips: SkeletonClips, batches: Sampler[list[int]], workers: int, device: torch.device) -> DataLoader:
    """A loader of `Batch`es."""
    return DataLoader(
        clips,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )
