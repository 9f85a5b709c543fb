"""Pieces of steady motion. Where one ends and the next begins, an action may begin or end."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def pieces(joints: Tensor, penalty: float) -> Tensor:
    """The piece of steady motion that each frame of a clip belongs to: joints (C, T, V, M) → numbers from 0 (T,)."""
    edges = torch.zeros(joints.shape[1], dtype=torch.int64)
    edges[change_points(joints.permute(1, 2, 3, 0).flatten(1, 2).numpy(), penalty)] = 1
    return edges.cumsum(0)


def mean_over_pieces(probs: Tensor, pieces: Tensor) -> Tensor:
    """Each frame's probabilities (T, K+1) replaced by the mean over its piece. `pieces` is (T,)."""
    frames = pieces.bincount()  # of each piece
    sums = probs.new_zeros(len(frames), probs.shape[1]).index_add(0, pieces, probs)
    return (sums / frames.unsqueeze(1))[pieces]


def change_points(joints: np.ndarray, penalty: float) -> np.ndarray:
    """The first frames of all pieces but the first, when a clip is cut into pieces of steady motion.

    The cuts minimize a sum: the squared distance of each frame's joint speeds from their mean over its piece, plus a
    constant for each piece. The minimum is exact (optimal partitioning with pruning: PELT, Killick et al. 2012).

    Args:
        joints: (T, V, C).
        penalty: the constant, as a multiple of the variance of the speeds in the clip. The larger, the fewer pieces.

    Returns:
        (n,) int64, rising, each in [1, T).
    """
    frames = len(joints)
    if frames < 2:
        return np.empty(0, np.int64)
    speed = np.linalg.norm(np.gradient(joints.astype(np.float64), axis=0), axis=2)  # (T, V)
    constant = penalty * speed.var(axis=0).sum()
    sums = np.pad(speed.cumsum(0), ((1, 0), (0, 0)))  # of the frames before each frame
    squares = np.pad((speed**2).sum(1).cumsum(), (1, 0))
    least, previous = np.full(frames + 1, np.inf), np.zeros(frames + 1, np.int64)  # of the frames before each cut
    least[0] = -constant
    starts = np.empty(0, np.int64)  # where the last piece may start
    for end in range(1, frames + 1):
        starts = np.append(starts, end - 1)
        distance = squares[end] - squares[starts] - ((sums[end] - sums[starts]) ** 2).sum(1) / (end - starts)
        total = least[starts] + distance
        least[end], previous[end] = total.min() + constant, starts[total.argmin()]
        starts = starts[total <= least[end]]  # a worse start stays worse for every later end
    cuts = [int(previous[frames])]
    while cuts[-1]:
        cuts.append(int(previous[cuts[-1]]))
    return np.array(cuts[-2::-1], np.int64)
