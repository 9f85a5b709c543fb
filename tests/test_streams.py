"""Streams: bones from parent to child, motion from both neighbours, and nothing from the padding."""

from __future__ import annotations

import pytest
import torch

from model.streams import SECONDS, stack_streams
from utils.skeleton import BONES, FPS

T, V = 7, 25
ALL = ["joint", "bone", "motion"]


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
