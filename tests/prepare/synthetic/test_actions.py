"""Each action looks like what its name says, in every way in which it is done and whoever does it."""

from collections.abc import Iterator

import numpy as np
import pytest
from motions import joints_of

from prepare.synthetic.actions import ACTIONS
from prepare.synthetic.motion import Motion, Performer
from prepare.synthetic.take import Plan, PlannedAction, render
from utils.skeleton import JOINT_NAMES

PERFORMERS = 4
Joints = dict[str, np.ndarray]  # name: (T,3) metres at 30 fps, the floor at z = 0


def performed(name: str) -> Iterator[Joints]:
    """Three seconds of an action, in each of its ways, by several people."""
    for motion in ACTIONS[name]:
        yield from (play(motion, seed) for seed in range(PERFORMERS))


def play(motion: Motion, seed: int) -> Joints:
    rng = np.random.default_rng(seed)
    plan = Plan(rng, seat=0, actions=[PlannedAction(motion, "", (), 0.0, 3.0)])
    poses, trans = render(plan, Performer(rng), 30.0)
    joints = joints_of(poses.astype(np.float32)) + trans[:, None]
    return dict(zip(JOINT_NAMES, joints.transpose(1, 0, 2), strict=True))


def left_of(joints: Joints) -> np.ndarray:
    """The body's left as horizontal unit vectors (T,2)."""
    left = (joints["left_hip"] - joints["right_hip"])[:, :2]
    return left / np.linalg.norm(left, axis=1, keepdims=True)


def ahead(joints: Joints, name: str) -> np.ndarray:
    """How far the left one of two joints is ahead of the right one (T,), metres."""
    apart = joints[f"left_{name}"] - joints[f"right_{name}"]
    left = left_of(joints)
    return apart[:, 0] * left[:, 1] - apart[:, 1] * left[:, 0]


def turned(joints: Joints) -> float:
    """Degrees by which the body turns from start to end, all the way round counted."""
    left = left_of(joints)
    return abs(float(np.degrees(np.ptp(np.unwrap(np.arctan2(left[:, 1], left[:, 0]))))))


@pytest.mark.parametrize("name", ["walk", "run", "jog"])
def test_arms_swing_against_the_legs_and_a_foot_is_near_the_floor(name: str) -> None:
    for joints in performed(name):
        assert np.corrcoef(ahead(joints, "ankle"), ahead(joints, "wrist"))[0, 1] < -0.6
        feet = np.minimum(joints["left_foot"][:, 2], joints["right_foot"][:, 2])
        assert -0.03 < feet.min() < 0.06
        assert feet.max() < (0.12 if name == "walk" else 0.3)


def test_a_walk_is_slower_than_a_run_and_neither_slides() -> None:
    speeds = {}
    for name in ("walk", "run"):
        ways = [np.diff(joints["pelvis"][:, :2], axis=0) for joints in performed(name)]
        speeds[name] = [np.linalg.norm(way, axis=1).mean() * 30 for way in ways]
    assert min(speeds["walk"]) > 0.8
    assert max(speeds["walk"]) < 2.2 < 2.8 < min(speeds["run"])
    assert max(speeds["run"]) < 6
    for joints in performed("walk"):
        ankles = np.stack([joints["left_ankle"], joints["right_ankle"]])
        speed = np.linalg.norm(np.diff(ankles[..., :2], axis=1), axis=-1) * 30
        lower = ankles[:, 1:, 2].argmin(axis=0)
        assert np.median(speed[lower, np.arange(len(lower))]) < 0.8  # the foot that carries the weight


def test_a_jump_leaves_the_floor_and_a_kick_lifts_one_foot() -> None:
    for joints in performed("jump"):
        assert np.minimum(joints["left_foot"][:, 2], joints["right_foot"][:, 2]).max() > 0.12
    for joints in performed("kick"):
        feet = np.stack([joints["left_foot"][:, 2], joints["right_foot"][:, 2]])
        assert feet.max() > 0.3
        assert feet.min(axis=0).max() < 0.12


def test_sitting_goes_down_and_standing_up_goes_up() -> None:
    for joints in performed("sit"):
        pelvis = joints["pelvis"][:, 2]
        assert pelvis[-1] < 0.7 * pelvis[0]
        assert joints["head"][-1, 2] - pelvis[-1] > 0.45  # the trunk is upright again
    for joints in performed("stand up"):
        assert joints["pelvis"][0, 2] < 0.7 * joints["pelvis"][-1, 2]


def test_a_waving_hand_is_up_and_moves() -> None:
    for joints in performed("wave"):
        hands = np.stack([joints["left_hand"], joints["right_hand"]])
        raised = hands[:, :, 2].mean(axis=1).argmax()
        assert (hands[raised, :, 2] > joints["chest"][:, 2]).all()
        assert hands[raised, :, 2].mean() > joints["neck"][:, 2].mean()
        assert np.linalg.norm(np.ptp(hands[raised], axis=0)) > 0.15
        assert hands[1 - raised, :, 2].max() < joints["chest"][:, 2].min()


def test_turning_turns_and_standing_does_not() -> None:
    assert min(turned(joints) for joints in performed("turn")) > 120
    for joints in performed("stand"):
        assert turned(joints) < 15
        assert max(np.ptp(joints[name], axis=0).max() for name in ("pelvis", "left_ankle", "right_ankle")) < 0.15


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_no_joint_jerks_from_frame_to_frame(name: str) -> None:
    for joints in performed(name):
        change = np.diff(np.stack(list(joints.values())), n=2, axis=1)
        assert np.linalg.norm(change, axis=-1).max() < (0.3 if name in ("jump", "run", "kick") else 0.15)
