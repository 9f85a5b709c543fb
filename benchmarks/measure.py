"""How things are timed: against a baseline in turn, by medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch


class Result(NamedTuple):
    """One line of the table: what is counted, by ours and by the baseline; more is better unless `unit` says less."""

    name: str
    unit: str
    ours: float
    baseline: float

    @property
    def ratio(self) -> float:
        return self.ours / self.baseline


def in_turn(repeats: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each piece of work, run in turn after one round of warming up."""
    seconds: list[list[float]] = [[] for _ in works]
    for repeat in range(repeats + 1):
        for work, taken in zip(works, seconds, strict=True):
            began = time.perf_counter()
            work()
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()  # a GPU works on after it was told to
            if repeat:
                taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]
