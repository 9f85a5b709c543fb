"""Batch norm over ranks: on one rank it is PyTorch's own, and over several that of all rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model.rank_norm import normalize_over_ranks
from utils import distributed


def norms() -> tuple[nn.BatchNorm1d, nn.BatchNorm1d]:
    own, pytorch = (nn.BatchNorm1d(4, dtype=torch.float64) for _ in range(2))
    for norm in (own, pytorch):
        nn.init.constant_(norm.weight, 1.7)
        nn.init.constant_(norm.bias, 0.3)
    return own, pytorch


def test_one_rank_has_pytorchs_output_gradients_and_running_statistics() -> None:
    torch.manual_seed(0)
    rows, upstream = 3 + 2 * torch.randn(50, 4, dtype=torch.float64), torch.randn(50, 4, dtype=torch.float64)
    found = []
    for norm, function in zip(norms(), (normalize_over_ranks, nn.BatchNorm1d.forward), strict=True):
        x = rows.clone().requires_grad_()
        output = function(norm, x)
        output.backward(upstream)
        found.append([output, x.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_rank_is_normalised_by_the_rows_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other rank's rows, far from this one's, come in through the one exchange that there is."""
    torch.manual_seed(0)
    here, there = torch.randn(9, 4, dtype=torch.float64), 100 + torch.randn(5, 4, dtype=torch.float64)
    var, mean = torch.var_mean(there, 0, correction=0)
    theirs = torch.stack([torch.full_like(mean, 5), mean, 5 * var])

    def stack(own: Tensor) -> Tensor:
        return torch.stack([own, theirs])

    monkeypatch.setattr(distributed, "stack", stack)
    own, pytorch = norms()
    expected = pytorch(torch.cat([here, there]))
    torch.testing.assert_close(normalize_over_ranks(own, here), expected[:9], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(list(own.buffers()), list(pytorch.buffers()))
    nothing = here[:0].requires_grad_()
    normalize_over_ranks(own, nothing).sum().backward()
    assert nothing.grad.shape == (0, 4)
    assert not own.weight.grad.any()
