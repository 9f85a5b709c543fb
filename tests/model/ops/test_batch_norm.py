"""Batch norm of padded batches equals PyTorch's batch norm of the real frames alone, also over ranks."""

import pytest
import torch
from torch import Tensor, nn

from model.ops.batch_norm import MaskedBatchNorm, moments, plain_moments, synchronize_batch_norm
from utils import distributed

LENGTHS = [9, 1, 6]
MASK = torch.arange(11) < torch.tensor(LENGTHS).unsqueeze(1)
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def norms(dtype: torch.dtype = torch.float64) -> tuple[MaskedBatchNorm, nn.BatchNorm1d]:
    ours, pytorch = MaskedBatchNorm(4).to(dtype), nn.BatchNorm1d(4, dtype=dtype)
    for norm in (ours, pytorch):
        nn.init.constant_(norm.weight, 1.7)
        nn.init.constant_(norm.bias, 0.3)
    return ours, pytorch


def features(*shape: int) -> Tensor:
    """(N, 4, T, 5), channels-last in memory."""
    return (3 + 2 * torch.randn(*shape, 5, 4, dtype=torch.float64)).permute(0, 3, 1, 2)


def real(x: Tensor, mask: Tensor = MASK) -> Tensor:
    """The values of real frames, (n, C)."""
    return x.permute(0, 2, 3, 1)[mask].flatten(0, 1)


@pytest.mark.usefixtures("implementation")
def test_output_gradients_and_running_statistics_are_pytorchs_of_the_real_frames() -> None:
    torch.manual_seed(0)
    x, upstream = features(3, 11), features(3, 11) * MASK[:, None, :, None]
    ours, pytorch = norms()
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    found, expected = ours(inputs[0], MASK), pytorch(real(inputs[1]))
    torch.testing.assert_close(real(found), expected, **EXACT)
    found.backward(upstream)
    expected.backward(real(upstream))
    assert not inputs[0].grad.permute(0, 2, 3, 1)[~MASK].any()
    for one, other in zip(
        [inputs[0].grad, ours.weight.grad, ours.bias.grad, *ours.buffers()],
        [inputs[1].grad, pytorch.weight.grad, pytorch.bias.grad, *pytorch.buffers()],
        strict=True,
    ):
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize("mask", [None, torch.ones(0, 5, dtype=torch.bool)])
def test_a_rank_without_clips_calls_no_kernel_that_a_gpu_cannot_start(
    monkeypatch: pytest.MonkeyPatch, mask: Tensor | None
) -> None:
    def refused(x: Tensor, *_: object) -> None:
        raise AssertionError(f"called on {tuple(x.shape)}")

    monkeypatch.setattr(torch, "native_batch_norm", refused)
    monkeypatch.setattr(distributed, "all_gather", lambda sums: torch.stack([sums, torch.ones_like(sums)]))
    norm, x = norms()[0], features(0, 5).requires_grad_()
    norm.over_ranks = True
    norm(x, mask).sum().backward()
    assert x.grad.shape == x.shape
    assert (norm.weight.grad == 0).all()
    assert (norm.running_mean == 0.1).all()  # the other rank's mean is 1


def test_without_a_mask_and_in_evaluation_it_is_pytorchs() -> None:
    torch.manual_seed(0)
    x = features(3, 11)
    ours, pytorch = norms()
    everything = torch.ones_like(MASK)
    torch.testing.assert_close(real(ours(x), everything), pytorch(real(x, everything)), **EXACT)
    torch.testing.assert_close(real(ours.eval()(x, MASK)), pytorch.eval()(real(x)), **EXACT)


@pytest.mark.usefixtures("implementation")
def test_a_mean_ten_thousand_times_the_deviation_costs_float32_no_precision() -> None:
    torch.manual_seed(0)
    x = (1e4 + torch.randn(3, 11, 5, 4, dtype=torch.float64)).float().permute(0, 3, 1, 2)
    exact = real(x).double()
    count, mean, var = moments(x, MASK)
    assert count == len(exact)
    torch.testing.assert_close(mean.double(), exact.mean(0), rtol=2e-7, atol=0)  # a float32 has 1.2e-7
    torch.testing.assert_close(var.double(), exact.var(0, correction=0), rtol=1e-3, atol=0)


@pytest.mark.usefixtures("implementation")
def test_statistics_of_bfloat16_features_are_float32() -> None:
    torch.manual_seed(0)
    x, (norm, _) = features(3, 11), norms(torch.float32)
    rough = x.bfloat16().requires_grad_()
    y = norm(rough, MASK)
    y.sum().backward()
    assert y.dtype == rough.grad.dtype == torch.bfloat16
    assert norm.running_var.dtype == norm.weight.grad.dtype == torch.float32
    _, mean, var = moments(rough.detach(), MASK)
    torch.testing.assert_close(mean, real(rough.detach()).float().mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(var, real(rough.detach()).float().var(0, correction=0), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("implementation")
def test_a_rank_is_normalized_by_the_frames_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """`distributed.all_gather` adds the statistics of another rank, whose values are far from this rank's."""
    torch.manual_seed(0)
    here, there = features(3, 11), 100 + torch.randn(5, 4, dtype=torch.float64)
    var, mean = torch.var_mean(there, 0, correction=0)
    theirs = torch.stack([torch.full_like(mean, 5), mean, var])
    monkeypatch.setattr(distributed, "all_gather", lambda own: torch.stack([own, theirs]))
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "all_reduce", lambda x: x)
    ours, pytorch = norms()
    synchronize_batch_norm(ours)
    expected = pytorch(torch.cat([real(here), there]))
    torch.testing.assert_close(real(ours(here, MASK)), expected[:-5], **EXACT)
    torch.testing.assert_close(list(ours.buffers()), list(pytorch.buffers()))
    nothing = here[:0].requires_grad_()
    ours(nothing, MASK[:0]).sum().backward()
    assert nothing.grad.shape == nothing.shape
    assert not ours.weight.grad.any()


@pytest.mark.usefixtures("implementation")
def test_a_rank_without_clips_keeps_its_own_statistics() -> None:
    norm, _ = norms()
    before = [buffer.clone() for buffer in norm.buffers()]
    y = norm(features(0, 11), MASK[:0])
    y.sum().backward()
    assert y.shape == (0, 4, 11, 5)
    torch.testing.assert_close(list(norm.buffers()), before)
    assert not norm.weight.grad.any()


def test_the_moments_for_compilers_are_the_same() -> None:
    torch.manual_seed(0)
    x = features(3, 11)
    for ours, expected in zip(plain_moments(x, MASK), moments(x, MASK), strict=True):
        torch.testing.assert_close(ours, expected, **EXACT)
