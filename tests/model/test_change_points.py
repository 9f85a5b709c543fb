"""Change points: the best cuts of all, and the frames where a motion really changes."""

from itertools import combinations

import numpy as np
import pytest
import torch

from model.change_points import change_points, motion_features


def cost(speed: np.ndarray, cuts: tuple[int, ...], constant: float) -> float:
    """Squared distances from the means of the pieces, plus the constant for each piece."""
    parts = np.split(speed, cuts)
    return sum(((part - part.mean(0)) ** 2).sum() for part in parts) + constant * len(parts)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("penalty", [0.3, 1.0, 3.0])
def test_no_other_cuts_cost_less(seed: int, penalty: float) -> None:
    speed = np.random.default_rng(seed).normal(size=(9, 2)).cumsum(0)
    constant = penalty * speed.var(0).sum()
    every = [cuts for count in range(9) for cuts in combinations(range(1, 9), count)]
    least = min(cost(speed, cuts, constant) for cuts in every)
    assert cost(speed, tuple(change_points(speed, penalty)), constant) == pytest.approx(least)


def test_equal_frames_are_not_cut() -> None:
    features = np.repeat(np.random.default_rng(0).normal(size=(1, 50)), 200, axis=0)
    assert change_points(features, 2.0).tolist() == []


def cuts_of(joints: np.ndarray, penalty: float) -> list[int]:
    """Change points of people's joints (T, V, C, M)."""
    return change_points(motion_features(torch.from_numpy(joints).permute(2, 0, 1, 3)), penalty).tolist()


def standing_walking_standing() -> np.ndarray:
    step = np.random.default_rng(0).normal(0, 1e-4, (90, 25, 3, 1))
    step[30:60, :, 0] += 0.02  # metres per frame
    return 1 + step.cumsum(0)


def test_a_body_that_stands_walks_and_stands_is_cut_where_it_starts_and_stops() -> None:
    cuts = np.array(cuts_of(standing_walking_standing(), 2.0))
    assert (np.abs(cuts - 30) <= 2).any()
    assert (np.abs(cuts - 60) <= 2).any()
    assert (np.abs(cuts[:, None] - [30, 60]).min(1) <= 2).all()  # and nowhere else


def test_a_change_of_a_slow_motion_counts_as_much_as_one_of_a_fast_motion() -> None:
    steps = np.random.default_rng(0).normal(size=(90, 25, 3, 1))
    steps[45:] *= 3
    slow, fast = (1 + (metres * steps).cumsum(0) for metres in (0.01, 0.1))
    for cuts in (cuts_of(slow, 4.0), cuts_of(fast, 4.0)):
        assert len(cuts) == 1
        assert abs(cuts[0] - 45) <= 1


@pytest.mark.parametrize(("comes", "goes"), [(10, 80), (0, 2), (88, 90)])
def test_a_second_person_who_comes_and_goes_adds_no_cut(comes: int, goes: int) -> None:
    alone = standing_walking_standing()
    guest = np.zeros_like(alone)
    guest[comes:goes] = alone[:1] + 3
    both = torch.from_numpy(np.concatenate([alone, guest], axis=3)).permute(2, 0, 1, 3)
    features = motion_features(both).reshape(90, 2, 25, 2)
    assert not features[..., 1].any()  # the guest never moves
    assert change_points(features.reshape(90, -1), 2.0).tolist() == cuts_of(alone, 2.0)


@pytest.mark.parametrize("frames", [1, 2, 50])
def test_a_body_that_does_not_move_is_not_cut(frames: int) -> None:
    assert cuts_of(np.ones((frames, 25, 3, 1)), 2.0) == []
