"""A training batch cut into parts for several ranks, and for one that cannot take it at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from feeders.batches import TrainBatches
from utils.distributed import deal


class Part(NamedTuple):
    """What a rank computes in one pass, by the clips' places in the data set.

    own: this rank's clips, none at times; together: all ranks' in this pass; step: those of all passes that one step of
    the optimizer follows; last: whether it follows now.
    """

    own: list[int]
    together: list[int]
    step: list[int]
    last: bool


class Parts(Sampler[list[int]]):
    """The batches of `order`, each in up to `passes` parts one after another, shared out over `ranks`.

    Every share of a batch has about as many frames. One pass on one rank is the batch as it is.
    """

    def __init__(self, order: TrainBatches, passes: int, rank: int, ranks: int) -> None:
        self.order, self.passes, self.rank, self.ranks = order, passes, rank, ranks

    def __len__(self) -> int:
        return sum(min(self.passes, -(-len(step) // self.ranks)) for step in self.order)

    def __iter__(self) -> Iterator[list[int]]:
        for part in self.of_epoch():
            yield part.own or part.together[:1]  # a loader has to load something; `Batch.fit` drops it

    def of_epoch(self) -> Iterator[Part]:
        """The parts of the order's epoch; it knows as many on every rank."""
        for step in self.order:
            shares = deal(np.asarray(self.order.lengths)[step].tolist(), self.passes * self.ranks)
            shares = [[step[i] for i in share] for share in shares]
            passes = [shares[i : i + self.ranks] for i in range(0, len(shares), self.ranks)]
            passes = [of_ranks for of_ranks in passes if any(of_ranks)]
            for i, of_ranks in enumerate(passes):
                yield Part(of_ranks[self.rank], sum(of_ranks, []), step, last=i == len(passes) - 1)
