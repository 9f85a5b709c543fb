"""Batches: padding, order, and what they may depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from feeders.batches import EvalBatches, TrainBatches, collate, loader
from feeders.dataset import SkeletonClips
from feeders.label_policy import LabelPolicy
from utils import config

POLICY = LabelPolicy("all", "background", 1000, "clip")
LENGTHS = np.random.default_rng(0).integers(20, 900, 101)
NOISE = config.load().data.bucket_noise


def padding(batches: TrainBatches) -> float:
    longest = sum(max(LENGTHS[b]) * len(b) for b in batches)
    return longest / sum(LENGTHS[b].sum() for b in batches)


def test_a_batch_holds_each_clip_and_zeros_behind_it(make_split) -> None:
    clips = SkeletonClips(make_split(train=[30, 9]), "train", POLICY, "upright")
    batch = collate([clips[0], clips[1]])
    assert batch.joints.shape == (2, 3, 30, 25, 1)
    assert batch.mask.sum(1).tolist() == [30, 9]
    assert torch.equal(batch.joints[1, :, :9], clips[1].joints)
    assert not batch.joints[1, :, 9:].any()
    assert batch.index.tolist() == [0, 1]
    assert torch.equal(batch.video_labels[0], clips[0].video_labels)


@pytest.mark.parametrize("bucketing", [True, False])
def test_every_clip_comes_once_an_epoch(bucketing: bool) -> None:
    order = TrainBatches(LENGTHS, 8, 0, bucketing, NOISE, drop_last=False)
    batches = list(order)
    assert len(batches) == len(order) == 13
    assert sorted(sum(batches, [])) == list(range(101))


@pytest.mark.parametrize("bucketing", [True, False])
def test_only_the_incomplete_batch_is_dropped(bucketing: bool) -> None:
    order = TrainBatches(LENGTHS, 8, 0, bucketing, NOISE, drop_last=True)
    assert len(order) == len(list(order)) == 12
    assert {len(batch) for batch in order} == {8}
    dropped = set()
    for order.epoch in range(20):
        dropped |= set(range(101)) - set(sum(order, []))
    assert len(dropped) > 20  # not always the longest


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        batches = TrainBatches(LENGTHS, 8, seed, True, NOISE, False)
        batches.epoch = epoch
        torch.rand(3), np.random.rand(3)  # noqa: NPY002 - global generators must not matter
        return list(batches)

    assert order(1, 4) == order(1, 4)
    assert order(1, 4) != order(1, 5)
    assert order(1, 4) != order(2, 4)


def test_bucketing_saves_most_of_the_padding() -> None:
    random, bucketed = (TrainBatches(LENGTHS, 8, 0, b, NOISE, False) for b in (False, True))
    assert padding(random) - 1 > 3 * (padding(bucketed) - 1)


def test_the_company_of_a_clip_differs_by_epoch_even_among_few() -> None:
    order = TrainBatches(LENGTHS[:16], 4, 0, True, NOISE, False)
    company = set()
    for order.epoch in range(10):
        company |= {tuple(sorted(batch)) for batch in order}
    assert len(company) > 20


def test_evaluation_sees_every_clip_longest_first() -> None:
    batches = list(EvalBatches(LENGTHS, 10))
    assert sorted(sum(batches, [])) == list(range(101))
    assert [LENGTHS[i] for batch in batches for i in batch] == sorted(LENGTHS, reverse=True)


def test_the_number_of_loader_processes_changes_nothing(make_split) -> None:
    clips = SkeletonClips(make_split(train=[12, 30, 9, 21, 18]), "train", POLICY, "upright")

    def joints(workers: int) -> list[torch.Tensor]:
        order = TrainBatches(clips.lengths, 2, 3, True, NOISE, False)
        return [batch.joints for batch in loader(clips, order, workers, torch.device("cpu"))]

    for ours, theirs in zip(joints(0), joints(2), strict=True):
        assert torch.equal(ours, theirs)
