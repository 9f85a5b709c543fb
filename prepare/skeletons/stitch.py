"""Join sections of motion of one skeleton. Each is turned to the heading with which the one before ends.

The frames between two sections are a cubic Hermite curve, of positions and of rotations. So they continue the velocity
of the section before and lead into the velocity of the section after. In these frames, the body travels at the mean of
both velocities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from prepare.formats.bvh import Node, forward_kinematics

ORDER = "ZXY"  # of the rotation channels
CHANNELS = ["xposition", "yposition", "zposition", *(f"{axis.lower()}rotation" for axis in ORDER)]  # of each joint
HIPS = 1  # the joint that moves through the room; joint 0, its parent, stays at the origin and is no part of the body
UP, GROUND = 1, [0, 2]  # the vertical axis, and the axes of the floor


@dataclass(frozen=True)
class Section:
    """A section of motion: rotations and positions of J joints, relative to their parents."""

    quaternions: np.ndarray  # (T, J, 4)
    positions: np.ndarray  # (T, J, 3) in the file's units

    @classmethod
    def of_channels(cls, values: np.ndarray) -> Section:
        """From the channels (T, 6J) of a BVH file whose joints all have CHANNELS."""
        values = values.reshape(len(values), -1, len(CHANNELS))
        return cls(Rotation.from_euler(ORDER, values[..., 3:], degrees=True).as_quat(), values[..., :3])

    def channels(self) -> np.ndarray:
        """The channels (T, 6J) of a BVH file."""
        angles = Rotation.from_quat(self.quaternions).as_euler(ORDER, degrees=True, suppress_warnings=True)
        return np.concatenate([self.positions, angles], axis=-1).reshape(len(self.positions), -1)

    def headings(self, sideways: np.ndarray) -> np.ndarray:
        """Angle of the body about the vertical axis in each frame, (T,) radians.

        sideways: (3,) the direction from the right to the left hip, in the axes of the hips.
        """
        left = Rotation.from_quat(self.quaternions[:, HIPS]).apply(sideways)
        return np.unwrap(np.arctan2(left[:, 0], left[:, 2]))

    def placed(self, angle: float, shift: np.ndarray) -> Section:
        """The section turned about the vertical axis by `angle` radians, then moved over the floor by `shift` (2,)."""
        turn = Rotation.from_rotvec([0, angle, 0])
        quaternions, positions = self.quaternions.copy(), self.positions.copy()
        quaternions[:, HIPS] = (turn * Rotation.from_quat(quaternions[:, HIPS])).as_quat()
        positions[:, HIPS] = turn.apply(positions[:, HIPS])
        positions[:, HIPS, GROUND] += shift
        return Section(quaternions, positions)


def join(before: Section, after: Section, frames: int, sideways: np.ndarray) -> tuple[Section, Section]:
    """Returns `frames` frames that lead from `before` to `after`, and `after` at its new place.

    `before` and `after` have two frames or more. `sideways`: as in `Section.headings`.
    """
    after = after.placed(before.headings(sideways)[-1] - after.headings(sideways)[0], np.zeros(2))
    start, end = before.positions[-1], after.positions[0]
    start_velocity, end_velocity = start - before.positions[-2], after.positions[1] - end
    steps = frames + 1
    travelled = steps * (start_velocity + end_velocity) / 2
    after = after.placed(0.0, (start + travelled - end)[HIPS, GROUND])
    end = after.positions[0]

    s = np.arange(1, steps)[:, None, None] / steps  # from 0 at the start to 1 at the end
    # The cubic Hermite basis: weights of the end and of the two velocities; that of the start is 1 - end_weight
    end_weight = s**2 * (3 - 2 * s)
    start_velocity_weight, end_velocity_weight = steps * s * (1 - s) ** 2, -steps * s**2 * (1 - s)
    positions = (1 - end_weight) * start + end_weight * end
    positions = positions + start_velocity_weight * start_velocity + end_velocity_weight * end_velocity

    second_last, last = (Rotation.from_quat(q) for q in before.quaternions[-2:])
    first, second = (Rotation.from_quat(q) for q in after.quaternions[:2])
    turns = (  # rotation vectors of the start's velocity, of the way from start to end, and of the end's velocity
        start_velocity_weight * (second_last.inv() * last).as_rotvec(),
        end_weight * (last.inv() * first).as_rotvec(),
        end_velocity_weight * (first.inv() * second).as_rotvec(),
    )
    rotations = last * Rotation.from_rotvec(turns[0]) * Rotation.from_rotvec(turns[1]) * Rotation.from_rotvec(turns[2])
    return Section(rotations.as_quat(), positions), after


def lifted(between: Section, before: Section, after: Section, nodes: list[Node]) -> Section:
    """The frames between two sections, raised so that no joint is below the lowest joint of the two frames beside them.

    These are the last frame of `before` and the first one of `after`.
    """
    quaternions = np.stack([before.quaternions[-1], after.quaternions[0]])
    beside = Section(quaternions, np.stack([before.positions[-1], after.positions[0]]))
    positions = between.positions.copy()
    positions[:, HIPS, UP] += np.maximum(_lowest(beside, nodes).min() - _lowest(between, nodes), 0)
    return Section(between.quaternions, positions)


def _lowest(section: Section, nodes: list[Node]) -> np.ndarray:
    """Height of the lowest joint in each frame, (T,), without the parent of the hips."""
    return forward_kinematics(nodes, section.channels())[:, HIPS:, UP].min(axis=1)


def concatenate(sections: list[Section]) -> Section:
    """The sections, one after another."""
    quaternions = np.concatenate([section.quaternions for section in sections])
    return Section(quaternions, np.concatenate([section.positions for section in sections]))
