"""Micro-batches: every clip once, equal loads, and losses and gradients that add up to the batch's."""

import numpy as np
import pytest
import torch
from torch import Tensor

from feeders.batches import collate, epoch_batches, partition
from feeders.dataset import SkeletonClips
from feeders.micro_batches import MicroBatchPlan, micro_batches, train_loader
from model.localizer import Localizer
from model.losses import objective
from utils import config
from utils.config import Settings

LENGTHS = np.random.default_rng(0).integers(20, 900, 101)
DATA = config.load().data


def chosen(passes: int = 1, batch_size: int = 16, mask_padding: bool = True, drop_last: bool = False) -> Settings:
    given = {"train.accumulate": passes, "train.batch_size": batch_size, "model.mask_padding": mask_padding}
    given |= {"data.drop_last": drop_last, "data.bucket_mix": 0.01}
    return config.load(assignments=[f"{name}={str(value).lower()}" for name, value in given.items()])


def of_ranks(
    settings: Settings, ranks: int, lengths: np.ndarray = LENGTHS, labelled: np.ndarray | None = None
) -> list[tuple[MicroBatchPlan, ...]]:
    """The plans of the micro-batches of all ranks, pass by pass."""
    labelled = np.ones(len(lengths), bool) if labelled is None else labelled
    worlds = []
    for batch in epoch_batches(lengths, settings, 0):
        of_rank = [micro_batches(batch, lengths, labelled, settings, False, rank, ranks) for rank in range(ranks)]
        worlds += zip(*of_rank, strict=True)
    return worlds


@pytest.mark.parametrize(("passes", "ranks"), [(1, 1), (1, 3), (4, 1), (3, 7)])
def test_every_clip_is_seen_once_an_epoch_by_one_rank(passes: int, ranks: int) -> None:
    everything = of_ranks(chosen(passes), ranks)
    assert sorted(clip for world in everything for plan in world for clip in plan.local) == list(range(len(LENGTHS)))


@pytest.mark.parametrize(("passes", "ranks"), [(1, 3), (4, 1), (3, 7)])
def test_the_steps_are_those_of_one_process(passes: int, ranks: int) -> None:
    steps: list[list[int]] = [[]]
    for world in of_ranks(chosen(passes), ranks):
        together = sum((plan.local for plan in world), [])
        assert {(plan.ends_step, plan.frames) for plan in world} == {(world[0].ends_step, LENGTHS[together].sum())}
        padded = max(len(plan.local) * plan.padded_frames for plan in world)
        assert {plan.loss_normalization.frames_of_ranks for plan in world} == {LENGTHS[together].sum()}
        assert {plan.loss_normalization.max_frames_of_a_rank for plan in world} == {padded}
        steps[-1] += together
        if world[0].ends_step:
            steps.append([])
    assert [sorted(step) for step in steps[:-1]] == [sorted(step) for step in epoch_batches(LENGTHS, chosen(), 0)]


def test_one_pass_on_one_rank_is_the_batch_as_it_is() -> None:
    assert [plan.local for (plan,) in of_ranks(chosen(), 1)] == epoch_batches(LENGTHS, chosen(), 0)


def test_ranks_have_about_as_many_frames() -> None:
    worlds = of_ranks(chosen(drop_last=True), 4)
    frames = np.array([[LENGTHS[plan.local].sum() for plan in world] for world in worlds])
    assert (frames.max(axis=1) < 1.1 * frames.mean(axis=1)).all()


def test_clips_are_padded_to_a_multiple_of_the_frames_that_compiled_code_is_made_for() -> None:
    labelled = np.ones(len(LENGTHS), bool)
    for batch in epoch_batches(LENGTHS, chosen(), 0):
        (masked,) = micro_batches(batch, LENGTHS, labelled, chosen(), round_frames=True)
        assert masked.padded_frames % 64 == 0
        # Without masked padding, more padding would change results
        (plain,) = micro_batches(batch, LENGTHS, labelled, chosen(mask_padding=False), round_frames=True)
        assert plain.padded_frames == LENGTHS[batch].max()


def test_a_rank_without_a_clip_loads_an_empty_batch(make_split) -> None:
    clips = SkeletonClips(make_split(train=[30, 20, 9]), "train", DATA)
    plans = of_ranks(chosen(batch_size=2), 3, clips.lengths)
    assert [len(world[2].local) for world in plans] == [0, 0]
    settings = config.load(assignments=["train.batch_size=2", "data.mirror=0.5", "data.scale=0.1"])
    loader = train_loader(clips, settings, 0, np.ones(3, bool))
    batch, plan = loader.load(plans[0][2])
    assert batch.joints.shape == (0, 3, plan.padded_frames, 25, 1)
    assert batch.mask.shape == (0, plan.padded_frames)
    assert len(batch.index) == len(batch.video_labels) == len(batch.lengths) == 0


def test_items_are_distributed_so_that_no_group_costs_much_more() -> None:
    assert partition([3.0, 3.0, 5.0, 4.0], 2) == [[1, 2], [0, 3]]
    assert partition([1.0, 1.0], 3) == [[0], [1], []]


@pytest.mark.parametrize("mask_padding", [True, False])
def test_loss_weights_add_up_to_those_of_the_step(mask_padding: bool) -> None:
    sums, steps = np.zeros(3), 0
    for world in of_ranks(chosen(3, mask_padding=mask_padding), 2, labelled=np.arange(len(LENGTHS)) % 3 > 0):
        sums[:2] += sum(np.array(plan.loss_normalization[:2]) for plan in world)
        sums[2] += world[0].loss_normalization.multi_view_weight  # the same on all ranks
        steps += world[0].ends_step
    assert sums == pytest.approx([steps] * 3)


@pytest.mark.parametrize("mask_padding", [True, False])
@pytest.mark.parametrize("refining", [False, True])
def test_the_gradients_of_the_passes_add_up_to_the_batchs(make_split, mask_padding: bool, refining: bool) -> None:
    """Batch-norm statistics and the frames of the multi-view loss depend on the pass, so both are fixed here."""
    settings = config.load(
        assignments=["model.width=4", f"model.mask_padding={str(mask_padding).lower()}", "loss.multi_view_share=1.0"]
    )
    frames = [40, 33, 21, 52, 18]
    clips = SkeletonClips(make_split(train=frames), "train", DATA)
    torch.manual_seed(0)
    model = Localizer(len(clips.classes), settings.model).double().eval()
    pseudo = torch.rand(5, max(frames), len(clips.classes) + 1).double().softmax(-1)
    labelled = torch.tensor([True, True, False, True, True])

    def gradients(passes: int) -> tuple[int, dict[str, Tensor]]:
        model.zero_grad()
        plans = of_ranks(chosen(passes, 5, mask_padding), 1, clips.lengths, labelled.numpy())
        for (plan,) in plans:
            batch = collate(clips, plan.local, plan.padded_frames)
            labels = (pseudo[batch.index, : plan.padded_frames], labelled[batch.index]) if refining else None
            output = model(batch.joints, batch.mask, batch.lengths)
            terms = objective(output, batch.video_labels, batch.mask, labels, settings, plan.loss_normalization)
            terms["total"].backward()
        return len(plans), {name: p.grad.clone() for name, p in model.named_parameters()}

    (one, whole), (several, added) = gradients(1), gradients(3)
    assert (one, several) == (1, 3)
    for name, gradient in whole.items():
        torch.testing.assert_close(added[name], gradient, rtol=1e-9, atol=1e-12, msg=name)
    assert any(gradient.abs().max() > 1e-3 for gradient in whole.values())
