"""Pieces of steady motion. Where one ends and the next begins, an action may begin or end."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.streams import people_there


def piece_numbers(joints: Tensor, penalty: float) -> Tensor:
    """The piece of steady motion that each frame belongs to: joints (C, T, V, M) → numbers (T,) int64, from 0."""
    edges = torch.zeros(joints.shape[1], dtype=torch.int64)
    edges[change_points(joint_speeds(joints), penalty)] = 1
    return edges.cumsum(0)


def joint_speeds(joints: Tensor) -> np.ndarray:
    """Speed of every joint of every person, (C, T, V, M) → (T, V·M), zero beside frames where the person is absent."""
    if joints.shape[1] < 2:
        return np.zeros((joints.shape[1], 1))
    speed = np.linalg.norm(np.gradient(joints.double().numpy(), axis=1), axis=0)  # (T, V, M)
    there = np.pad(people_there(joints)[0].numpy(), ((1, 1), (0, 0), (0, 0)), mode="edge")
    return (speed * (there[:-2] & there[1:-1] & there[2:])).reshape(len(speed), -1)


def mean_over_pieces(probs: Tensor, pieces: Tensor) -> Tensor:
    """Each frame's probabilities (T, K+1) replaced by the mean over its piece. `pieces` is (T,)."""
    frames = pieces.bincount()  # of each piece
    sums = probs.new_zeros(len(frames), probs.shape[1]).index_add(0, pieces, probs)
    return (sums / frames.unsqueeze(1))[pieces]


def change_points(speed: np.ndarray, penalty: float) -> np.ndarray:
    """The first frames of all pieces but the first, when a clip is cut into pieces of steady motion.

    The cuts minimize a sum: the squared distance of each frame's joint speeds from their mean over its piece, plus a
    constant for each piece. The minimum is exact (optimal partitioning with pruning: PELT, Killick et al. 2012).

    Args:
        speed: (T, joints) of a clip.
        penalty: the constant, as a multiple of the variance of the speeds in the clip, summed over joints. The larger,
            the fewer pieces.

    Returns:
        (n,) int64, rising, each in [1, T).
    """
    frames, constant = len(speed), penalty * speed.var(axis=0).sum()
    sums = np.pad(speed.cumsum(0), ((1, 0), (0, 0)))  # of the frames before each frame
    squares = np.pad((speed**2).sum(1).cumsum(), (1, 0))
    least = np.full(frames + 1, np.inf)  # lowest sum of the frames before each frame
    previous = np.zeros(frames + 1, np.int64)  # where their last piece starts
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
