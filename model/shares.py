"""A layer's work on a CPU, cut into pieces that are shared among its cores.

PyTorch splits every operation among its threads, each along another dimension: what one core has written another one
reads, and all wait for each other after each. Of many pieces each core does some from beginning to end instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from threading import Barrier
from typing import TypeVar

import numpy as np
import torch

from utils.threads import leave_cores_soon

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def sharers() -> int:
    """How many threads work on shares: PyTorch's, where these would not keep the cores busy while they wait."""
    return torch.get_num_threads() if leave_cores_soon() else 1


def in_shares(pieces: Sequence[Piece], sizes: Sequence[int], task: Callable[[Sequence[Piece]], Result]) -> list[Result]:
    """What `task` gives for each share of the pieces, in their order; for where no gradients are recorded.

    Args:
        sizes: the work that each piece is. Shares are runs of pieces, one for each thread, of about the same work; all
            pieces are one share where they are fewer than threads, and PyTorch's threads work together on each.
        task: is run on all shares at once, so it must not write where another share does.
    """
    threads, inference = sharers(), torch.is_inference_mode_enabled()
    if threads == 1 or len(pieces) < threads:
        return [task(pieces)]
    done = np.cumsum([0, *sizes])
    nearest = np.searchsorted((done[1:] + done[:-1]) / 2, np.linspace(0, done[-1], threads + 1))
    first, *others = [pieces[begin:end] for begin, end in pairwise(nearest) if begin < end]

    def run(share: Sequence[Piece]) -> Result:
        with torch.inference_mode(inference), torch.no_grad():
            return task(share)

    running = [_pool(threads - 1, os.getpid()).submit(run, share) for share in others]
    torch.set_num_threads(1)
    try:
        found = [task(first)]
    finally:
        torch.set_num_threads(threads)
    return found + [share.result() for share in running]


@lru_cache
def _pool(threads: int, _process: int) -> ThreadPoolExecutor:
    """Threads that do not split their operations further, all started; a forked process needs its own."""
    started = Barrier(threads)

    def start() -> None:
        torch.get_num_threads()  # a thread's first look takes over what any thread has set last, so it comes first
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(threads, "share", start)
    list(pool.map(lambda _: started.wait(), range(threads)))
    return pool
