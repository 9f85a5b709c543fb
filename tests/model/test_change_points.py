"""Change points: the best cuts of all, and the frames where a motion really changes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from model.change_points import change_points


def speeds(joints: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.gradient(joints, axis=0), axis=2)


def cost(speed: np.ndarray, cuts: tuple[int, ...], constant: float) -> float:
    """Squared distances from the means of the pieces, plus the constant for each piece."""
    parts = np.split(speed, cuts)
    return sum(((part - part.mean(0)) ** 2).sum() for part in parts) + constant * len(parts)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("penalty", [0.3, 1.0, 3.0])
def test_no_other_cuts_cost_less(seed: int, penalty: float) -> None:
    joints = np.random.default_rng(seed).normal(size=(9, 2, 3)).cumsum(0)
    speed = speeds(joints)
    constant = penalty * speed.var(0).sum()
    every = [cuts for count in range(9) for cuts in combinations(range(1, 9), count)]
    least = min(cost(speed, cuts, constant) for cuts in every)
    assert cost(speed, tuple(change_points(joints, penalty)), constant) == pytest.approx(least)


def test_a_body_that_stands_walks_and_stands_is_cut_twice() -> None:
    step = np.zeros((90, 25, 3))
    step[30:60, :, 0] = 0.02  # metres per frame
    step += np.random.default_rng(0).normal(0, 1e-4, step.shape)
    cuts = change_points(step.cumsum(0), 2.0)
    assert len(cuts) == 2
    assert np.abs(cuts - [30, 60]).max() <= 1


@pytest.mark.parametrize("frames", [1, 2, 50])
def test_a_body_that_does_not_move_is_not_cut(frames: int) -> None:
    assert change_points(np.ones((frames, 25, 3)), 2.0).tolist() == []
