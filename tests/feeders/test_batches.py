"""Batches: padding, order, and what they may depend on."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from feeders.batches import Loader, collate, epoch_batches, eval_loader
from feeders.dataset import SkeletonClips, network_input
from feeders.micro_batches import train_loader
from utils import config
from utils.skeleton import NUM_JOINTS

DATA = config.load().data
LENGTHS = np.random.default_rng(0).integers(20, 900, 101)
BABEL_LIKE = np.random.default_rng(1).lognormal(np.log(200), 0.8, 4000).clip(15, 1000).astype(int)
FEW_LIKE = np.interp(np.linspace(0, 1, 160), [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1], [138, 221, 333, 427, 538, 617, 698])


def order(lengths: np.ndarray, batch_size: int, epoch: int, bucketing: bool = True, **others: str) -> list[list[int]]:
    given = {"data.bucketing": str(bucketing).lower(), "train.batch_size": batch_size, "train.seed": 0} | others
    settings = config.load(assignments=[f"{name}={value}" for name, value in given.items()])
    return epoch_batches(lengths, settings, epoch)


def real_share(lengths: np.ndarray, batch_size: int, bucketing: bool = True) -> float:
    """Real frames per frame of the padded batches, over 20 epochs."""
    real = padded = 0
    for epoch in range(20):
        for batch in order(lengths, batch_size, epoch, bucketing):
            real += lengths[batch].sum()
            padded += lengths[batch].max() * len(batch)
    return real / padded


def test_a_batch_holds_each_clip_and_zeros_behind_it(make_split) -> None:
    clips = SkeletonClips(make_split(train=[30, 9]), "train", DATA)
    batch = collate(clips, [0, 1])
    assert batch.joints.shape == (2, 3, 30, 25, 1)
    assert batch.mask.sum(1).tolist() == batch.lengths.tolist() == [30, 9]
    assert torch.equal(batch.joints[1, :, :9], clips.joints(1))
    assert not batch.joints[1, :, 9:].any()
    assert batch.index.tolist() == [0, 1]
    assert batch.video_labels.bool().tolist() == clips.video_labels.tolist()


@pytest.mark.parametrize("bucketing", [True, False])
def test_every_clip_comes_once_an_epoch(bucketing: bool) -> None:
    batches = order(LENGTHS, 8, 0, bucketing)
    assert len(batches) == 13
    assert sorted(sum(batches, [])) == list(range(101))


@pytest.mark.parametrize("bucketing", [True, False])
def test_only_the_incomplete_batch_is_dropped(bucketing: bool) -> None:
    epochs = [order(LENGTHS, 8, epoch, bucketing, **{"data.drop_last": "true"}) for epoch in range(20)]
    assert {len(batches) for batches in epochs} == {12}
    assert {len(batch) for batches in epochs for batch in batches} == {8}
    dropped = [set(range(101)) - set(sum(batches, [])) for batches in epochs]
    assert len(set.union(*dropped)) > 20  # not always the longest


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def of_seed(seed: str, epoch: int) -> list[list[int]]:
        torch.rand(3), np.random.rand(3)  # noqa: NPY002 - global generators must not matter
        return order(LENGTHS, 8, epoch, **{"train.seed": seed})

    assert of_seed("1", 4) == of_seed("1", 4)
    assert of_seed("1", 4) != of_seed("1", 5)
    assert of_seed("1", 4) != of_seed("2", 4)


@pytest.mark.parametrize(
    ("lengths", "batch_size", "least"), [(BABEL_LIKE, 8, 0.96), (BABEL_LIKE, 32, 0.94), (FEW_LIKE, 8, 0.93)]
)
def test_bucketing_leaves_little_padding(lengths: np.ndarray, batch_size: int, least: float) -> None:
    assert real_share(lengths, batch_size) > least
    assert real_share(lengths, batch_size, bucketing=False) < 0.8


def test_few_clips_in_large_batches_are_padded_little_more_than_sorting_alone_would() -> None:
    """160 clips in 5 batches: sorting them leaves 88 % real frames and the same batches each epoch."""
    assert real_share(FEW_LIKE, 32) > 0.78


def test_the_batches_differ_between_epochs_even_among_few_clips() -> None:
    different = {tuple(sorted(batch)) for epoch in range(10) for batch in order(LENGTHS[:16], 4, epoch)}
    assert len(different) > 20
    little, much = (order(LENGTHS, 4, 0, **{"data.bucket_mix": mix}) for mix in ("0.0", "1.0"))
    assert little != much
    longest = [LENGTHS[batch].max() for batch in little]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.5  # the batches are shuffled


def test_evaluation_sees_every_clip_longest_first(make_split) -> None:
    clips = SkeletonClips(make_split(train=[12, 30, 9, 21, 18]), "train", DATA)
    assert eval_loader(clips, 2).items == [[1, 3], [4, 0], [2]]


def test_the_thread_that_loads_gives_the_batches_in_order_and_one_ahead(make_split) -> None:
    clips = SkeletonClips(make_split(train=[12, 30, 9, 21, 18]), "train", DATA)
    settings = config.load(assignments=["train.batch_size=2", "data.mirror=0.5", "data.scale=0.1"])
    for loader in (train_loader(clips, settings, 0, np.ones(5, bool)), eval_loader(clips, 2)):
        begun, load = [], loader.load
        loader.load = lambda item, begun=begun, load=load: begun.append(threading.get_ident()) or load(item)
        for count, (found, item) in enumerate(zip(loader, loader.items, strict=True), start=1):
            expected = load(item)
            (ours, *_), (theirs, *_) = [part if isinstance(part, tuple) else (part,) for part in (found, expected)]
            assert torch.equal(ours.joints, theirs.joints)
            assert torch.equal(ours.index, theirs.index)
            assert len(begun) <= min(count + 1, len(loader)) == min(count + 1, 3)
        assert len(set(begun)) == 1
        assert threading.get_ident() not in begun


def test_an_error_of_the_thread_reaches_the_caller_and_a_stopped_pass_leaves_no_thread(make_split) -> None:
    clips = SkeletonClips(make_split(train=[12, 30, 9]), "train", DATA)
    before = threading.active_count()
    for _ in eval_loader(clips, 1):
        break
    with pytest.raises(ZeroDivisionError):
        list(Loader(clips, [1, 0], lambda item: 1 // item))
    assert threading.active_count() == before


def test_clips_of_one_and_of_two_people_share_a_batch() -> None:
    joints = np.random.default_rng(0).normal(size=(6, 2, NUM_JOINTS, 3))
    of_clips = [network_input(some, "upright") for some in (joints, joints[:4, 0])]
    clips = SimpleNamespace(joints=of_clips.__getitem__, lengths=np.array([6, 4]), video_labels=np.ones((2, 1), bool))
    batch = collate(clips, [0, 1])
    assert batch.joints.shape == (2, 3, 6, NUM_JOINTS, 2)
    assert torch.equal(batch.joints[0], of_clips[0])
    assert torch.equal(batch.joints[1, :, :4, :, :1], of_clips[1])
    assert not batch.joints[1, ..., 1].any()
