"""Sections of motion meet at the same place and heading, without a jump."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from prepare.formats.bvh import Node, forward_kinematics
from prepare.skeletons.stitch import CHANNELS, Section, concatenate, join, lifted

SIDEWAYS = np.array([1.0, 0.0, 0.0])
OFFSETS = {"root": (0, 0, 0), "hips": (0, 0, 0), "thigh": (10, -5, 0), "foot": (0, -80, 0)}
NODES = [Node(name, i - 1, np.array(o, float), CHANNELS) for i, (name, o) in enumerate(OFFSETS.items())]


def walk(frames: int, heading: float, place: tuple[float, float], swing: float = 30.0) -> Section:
    """Somebody who walks straight ahead with one leg, 4 centimetres a frame. heading: degrees."""
    values = np.zeros((frames, len(NODES), 6))
    values[:, 1:, :3] = [node.offset for node in NODES[1:]]
    steps = 4.0 * np.arange(frames)
    angle = np.radians(heading)
    values[:, 1, 0], values[:, 1, 2] = place[0] + np.sin(angle) * steps, place[1] + np.cos(angle) * steps
    values[:, 1, 1] = 90
    values[:, 1, 5] = heading
    values[:, 2, 4] = swing * np.sin(np.arange(frames) / 4)
    return Section.of_channels(values.reshape(frames, -1))


def places(section: Section) -> np.ndarray:
    return forward_kinematics(NODES, section.channels())


def test_channels_are_kept() -> None:
    values = walk(20, 77, (3, 4)).channels()
    np.testing.assert_allclose(Section.of_channels(values).channels(), values, atol=1e-9)


@pytest.mark.parametrize("frames", [1, 12, 30])
def test_two_pieces_meet_without_a_jump(frames: int) -> None:
    first, second = walk(30, 20, (0, 0)), walk(30, -140, (900, -300))
    between, second = join(first, second, frames, SIDEWAYS)
    joined = concatenate([first, between, second])
    assert len(joined.positions) == 60 + frames
    np.testing.assert_allclose(joined.headings(SIDEWAYS), np.radians(20 + 90), atol=0.02)
    speed = np.linalg.norm(np.diff(places(joined), axis=0), axis=-1)
    fastest = max(np.linalg.norm(np.diff(places(section), axis=0), axis=-1).max() for section in (first, second))
    assert speed.max() < 2 * fastest
    np.testing.assert_allclose(np.diff(joined.positions[:, 1, 0]), np.sin(np.radians(20)) * 4, atol=0.01)  # straight on


def test_joints_turn_on_at_the_same_speed_where_two_pieces_meet() -> None:
    first, second = walk(30, 20, (0, 0)), walk(30, -140, (900, -300))
    thigh = Rotation.from_quat(concatenate([first, *join(first, second, 12, SIDEWAYS)]).quaternions[:, 2])
    speed = (thigh[:-1].inv() * thigh[1:]).as_rotvec(degrees=True)
    assert np.abs(np.diff(speed, axis=0)).max() < 5


def test_the_second_piece_is_the_same_motion_elsewhere() -> None:
    second = walk(30, -140, (900, -300))
    _, moved = join(walk(30, 20, (0, 0)), second, 12, SIDEWAYS)
    turn = Rotation.from_euler("y", 160, degrees=True)
    expected = turn.apply(places(second).reshape(-1, 3)).reshape(30, -1, 3)[:, 1:]
    found = places(moved)[:, 1:]
    np.testing.assert_allclose(found - found[:1, :1], expected - expected[:1, :1], atol=1e-6)


def test_no_foot_sinks_below_the_floor() -> None:
    bent, straight = walk(2, 0, (0, 0), swing=0), walk(2, 0, (0, 0), swing=0)
    for section, angle, height in ((bent, 60, 45), (straight, -60, 45)):
        section.quaternions[:, 2] = Rotation.from_euler("x", angle, degrees=True).as_quat()
        section.positions[:, 1, 1] = height
    between, after = join(bent, straight, 12, SIDEWAYS)
    floor = places(bent)[-1, 1:, 1].min()
    assert places(between)[:, 1:, 1].min() < floor - 20  # the stretched leg would need more room
    raised = lifted(between, bent, after, NODES)
    assert places(raised)[:, 1:, 1].min() > floor - 1e-6
    np.testing.assert_allclose(raised.positions[:, :, [0, 2]], between.positions[:, :, [0, 2]])
