"""A batch in parts: every clip once, shares alike, and the parts' losses and gradients add up to the batch's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from feeders.batches import Batch, TrainBatches, collate
from feeders.dataset import SkeletonClips
from feeders.label_policy import LabelPolicy
from feeders.parts import Part, Parts
from model.localizer import Localizer
from model.losses import Portion, objective
from utils import config
from utils.distributed import deal

LENGTHS = np.random.default_rng(0).integers(20, 900, 101)


def order(lengths: np.ndarray = LENGTHS, batch_size: int = 16) -> TrainBatches:
    return TrainBatches(lengths, batch_size, 0, True, 0.01, False)


def of_ranks(batches: TrainBatches, passes: int, ranks: int) -> Iterator[tuple[Part, ...]]:
    return zip(*(Parts(batches, passes, rank, ranks).of_epoch() for rank in range(ranks)), strict=True)


@pytest.mark.parametrize(("passes", "ranks"), [(1, 1), (1, 3), (4, 1), (3, 7)])
def test_every_clip_is_seen_once_an_epoch_by_one_rank(passes: int, ranks: int) -> None:
    everything = list(of_ranks(order(), passes, ranks))
    assert sorted(clip for parts in everything for part in parts for clip in part.own) == list(range(len(LENGTHS)))
    assert len(everything) == len(Parts(order(), passes, 0, ranks))


@pytest.mark.parametrize(("passes", "ranks"), [(1, 3), (4, 1), (3, 7)])
def test_the_steps_are_those_of_one_process(passes: int, ranks: int) -> None:
    steps: list[list[int]] = [[]]
    for parts in of_ranks(order(), passes, ranks):
        assert len({(part.last, *part.step) for part in parts}) == 1  # all ranks know the same
        assert sorted(sum((part.own for part in parts), [])) == sorted(parts[0].together)
        steps[-1] += parts[0].together
        if parts[0].last:
            assert sorted(steps[-1]) == sorted(parts[0].step)
            steps.append([])
    assert [sorted(step) for step in steps[:-1]] == [sorted(step) for step in order()]


def test_one_pass_on_one_rank_is_the_batch_as_it_is() -> None:
    assert [part.own for part in Parts(order(), 1, 0, 1).of_epoch()] == list(order())


def test_ranks_have_about_as_many_frames() -> None:
    whole = TrainBatches(LENGTHS, 16, 0, True, 0.01, drop_last=True)
    frames = np.array([[LENGTHS[part.own].sum() for part in parts] for parts in of_ranks(whole, 1, 4)])
    assert (frames.max(axis=1) < 1.1 * frames.mean(axis=1)).all()


def test_a_rank_without_a_clip_loads_one_and_drops_it(make_split) -> None:
    lengths = np.array([30, 20, 9])
    parts = [Parts(order(lengths, 2), 1, rank, 3) for rank in range(3)]
    assert [len(part.own) for part in parts[2].of_epoch()] == [0, 0]
    assert all(len(indices) == 1 for indices in parts[2])
    clips = SkeletonClips(
        make_split(train=[30, 20, 9]), "train", LabelPolicy("all", "background", 1000, "clip"), "upright"
    )
    batch = collate([clips[0]]).fit(0, 40)
    assert batch.joints.shape == (0, 3, 40, 25, 1)
    assert batch.mask.shape == (0, 40)
    assert len(batch.index) == len(batch.video_labels) == 0


def test_things_are_dealt_so_that_no_hand_is_much_fuller() -> None:
    assert deal([3.0, 3.0, 5.0, 4.0], 2) == [[1, 2], [0, 3]]
    assert deal([1.0, 1.0], 3) == [[0], [1], []]


def test_portions_add_up_to_the_whole() -> None:
    lengths, known = torch.from_numpy(LENGTHS), torch.from_numpy(np.arange(len(LENGTHS)) % 3 > 0)
    sums: dict[str, float] = dict.fromkeys(Portion._fields, 0.0)
    steps = 0
    for parts in of_ranks(order(), 3, 2):
        portions = [Portion.of(*part[:3], lengths, known, mask_padding=True) for part in parts]
        for name in ("clips", "known"):
            sums[name] += sum(getattr(portion, name) for portion in portions)
        sums["counted"] += portions[0].counted  # a pass is counted by all ranks together
        steps += parts[0].last
    assert sums == pytest.approx(dict.fromkeys(Portion._fields, steps))


@pytest.mark.parametrize("mask_padding", [True, False])
@pytest.mark.parametrize("refining", [False, True])
def test_the_gradients_of_the_passes_add_up_to_the_batchs(make_split, mask_padding: bool, refining: bool) -> None:
    """With batch norm's statistics fixed, and a multi-view loss of all frames: both look at a pass alone."""
    settings = config.load(
        assignments=["model.width=4", f"model.mask_padding={str(mask_padding).lower()}", "loss.multi_view_share=1.0"]
    )
    frames = [40, 33, 21, 52, 18]
    clips = SkeletonClips(make_split(train=frames), "train", LabelPolicy("all", "background", 1000, "clip"), "upright")
    torch.manual_seed(0)
    model = Localizer(len(clips.classes), settings.model).double().eval()
    pseudo = torch.rand(5, max(frames), len(clips.classes) + 1).double().softmax(-1)
    known = torch.tensor([True, True, False, True, True])

    def gradients(passes: int) -> tuple[int, dict[str, Tensor]]:
        model.zero_grad()
        parts = list(Parts(order(clips.lengths, 5), passes, 0, 1).of_epoch())
        for part in parts:
            longest = 0 if mask_padding else max(frames)
            batch: Batch = collate([clips[i] for i in part.own]).fit(len(part.own), longest)
            labels = (pseudo[batch.index, : batch.mask.shape[1]], known[batch.index]) if refining else None
            portion = Portion.of(*part[:3], torch.tensor(frames), known, mask_padding)
            output = model(batch.joints, batch.mask)
            objective(output, batch.video_labels, batch.mask, labels, settings, portion)["total"].backward()
        return len(parts), {name: p.grad.clone() for name, p in model.named_parameters()}

    (one, whole), (several, added) = gradients(1), gradients(3)
    assert (one, several) == (1, 3)
    for name, gradient in whole.items():
        torch.testing.assert_close(added[name], gradient, rtol=1e-9, atol=1e-12, msg=name)
    assert any(gradient.abs().max() > 1e-3 for gradient in whole.values())
