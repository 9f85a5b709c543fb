"""Timing against a baseline: both run in turn, and their medians are compared."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch


class Result(NamedTuple):
    """One row of the table."""

    name: str
    unit: str  # of ours and of the baseline. It ends with (lower is better) where that is so
    ours: float
    baseline: float
    memory: tuple[float, float] | None = None  # peak GiB on a GPU, of ours and of the baseline; None: not measured


def median_seconds(repeats: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each piece of work. They run in turn, after one round that is not timed."""
    seconds: list[list[float]] = [[] for _ in works]
    for repeat in range(repeats + 1):
        for work, taken in zip(works, seconds, strict=True):
            began = time.perf_counter()
            work()
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()  # a GPU is still busy when the call returns
            if repeat:
                taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]


def gpu_memory(*works: Callable[[], object]) -> tuple[float, ...] | None:
    """The most GPU memory that tensors take while each piece of work runs once, in GiB; None without a GPU."""
    if not torch.cuda.is_initialized():
        return None
    peaks = []
    for work in works:
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        peaks.append(torch.cuda.max_memory_allocated() / 2**30)
    return tuple(peaks)
