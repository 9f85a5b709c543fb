"""Pieces of steady motion: parts of a clip in which the speeds and accelerations of the joints stay about the same.

Speeds are relative to the first person's spine. So the movement of the whole body from place to place does not count.
Its turning does. A piece is not yet an action segment. An action may begin or end where one piece ends and the next
begins.
"""

import numpy as np
import torch
from torch import Tensor

from model.streams import people_there

STILL = 1e-3  # m/frame and m/frame²: speeds and accelerations far below this hardly change the features


def piece_numbers(joints: Tensor, penalty: float) -> Tensor:
    """The piece of steady motion that each frame belongs to: joints (C, T, V, M) → numbers (T,) int64, from 0."""
    edges = torch.zeros(joints.shape[1], dtype=torch.int64)
    edges[change_points(motion_features(joints), penalty)] = 1
    return edges.cumsum(0)


def motion_features(joints: Tensor) -> np.ndarray:
    """Log speed and log acceleration of every joint of every person, (C, T, V, M) → (T, 2·V·M).

    Logarithms compare relative sizes, so a change of a slow motion counts as much as a change of a fast one. A feature
    is near 0 for a joint that hardly moves. It is 0 where the person is absent in this frame, the one before or the one
    after.
    """
    _, T, V, M = joints.shape
    if T < 3:
        return np.zeros((T, 2 * V * M))
    x = joints.double().numpy()
    speed = np.linalg.norm(np.gradient(x, axis=1), axis=0)  # (T, V, M)
    acceleration = np.linalg.norm(np.diff(x, 2, axis=1), axis=0)  # (T-2, V, M), without the first and the last frame
    ends = ((1, 1), (0, 0), (0, 0))
    there = np.pad(people_there(joints)[0].numpy(), ends, mode="edge")
    valid = there[:-2] & there[1:-1] & there[2:]  # (T, 1, M)
    # The first and the last frame get the value beside them. Invalid values are set to 0 before that
    acceleration = np.pad(acceleration * valid[1:-1], ends, mode="edge")
    moving = np.stack([speed, acceleration], axis=1) * valid[:, None]
    return np.log1p(moving / STILL).reshape(T, -1)


def piece_means(values: Tensor, numbers: Tensor) -> Tensor:
    """The mean of the frames' values (T, F) over each piece: (P, F). `numbers` (T,) has the piece of each frame."""
    frames = numbers.bincount().unsqueeze(1)
    return values.new_zeros(len(frames), values.shape[1]).index_add(0, numbers, values) / frames


def change_points(features: np.ndarray, penalty: float) -> np.ndarray:
    """The frames where pieces of steady motion begin, except the first piece of the clip.

    The cuts minimize a sum: the squared distance of each frame's features from their mean over its piece, plus a
    constant for each piece. The minimum is exact (optimal partitioning with pruning: PELT, Killick et al. 2012).

    Args:
        features: (T, F) of a clip.
        penalty: the constant is the penalty times the sum of the variances of all features in the clip. The larger the
            penalty, the fewer pieces.

    Returns:
        (n,) int64, rising, each in [1, T).
    """
    variance = max(features.var(axis=0).sum(), 1e-12)  # a smaller variance is only rounding
    frames, constant = len(features), penalty * variance
    sums = np.pad(features.cumsum(0), ((1, 0), (0, 0)))  # sums[t] is the sum over frames 0 .. t-1
    squares = np.pad((features**2).sum(1).cumsum(), (1, 0))
    least = np.full(frames + 1, np.inf)  # least[t] is the lowest cost of frames 0 .. t-1
    previous = np.zeros(frames + 1, np.int64)  # previous[t] is where the last piece of these frames starts
    least[0] = 0
    starts = np.empty(0, np.int64)  # where the last piece may start
    for end in range(1, frames + 1):
        starts = np.append(starts, end - 1)
        distance = squares[end] - squares[starts] - ((sums[end] - sums[starts]) ** 2).sum(1) / (end - starts)
        total = least[starts] + distance
        least[end], previous[end] = total.min() + constant, starts[total.argmin()]
        # Pruning drops each start s whose total is above least[end]. For every later end, a last piece that starts at
        # `end` gives a lower total than one that starts at s. So s is not needed any more
        starts = starts[total <= least[end]]
    cuts, cut = [], int(previous[frames])
    while cut:
        cuts.append(cut)
        cut = int(previous[cut])
    return np.array(cuts[::-1], np.int64)
