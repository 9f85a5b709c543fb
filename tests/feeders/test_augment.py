"""Augmentation: mirrored and resized bodies, which depend only on seed, epoch and clip."""

from dataclasses import replace

import pytest
import torch

from feeders.augment import augment
from feeders.batches import Batch
from utils.skeleton import BONES, JOINT_NAMES, MIRRORED


@pytest.fixture
def batch() -> Batch:
    joints = torch.randn(40, 3, 5, 25, 1, generator=torch.Generator().manual_seed(0))
    return Batch(
        joints, torch.ones(40, 5, dtype=torch.bool), torch.full((40,), 5), torch.zeros(40, 2), torch.arange(40)
    )


def test_left_and_right_are_exchanged_and_bones_stay_bones() -> None:
    assert [JOINT_NAMES[i] for i in MIRRORED[4:6]] == ["right_shoulder", "right_elbow"]
    assert JOINT_NAMES[MIRRORED[0]] == "pelvis"
    assert [MIRRORED[i] for i in MIRRORED] == list(range(25))
    assert {(MIRRORED[child], MIRRORED[parent]) for child, parent in BONES} == set(BONES)


def test_a_mirrored_clip_is_the_reflection_with_sides_exchanged_and_twice_is_the_clip(batch: Batch) -> None:
    once = augment(batch, mirror=1.0, scale=0.0, seed=5, epoch=0)
    left, right = JOINT_NAMES.index("left_wrist"), JOINT_NAMES.index("right_wrist")
    torch.testing.assert_close(once.joints[:, 0, :, left], -batch.joints[:, 0, :, right])
    torch.testing.assert_close(once.joints[:, 1:, :, left], batch.joints[:, 1:, :, right])
    assert torch.equal(augment(once, 1.0, 0.0, 5, 0).joints, batch.joints)


def test_about_as_many_clips_as_asked_are_mirrored_and_which_changes_by_epoch_and_seed(batch: Batch) -> None:
    whiches = []
    for epoch in range(3):
        joints = augment(batch, mirror=0.5, scale=0.0, seed=5, epoch=epoch).joints
        whiches.append([not torch.equal(a, b) for a, b in zip(joints, batch.joints, strict=True)])
        assert 8 < sum(whiches[-1]) < 32
    assert whiches[0] != whiches[1] != whiches[2]
    other = augment(batch, mirror=0.5, scale=0.0, seed=6, epoch=0).joints
    assert [not torch.equal(a, b) for a, b in zip(other, batch.joints, strict=True)] != whiches[0]


def test_bodies_are_resized_as_a_whole_within_the_bounds(batch: Batch) -> None:
    ratio = augment(batch, mirror=0.0, scale=0.1, seed=5, epoch=0).joints / batch.joints
    factors = ratio.flatten(1).mean(1)
    torch.testing.assert_close(ratio, factors.view(-1, 1, 1, 1, 1).expand_as(ratio))
    assert 0.9 <= factors.min() < 0.93
    assert 1.07 < factors.max() <= 1.1


def test_a_clip_looks_the_same_in_whichever_batch_it_is(batch: Batch) -> None:
    together = augment(batch, 0.5, 0.1, seed=5, epoch=2)
    two = replace(batch, joints=batch.joints[[7, 3]], index=batch.index[[7, 3]])
    assert torch.equal(augment(two, 0.5, 0.1, seed=5, epoch=2).joints, together.joints[[7, 3]])
    none = replace(batch, joints=batch.joints[:0], index=batch.index[:0])
    assert augment(none, 0.5, 0.1, seed=5, epoch=2).joints.shape == (0, 3, 5, 25, 1)


def test_nothing_asked_for_is_nothing_done(batch: Batch) -> None:
    assert augment(batch, 0.0, 0.0, seed=5, epoch=0) is batch
