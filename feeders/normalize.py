"""Normalization: removes the first person's position, and the direction that this person faces in the first frame."""

import numpy as np

from utils.skeleton import LEFT_SHOULDER, PELVIS, RIGHT_SHOULDER, SPINE

MIN_LENGTH = 1e-6  # shorter vectors count as zero, and so do smaller angles


def normalize(joints: np.ndarray, method: str) -> np.ndarray:
    """Centre every frame on the first person's joint `SPINE`, the middle of the spine, and rotate the whole clip.

    z points up. All people of a clip are moved and rotated together with the first one, so their positions relative to
    each other do not change. The joints of absent people stay zeros.

    Shape: (T, V, 3) or (T, M, V, 3), before and after.

    The rotation depends on the first person in the first frame: on the vector from the left to the right shoulder, and
    in "released" also on the vector from the pelvis to the spine.

    method "upright": one rotation about z, which turns the horizontal part of the shoulder vector to +x. A person who
        lies on the ground stays lying.
    method "released": as in the released code, two rotations, each by the smallest angle. The first one turns the spine
        vector to +z, the second one turns the shoulder vector to +x. If the shoulder vector points away from +x, the
        second rotation can tilt the body or turn it upside down.
    """
    people = joints.reshape(len(joints), -1, *joints.shape[-2:])  # (T, M, V, 3)
    there = people.any(axis=(2, 3), keepdims=True)
    people = np.where(there, people - people[:, :1, SPINE : SPINE + 1], 0)
    first = people[0, 0]
    if method == "released":
        people = people @ smallest_rotation(first[SPINE] - first[PELVIS], np.array([0.0, 0.0, 1.0])).T
        first = people[0, 0]
    shoulders = first[RIGHT_SHOULDER] - first[LEFT_SHOULDER]
    turn = turn_about_z(shoulders) if method == "upright" else smallest_rotation(shoulders, np.array([1.0, 0.0, 0.0]))
    return (people @ turn.T).reshape(joints.shape)


def turn_about_z(direction: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) about z that turns the horizontal part of `direction` to +x; none if `direction` is vertical."""
    x, y = direction[:2]
    length = np.hypot(x, y)
    if length < MIN_LENGTH:
        return np.eye(3)
    cos, sin = x / length, y / length
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def smallest_rotation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) by the smallest angle from `source` to `target` (Rodrigues' formula).

    As in the released code, there is no rotation between parallel, opposite or zero vectors.
    """
    axis = np.cross(source, target)
    length = np.linalg.norm(axis)  # |source|·|target|·sin(angle)
    angle = np.arctan2(length, np.dot(source, target))
    if np.abs(axis).sum() < MIN_LENGTH or angle < MIN_LENGTH:
        return np.eye(3)
    x, y, z = axis / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
