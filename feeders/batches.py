"""Clips of different lengths → padded batches of clips of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from feeders.dataset import PERSONS, Sample, SkeletonClips
from utils import distributed
from utils.errors import UserError
from utils.skeleton import NUM_JOINTS


@dataclass
class Batch:
    """What a model and a feeder agree on.

    Attributes:
        joints: (N, C, T, V, M) float32 metres, zeros in the padding.
        mask: (N, T) bool, real frames first.
        lengths: (N,) int64, real frames of each clip.
        video_labels: (N, K) float32.
        index: (N,) int64, places in the dataset. Stays on the CPU.
        pseudo: pseudo-labels (N, T, K+1) float32 and which clips have any, (N,) bool; None before refinement starts.
    """

    joints: Tensor
    mask: Tensor
    lengths: Tensor
    video_labels: Tensor
    index: Tensor
    pseudo: tuple[Tensor, Tensor] | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`, all but the index; the program does not wait for copies to a GPU."""
        batch = self.pin_memory() if device.type == "cuda" else self
        tensors = (batch.joints, batch.mask, batch.lengths, batch.video_labels, *(batch.pseudo or ()))
        joints, mask, lengths, video_labels, *pseudo = (x.to(device, non_blocking=True) for x in tensors)
        return Batch(joints, mask, lengths, video_labels, self.index, tuple(pseudo) or None)

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, from which a GPU copies by itself; costs nothing a second time."""
        tensors = (self.joints, self.mask, self.lengths, self.video_labels, *(self.pseudo or ()))
        joints, mask, lengths, video_labels, *pseudo = (x.pin_memory() for x in tensors)
        return Batch(joints, mask, lengths, video_labels, self.index, tuple(pseudo) or None)


def collate(samples: list[Sample], classes: int, frames: int | None = None) -> Batch:
    """Pad clips with zeros to T frames: those of the longest clip, or `frames`, which an empty list needs.

    Args:
        classes: number K of action classes.
    """
    N, C = len(samples), 3
    lengths = torch.tensor([sample.joints.shape[1] for sample in samples], dtype=torch.int64)
    T = int(lengths.max()) if frames is None else frames
    joints, video_labels = torch.zeros(N, C, T, NUM_JOINTS, PERSONS), torch.zeros(N, classes)
    for n, sample in enumerate(samples):
        joints[n, :, : lengths[n]] = sample.joints
        video_labels[n] = sample.video_labels
    mask = torch.arange(T) < lengths.unsqueeze(1)
    return Batch(joints, mask, lengths, video_labels, torch.tensor([s.index for s in samples], dtype=torch.int64))


class TrainBatches:
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
        self.bucketing, self.mix = bucketing, mix
        whole, rest = divmod(len(lengths), batch_size)
        self.count = whole if drop_last or not rest else whole + 1
        if self.count == 0:
            raise UserError(
                f"{len(lengths)} training clips make no batch of train.batch_size = {batch_size} clips, and "
                "data.drop_last drops the rest: lower train.batch_size, or set data.drop_last=false"
            )

    def of_epoch(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch, as indices of clips."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.lengths))[: self.count * self.batch_size]
        if self.bucketing:
            order = order[np.argsort(self.lengths[order], kind="stable")]
            reach = max(self.batch_size, self.mix * len(order))
            order = order[np.argsort(np.arange(len(order)) + rng.uniform(-reach, reach, len(order)))]
        batches = [order[i : i + self.batch_size].tolist() for i in range(0, len(order), self.batch_size)]
        return [batches[i] for i in rng.permutation(self.count)] if self.bucketing else batches


class EvalBatches(Sampler[list[int]]):
    """Every clip once, the longest first: the batch that needs most memory comes at once. Ranks share the batches."""

    def __init__(self, lengths: np.ndarray, batch_size: int) -> None:
        order = np.argsort(-lengths, kind="stable").tolist()
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        frames = [float(lengths[batch].sum()) for batch in batches]
        self.batches = [batches[i] for i in distributed.balance(frames, distributed.size())[distributed.rank()]]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def eval_loader(clips: SkeletonClips, batch_size: int, workers: int, device: torch.device) -> DataLoader:
    """Loads `clips` in `Batch`es of this rank, the longest first."""
    return DataLoader(
        clips,
        batch_sampler=EvalBatches(clips.lengths, batch_size),
        collate_fn=partial(collate, classes=len(clips.classes)),
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
