"""Place and turn a skeleton sequence so that where and which way a person stands does not matter."""

from __future__ import annotations

import numpy as np

from utils.skeleton import LEFT_SHOULDER, PELVIS, RIGHT_SHOULDER, SPINE

SMALL = 1e-6  # below it a vector has no direction, and an angle is no turn


def normalize(joints: np.ndarray, method: str) -> np.ndarray:
    """Joints (T, V, 3), z up → centred on the spine in every frame and turned as a whole, same shape.

    method "upright": turned about the vertical axis alone, so that the first frame's left→right shoulder
        points along +x. Standing, lying and leaning stay what they are.
    method "released": as the released code does, by two smallest rotations: pelvis→spine onto +z, then
        left→right shoulder onto +x. The second tilts whoever does not happen to face the right way.
    """
    joints = joints - joints[:, SPINE : SPINE + 1]
    if method == "upright":
        return joints @ turn_about_z(joints[0, RIGHT_SHOULDER] - joints[0, LEFT_SHOULDER]).T
    joints = joints @ smallest_rotation(joints[0, SPINE] - joints[0, PELVIS], np.array([0.0, 0.0, 1.0])).T
    return joints @ smallest_rotation(joints[0, RIGHT_SHOULDER] - joints[0, LEFT_SHOULDER], np.array([1.0, 0.0, 0.0])).T


def turn_about_z(direction: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) about z that brings a direction's horizontal part to +x; none if it is vertical."""
    x, y = direction[:2]
    length = np.hypot(x, y)
    if length < SMALL:
        return np.eye(3)
    cos, sin = x / length, y / length
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def smallest_rotation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) by the smallest angle from one direction to another (Rodrigues' formula).

    Parallel, opposite or zero vectors give no rotation, as in the released code.
    """
    axis = np.cross(source, target)
    sine, cosine = np.linalg.norm(axis), np.dot(source, target)
    if np.abs(axis).sum() < SMALL or abs(np.arctan2(sine, cosine)) < SMALL:
        return np.eye(3)
    x, y, z = axis / sine
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.arctan2(sine, cosine)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
