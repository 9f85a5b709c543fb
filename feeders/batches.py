"""Padded batches of clips, by default of clips of similar length, and the thread that loads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from feeders.dataset import SkeletonClips
from utils import distributed
from utils.config import Settings
from utils.skeleton import NUM_JOINTS


@dataclass
class Batch:
    """A padded batch of clips: the network's input, and what the losses need. Training adds the pseudo-labels."""

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
        moved = map(move, (self.joints, self.mask, self.lengths, self.video_labels))
        return Batch(*moved, self.index, self.pseudo and tuple(map(move, self.pseudo)))


def collate(clips: SkeletonClips, index: list[int], frames: int | None = None) -> Batch:
    """The clips `index` as one batch, padded with zeros to `frames` (default: those of the longest clip)."""
    index = np.array(index, dtype=np.int64)
    of_clips, lengths = [clips.joints(i) for i in index], clips.lengths[index]
    T = int(lengths.max()) if frames is None else frames
    M = max((x.shape[3] for x in of_clips), default=1)
    joints = np.zeros((len(index), 3, T, NUM_JOINTS, M), dtype=np.float32)
    for n, x in enumerate(of_clips):
        joints[n, :, : x.shape[1], :, : x.shape[3]] = x
    mask, video_labels = np.arange(T) < lengths[:, None], clips.video_labels[index].astype(np.float32)
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


def epoch_batches(lengths: np.ndarray, settings: Settings, epoch: int) -> list[list[int]]:
    """The random batches of an epoch, as indices of clips. `train.seed` and the epoch alone decide them.

    With bucketing, clips are sorted by length, and each clip's place in this order is shifted by a random number of up
    to ± max(data.bucket_mix × number of clips, train.batch_size). Then they are cut into batches, which are shuffled.
    The limit is never below batch_size places, so the batches of small data sets also differ between epochs.

    With `data.drop_last`, all batches are full. The remaining clips are left out. They differ between epochs.

    Args:
        lengths: (N,) frames of each clip.
    """
    data, size = settings.data, settings.train.batch_size
    rng = np.random.default_rng([settings.train.seed, epoch])
    count = len(lengths) - (len(lengths) % size if data.drop_last else 0)
    order = rng.permutation(len(lengths))[:count]
    if data.bucketing:
        order = order[np.argsort(lengths[order], kind="stable")]
        reach = max(size, data.bucket_mix * count)
        order = order[np.argsort(np.arange(count) + rng.uniform(-reach, reach, count))]
    batches = [order[i : i + size].tolist() for i in range(0, count, size)]
    return [batches[i] for i in rng.permutation(len(batches))] if data.bucketing else batches


def eval_loader(clips: SkeletonClips, batch_size: int) -> Loader:
    """Loads this rank's part of `clips` in batches. The longest come first, so a lack of memory shows at once."""
    order = np.argsort(-clips.lengths, kind="stable").tolist()
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    frames = [float(clips.lengths[batch].sum()) for batch in batches]
    own = [batches[i] for i in partition(frames, distributed.size())[distributed.rank()]]
    return Loader(clips, own, lambda batch: collate(clips, batch))


def partition(costs: list[float], groups: int) -> list[list[int]]:
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
