"""Clips of different lengths → padded batches of clips of similar length, and the thread that loads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from feeders.dataset import Sample, SkeletonClips
from utils import distributed
from utils.errors import UserError
from utils.skeleton import NUM_JOINTS


@dataclass
class Batch:
    """What the network receives from the feeders."""

    joints: Tensor  # (N, C, T, V, M) float32 metres, zeros in the padding and for people who are absent
    mask: Tensor  # (N, T) bool, real frames first
    lengths: Tensor  # (N,) int64, real frames of each clip
    video_labels: Tensor  # (N, K) float32
    index: Tensor  # (N,) int64, indices in the dataset; always on the CPU
    # Pseudo-labels (N, T, K+1) float32 and which clips have any, (N,) bool; None before refinement starts
    pseudo: tuple[Tensor, Tensor] | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`. Copies to a GPU run in the background."""
        batch = self.pin_memory() if device.type == "cuda" else self
        return batch._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, which background copies to a GPU need."""
        return self._map(Tensor.pin_memory)

    def _map(self, move: Callable[[Tensor], Tensor]) -> Batch:
        pseudo = tuple(map(move, self.pseudo)) if self.pseudo else None
        moved = map(move, (self.joints, self.mask, self.lengths, self.video_labels))
        return Batch(*moved, index=self.index, pseudo=pseudo)


def collate(samples: list[Sample], num_classes: int, frames: int | None = None) -> Batch:
    """Make one batch of clips with K classes, padded with zeros to `frames` (default: those of the longest clip)."""
    N, C = len(samples), 3
    lengths = np.array([sample.joints.shape[1] for sample in samples], dtype=np.int64)
    T = int(lengths.max()) if frames is None else frames
    M = max((sample.joints.shape[3] for sample in samples), default=1)
    joints = np.zeros((N, C, T, NUM_JOINTS, M), dtype=np.float32)
    video_labels = np.zeros((N, num_classes), dtype=np.float32)
    for n, sample in enumerate(samples):
        joints[n, :, : lengths[n], :, : sample.joints.shape[3]] = sample.joints.numpy()
        video_labels[n] = sample.video_labels.numpy()
    mask, index = np.arange(T) < lengths[:, None], np.array([sample.index for sample in samples], dtype=np.int64)
    return Batch(*map(torch.from_numpy, (joints, mask, lengths, video_labels, index)))


@dataclass
class Loader:
    """Loads batches in order. One thread loads the next batch while the caller uses the current one.

    Loading computes with NumPy. PyTorch operations in this thread would start their own threads, which compete with the
    threads of the network.
    """

    clips: SkeletonClips
    items: Sequence[Any]  # one for each batch
    load: Callable[[Any], Any]  # makes the batch of an item

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        ready: Future | None = None
        with ThreadPoolExecutor(max_workers=1) as thread:
            for item in self.items:
                following = thread.submit(self.load, item)
                if ready:
                    yield ready.result()
                ready = following
            if ready:
                yield ready.result()


@dataclass
class TrainBatches:
    """Random batches for every epoch. Seed and epoch alone decide them.

    With bucketing, a batch has clips of similar length. A random number of up to ± max(mix × number of clips,
    batch_size) is added to each clip's place in the order of lengths. Without the limit batch_size, small data sets
    would get the same batches in every epoch. The clips are sorted by the sums and cut into batches. Then the batches
    are shuffled.

    Raises UserError if `drop_last` leaves no batch, because there are fewer clips than one batch needs.
    """

    lengths: np.ndarray  # (N,) frames of each clip
    batch_size: int
    seed: int
    bucketing: bool
    mix: float
    drop_last: bool  # leave out random clips in each epoch, as many as do not fill a batch

    def __post_init__(self) -> None:
        whole, rest = divmod(len(self.lengths), self.batch_size)
        self.count = whole if self.drop_last or not rest else whole + 1
        if self.count == 0:
            raise UserError(
                f"{len(self.lengths)} training clips make no batch of train.batch_size = {self.batch_size} clips, and "
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


def eval_loader(clips: SkeletonClips, batch_size: int) -> Loader:
    """Loads this rank's part of `clips` in batches. The longest come first, so a lack of memory shows at once."""
    order = np.argsort(-clips.lengths, kind="stable").tolist()
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    frames = [float(clips.lengths[batch].sum()) for batch in batches]
    own = [batches[i] for i in balance(frames, distributed.size())[distributed.rank()]]
    return Loader(clips, own, lambda batch: collate([clips[i] for i in batch], len(clips.classes)))


def balance(costs: list[float], groups: int) -> list[list[int]]:
    """Distribute items over groups of about equal cost. Returns the indices in each group, in rising order.

    Items are taken by falling cost; each goes to the group with the lowest cost so far.
    """
    members: list[list[int]] = [[] for _ in range(groups)]
    totals = [0.0] * groups
    for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
        least = min(range(groups), key=lambda group: (totals[group], len(members[group])))
        members[least].append(i)
        totals[least] += costs[i]
    return [sorted(group) for group in members]
