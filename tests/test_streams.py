"""Streams: bones from parent to child, motion from both neighbours, and nothing from the padding."""

from __future__ import annotations

import pytest
import torch

from model.streams import SECONDS, stack_streams
from utils.skeleton import BONES, FPS

T, V = 7, 25
ALL = ["joint", "bone", "motion", "bone_motion", "egocentric", "egocentric_motion"]


@pytest.fixture
def clips() -> tuple[torch.Tensor, torch.Tensor]:
    """Two clips of 7 and 4 frames, padded with zeros."""
    mask = torch.arange(T) < torch.tensor([7, 4]).unsqueeze(1)
    joints = torch.randn(2, 3, T, V, 1, generator=torch.Generator().manual_seed(0))
    return joints * mask.view(2, 1, T, 1, 1), mask


def test_bones_lead_from_parent_to_child_and_the_chest_has_none(clips: tuple) -> None:
    joints, mask = clips
    bones = stack_streams(joints, mask, ["bone"])
    for child, parent in BONES:
        assert torch.equal(bones[:, :, :, child], joints[:, :, :, child] - joints[:, :, :, parent])
    chest = {parent for _, parent in BONES} - {child for child, _ in BONES}
    assert not bones[:, :, :, list(chest)].any()


def test_a_body_that_moves_evenly_has_its_speed_as_motion_in_all_frames_but_the_ends() -> None:
    seconds = torch.arange(T) / FPS
    joints = (2.0 * seconds).view(1, 1, T, 1, 1).expand(1, 3, T, V, 1)  # two metres a second
    motion = stack_streams(joints, torch.ones(1, T, dtype=torch.bool), ["motion"])
    torch.testing.assert_close(motion[:, :, 1:-1], torch.full((1, 3, T - 2, V, 1), 2.0 * SECONDS))
    assert not motion[:, :, [0, -1]].any()


def test_bone_motion_is_the_motion_of_bones_as_both_are_linear(clips: tuple) -> None:
    joints, mask = clips
    bones_of_motion = stack_streams(stack_streams(joints, mask, ["motion"]), mask, ["bone"])
    torch.testing.assert_close(stack_streams(joints, mask, ["bone_motion"]), bones_of_motion)


def test_streams_stand_side_by_side_in_the_order_named(clips: tuple) -> None:
    joints, mask = clips
    together = stack_streams(joints, mask, ALL)
    for i, name in enumerate(ALL):
        assert torch.equal(together[:, 3 * i : 3 * i + 3], stack_streams(joints, mask, [name]))


def test_padding_a_clip_changes_no_stream_of_its_frames(clips: tuple) -> None:
    joints, mask = clips
    alone = stack_streams(joints[1:, :, :4], mask[1:, :4], ALL)
    together = stack_streams(joints, mask, ALL)[1:]
    assert torch.equal(together[:, :, :4], alone)
    assert not together[:, :, 4:].any()


def turned(joints: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Frames (T) turned about z by `angles` (T,)."""
    cos, sin = (part.view(1, -1, 1, 1) for part in (angles.cos(), angles.sin()))
    x, y, z = joints.unbind(1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y, z], dim=1)


def test_egocentric_joints_do_not_tell_where_a_person_faces(clips: tuple) -> None:
    joints, mask = clips
    joints = joints.double()
    elsewhere = turned(joints, torch.rand(T, dtype=torch.float64) * 6)
    first, second = (stack_streams(j, mask, ["egocentric"]) for j in (joints, elsewhere))
    torch.testing.assert_close(first, second)
    right = first[:, :, :, [8, 16]].sum(3) - first[:, :, :, [4, 12]].sum(3)
    assert (right[:, 0] >= 0).all()
    torch.testing.assert_close(right[:, 1], torch.zeros_like(right[:, 1]))


def test_egocentric_motion_is_the_same_whichever_way_a_person_faces_and_shows_that_they_turn(clips: tuple) -> None:
    joints, mask = clips
    joints, once = joints.double(), torch.full((T,), 2.0, dtype=torch.float64)
    first, second = (stack_streams(j, mask, ["egocentric_motion"]) for j in (joints, turned(joints, once)))
    torch.testing.assert_close(first, second)
    still = joints[:, :, :1].expand(-1, -1, T, -1, -1)
    everywhere = torch.ones(2, T, dtype=torch.bool)
    assert not stack_streams(still, everywhere, ["egocentric_motion"]).any()
    spinning = stack_streams(turned(still, torch.arange(T).double() / FPS), everywhere, ["egocentric_motion"])
    inner = spinning[:, :2, 1:-1].norm(dim=1)  # radius × one radian a second, the chord of two frames
    radius = still[:, :2, 1:-1].norm(dim=1)
    torch.testing.assert_close(inner, radius * SECONDS, rtol=1e-3, atol=0)
    torch.testing.assert_close(spinning[:, :, 1:-2], spinning[:, :, 2:-1])  # the same in every frame
