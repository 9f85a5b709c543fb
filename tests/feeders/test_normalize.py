"""Normalization: what both methods preserve. parity.py compares the released method with its golden numbers."""

import numpy as np
import pytest

from feeders.normalize import normalize
from utils.skeleton import HEAD, LEFT_SHOULDER, NUM_JOINTS, PELVIS, RIGHT_SHOULDER, SPINE


def about_z(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


@pytest.fixture()
def joints() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, NUM_JOINTS, 3))


@pytest.mark.parametrize("method", ["upright", "released"])
def test_the_spine_stays_at_the_origin_in_every_frame(joints: np.ndarray, method: str) -> None:
    assert np.abs(normalize(joints, method)[:, SPINE]).max() == 0


@pytest.mark.parametrize("method", ["upright", "released"])
def test_a_body_keeps_its_shape(joints: np.ndarray, method: str) -> None:
    def distances(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)

    np.testing.assert_allclose(distances(normalize(joints, method)), distances(joints), atol=1e-12)


def test_upright_keeps_every_height_and_faces_the_first_frame_ahead(joints: np.ndarray) -> None:
    turned = normalize(joints, "upright")
    np.testing.assert_allclose(turned[..., 2], (joints - joints[:, [SPINE]])[..., 2])
    across = turned[0, RIGHT_SHOULDER] - turned[0, LEFT_SHOULDER]
    assert across[0] > 0
    assert abs(across[1]) < 1e-12


@pytest.mark.parametrize("angle", [0.3, 2.0, np.pi])
def test_upright_does_not_depend_on_place_or_heading(joints: np.ndarray, angle: float) -> None:
    moved = joints @ about_z(angle).T + [3.0, -2.0, 0.5]
    np.testing.assert_allclose(normalize(moved, "upright"), normalize(joints, "upright"), atol=1e-12)


def test_released_tilts_a_body_that_faces_away_and_upright_does_not() -> None:
    body = np.zeros((1, NUM_JOINTS, 3))
    body[0, SPINE], body[0, HEAD], body[0, PELVIS] = (0, 0, 1.1), (0, 0.05, 1.6), (0, -0.1, 1.0)
    body[0, LEFT_SHOULDER], body[0, RIGHT_SHOULDER] = (-0.2, 0.02, 1.44), (0.2, -0.02, 1.36)
    turned = body @ about_z(3.0).T

    def height(method: str) -> float:
        normal = normalize(turned, method)[0]
        return normal[HEAD, 2] - normal[PELVIS, 2]

    assert height("upright") == pytest.approx(0.6)
    assert height("released") < 0.6 * np.cos(np.radians(30))


@pytest.mark.parametrize("method", ["upright", "released"])
def test_a_body_without_any_direction_is_left_alone(method: str) -> None:
    assert np.isfinite(normalize(np.zeros((3, NUM_JOINTS, 3)), method)).all()


@pytest.mark.parametrize("method", ["upright", "released"])
def test_two_people_move_as_the_first_one_does(joints: np.ndarray, method: str) -> None:
    people = np.stack([joints, joints[::-1] + [1.2, 0.3, 0.0]], axis=1)
    people[2:4, 1] = 0  # the second person is absent
    found = normalize(people, method)
    np.testing.assert_allclose(found[:, 0], normalize(joints, method), atol=1e-12)
    assert not found[2:4, 1].any()
    there = [0, 1, 4, 5]
    between = [np.linalg.norm(x[there, 0, :, None] - x[there, 1, None], axis=-1) for x in (people, found)]
    np.testing.assert_allclose(*between, atol=1e-12)
