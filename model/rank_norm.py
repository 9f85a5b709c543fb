"""Batch normalisation by the statistics of all ranks' rows, as one process would have of the whole batch.

PyTorch's SyncBatchNorm runs on GPUs alone, so this is the same idea for any device: one exchange forwards, one back.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils import distributed


def normalize_over_ranks(norm: nn.BatchNorm1d, rows: Tensor) -> Tensor:
    """Normalise (R, C) rows, R differing by rank and possibly 0, and move the running statistics along."""
    own = norm.weight.new_zeros(3, rows.shape[1])  # count, mean, sum of squares about it
    if len(rows):
        var, mean = torch.var_mean(rows.detach().to(own.dtype), dim=0, correction=0)
        own = torch.stack([torch.full_like(mean, len(rows)), mean, var * len(rows)])
    counts, means, squares = distributed.stack(own).unbind(1)  # (ranks, C) each
    count = counts.sum(0)
    mean = (counts * means).sum(0) / count
    squares = (squares + counts * (means - mean) ** 2).sum(0)  # Chan et al. 1979: no large sums are subtracted
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(squares / (count - 1), norm.momentum)
    return _Normalize.apply(rows, norm.weight, norm.bias, mean, squares / count, count, norm.eps)


class _Normalize(torch.autograd.Function):
    """(rows − mean)/√(var + eps)·weight + bias, where mean and var are functions of all ranks' rows."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, count: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(rows, weight, mean, var, count)
        ctx.eps = eps
        return F.batch_norm(rows, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, mean, var, count = ctx.saved_tensors
        given = (weight, mean, var, None, None, False, ctx.eps)  # as if mean and var did not depend on the rows
        of_weight = of_bias = torch.zeros_like(mean)
        if len(rows):  # on none PyTorch's kernel divides by zero
            _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(grad, rows, *given, [False, True, True])
        mean_bias, mean_weight = distributed.add_up(torch.stack([of_bias, of_weight])) / count
        inverse = (var + ctx.eps).rsqrt()
        scale, slope = weight * inverse, weight * inverse**2 * mean_weight
        # weight/σ · (grad − mean_bias − (rows − mean)/σ · mean_weight), in two passes over the rows
        grad_rows = torch.addcmul(mean * slope - scale * mean_bias, rows, -slope).addcmul_(grad, scale).to(rows.dtype)
        return grad_rows, of_weight, of_bias, None, None, None, None  # DDP adds the parameters' up over ranks
