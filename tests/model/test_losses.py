import math

import pytest
import torch

from model.localizer import Output
from model.losses import EpochLosses, mil_loss, multi_view_loss, objective, pseudo_label_loss
from model.mil_head import View
from utils import config
from utils.distributed import LossNormalization
from utils.errors import UserError


def output_of() -> Output:
    views = [View(torch.randn(2, 3), torch.randn(2, 4, 3, requires_grad=True)) for _ in range(2)]
    return Output(tuple(views), torch.zeros(0))


@pytest.mark.parametrize("refining", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_the_objective_is_the_sum_of_its_weighted_terms(refining: bool, counted: bool) -> None:
    torch.manual_seed(0)
    change = [f"model.mask_padding={not counted}", "loss.multi_view=0.7", "loss.multi_view_share=1.0"]
    settings, output = config.load([], change), output_of()
    (logits1, first), (logits2, second) = output.views
    labels, mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.arange(4) < torch.tensor([[4], [2]])
    pseudo = (torch.rand(2, 4, 3), torch.tensor([True, False])) if refining else None
    terms = objective(output, labels, mask, pseudo, settings, LossNormalization())
    mil = mil_loss(logits1, labels) + mil_loss(logits2, labels)
    views = multi_view_loss(first, second, torch.ones_like(mask) if counted else mask, 1.0)
    expected = (0.1 if refining else 1) * mil + 0.7 * views
    if refining:  # only the first clip has pseudo-labels
        labelled = mask & torch.tensor([[True], [False]])
        expected = expected + sum(pseudo_label_loss(scores, pseudo[0], labelled) for scores in (first, second))
    torch.testing.assert_close(terms["total"], expected)
    assert views > 0


def test_a_detached_multi_view_loss_is_counted_but_has_no_gradient() -> None:
    output, labels, mask = output_of(), torch.ones(2, 2), torch.ones(2, 4, dtype=torch.bool)
    settings = config.load([], ["loss.detach_multi_view=true"])
    terms = objective(output, labels, mask, None, settings, LossNormalization())
    torch.testing.assert_close(terms["total"], terms["mil"] + terms["multi_view"])
    assert not terms["total"].requires_grad


def test_mil_loss_counts_background_as_present():
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    p = torch.sigmoid(logits)[0]
    expected = -(math.log(p[0]) + math.log(1 - p[1]) + math.log(p[2])) / 3
    assert mil_loss(logits, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(expected, rel=1e-6)


def test_mil_loss_of_no_clip_is_zero() -> None:
    assert mil_loss(torch.zeros(0, 3), torch.zeros(0, 2)) == 0


def test_multi_view_loss_is_the_mean_of_the_smallest_divergences_of_real_frames():
    torch.manual_seed(0)
    scores1, scores2 = torch.randn(2, 7, 4), torch.randn(2, 7, 4)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    divergences = []
    for n, t in mask.nonzero().tolist():
        p, q = scores1[n, t].softmax(0), scores2[n, t].softmax(0)
        divergences.append(float(0.5 * (p * (p / q).log()).sum() + 0.5 * (q * (q / p).log()).sum()))
    expected = sum(sorted(divergences)[:3]) / 3  # int(0.35 · 11 frames)
    assert multi_view_loss(scores1, scores2, mask, share=0.35).item() == pytest.approx(expected, rel=1e-5)
    known = multi_view_loss(scores1, scores2, mask, share=0.35, frames_of_ranks=11, max_frames_of_a_rank=20)
    assert known.item() == pytest.approx(expected, rel=1e-5)


def test_multi_view_loss_of_one_frame_counts_that_frame():
    scores1, scores2 = torch.zeros(1, 1, 3), torch.tensor([[[1.0, 0.0, 0.0]]])
    assert multi_view_loss(scores1, scores2, torch.ones(1, 1, dtype=torch.bool), share=0.2) > 0


def test_multi_view_loss_pulls_both_views_together():
    scores1 = torch.tensor([[[2.0, 0.0]]], requires_grad=True)
    scores2 = torch.tensor([[[0.0, 0.0]]], requires_grad=True)
    multi_view_loss(scores1, scores2, torch.ones(1, 1, dtype=torch.bool), share=1.0).backward()
    assert scores1.grad[0, 0, 0] > 0 > scores2.grad[0, 0, 0]


def test_pseudo_label_loss_is_the_mean_cross_entropy_over_the_mask():
    scores = torch.randn(2, 5, 3)
    pseudo = torch.rand(2, 5, 3)
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    rows = [-(pseudo[n, t] * scores[n, t].log_softmax(0)).sum() for n, t in mask.nonzero().tolist()]
    torch.testing.assert_close(pseudo_label_loss(scores, pseudo, mask), torch.stack(rows).mean())


def test_pseudo_label_loss_of_no_frame_is_zero():
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    assert pseudo_label_loss(torch.randn(1, 4, 3), torch.rand(1, 4, 3), nothing) == 0


@pytest.mark.parametrize("bad", [0, 2])
def test_a_loss_that_is_not_finite_is_noticed_at_the_next_step_or_at_the_end(bad: int) -> None:
    losses = EpochLosses(3, ["a", "b", "c"])
    with pytest.raises(
        UserError, match=r"epoch 4: the loss is not finite \(total nan, mil 1\) on clips c, a\. The last"
    ):
        for step in range(3):
            total = torch.tensor(torch.nan if step == bad else 1.0)
            losses.add({"total": total, "mil": torch.tensor(1.0)}, torch.tensor([2, 0] if step == bad else [1]))
            assert step <= bad
        losses.totals()


def test_the_total_may_come_after_other_terms_and_a_rank_may_have_no_clip() -> None:
    losses = EpochLosses(0, [])
    losses.add({"own": torch.tensor(1.0), "total": torch.tensor(torch.nan)}, torch.tensor([], dtype=torch.int64))
    with pytest.raises(UserError, match=r"\(own 1, total nan\) on clips \(none: this rank has no clip in this step\)"):
        losses.totals()


def test_losses_are_added_up_by_term() -> None:
    losses = EpochLosses(0, [])
    for step in (1.0, 2.0):
        losses.add({"total": torch.tensor(step), "mil": torch.tensor(2 * step)}, torch.tensor([0]))
    assert losses.totals() == {"total": 3.0, "mil": 6.0}
