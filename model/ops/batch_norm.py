"""Batch normalization over the real frames of a padded batch, of one process or of all that train together."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.ops.padding import on_cpu, real_frames, zero_padding
from utils import distributed

AXES = (0, 2, 3)  # all but channels


class MaskedBatchNorm(nn.BatchNorm2d):
    """Batch normalization whose statistics are of real frames alone. What comes out in the padding means nothing.

    `over_ranks` makes them statistics of all ranks' frames (`synchronize_batch_norm`). PyTorch's SyncBatchNorm knows no
    mask and runs on GPUs alone.
    """

    over_ranks = False

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, C, T, V) and its real frames (N, T), or None where all are → (N, C, T, V)."""
        if not self.training or (mask is None and not self.over_ranks):
            return super().forward(x)
        if not len(x) and not self.over_ranks:  # a rank without a clip has no statistics, but takes part in the step
            return x * self.weight[:, None, None] + self.bias[:, None, None]
        count, mean, var = moments(x, mask)
        if self.over_ranks:
            count, mean, var = combined(*distributed.stack(torch.stack([count.expand_as(mean), mean, var])).unbind(1))
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        return _Normalize.apply(x, self.weight, self.bias, count, mean, var, mask, self.eps, self.over_ranks)


def synchronize_batch_norm(model: nn.Module) -> None:
    """Let every batch norm of `model` take its statistics from the frames of all ranks."""
    for module in model.modules():
        if isinstance(module, MaskedBatchNorm):
            module.over_ranks = distributed.size() > 1


@torch.no_grad()
def moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Count (), mean (C,) and variance (C,) of each channel's values in the real frames of (N, C, T, V).

    They are float32 or float64. No large sums are subtracted, so a mean far above the deviation costs no precision.
    """
    exact = torch.promote_types(x.dtype, torch.float32)
    if not len(x):
        return tuple(x.new_zeros(shape, dtype=exact) for shape in ((), x.shape[1], x.shape[1]))
    if on_cpu(x):
        return _moments_by_clip(x, mask, exact)
    values = x[:, 0].numel()
    if mask is None:
        var, mean = torch.var_mean(x.to(exact), AXES, correction=0)
        return mean.new_tensor(values), mean, var
    # Fill the padding with one value per channel, compute the moments of everything, and subtract the padding's part, a
    # group without variance (Chan et al. 1979). The value is near the mean, so little precision is lost.
    near = x[:, :, 0].mean((0, 2))
    filled = torch.where(mask[:, None, :, None], x, near[:, None, None])
    var, mean = torch.var_mean(filled.to(exact), AXES, correction=0)
    count = mask.sum().to(exact) * x.shape[3]
    share = count / values
    distance = (mean - near) / share  # from the padding's value to the mean of the real frames
    var = (var / share - distance.square() * (1 - share)).clamp(min=0)
    return count, near + distance, var


def _moments_by_clip(x: Tensor, mask: Tensor | None, exact: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The same, clip by clip. On a CPU this is twenty times as fast as `torch.var_mean`."""
    clips = x.permute(0, 2, 3, 1)  # (N, T, V, C)
    lengths = real_frames(clips, mask)
    running = x.new_zeros(2, x.shape[1], dtype=exact)  # the operation wants them; momentum 0 leaves them
    found = [
        torch.batch_norm_update_stats(clip[:length].reshape(-1, x.shape[1]), *running, 0.0)
        for clip, length in zip(clips, lengths, strict=True)
    ]
    counts = x.new_tensor(lengths, dtype=exact).unsqueeze(1) * x.shape[3]
    count, mean, var = combined(counts, *map(torch.stack, zip(*found, strict=True)))
    return count.squeeze(), mean, var


def combined(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and variance of several groups together, given as (groups, 1 or C) and twice (groups, C).

    (Chan et al. 1979.)
    """
    count = counts.sum(0)
    share = counts / count.clamp(min=1)
    mean = (share * means).sum(0)
    return count, mean, (share * (variances + (means - mean) ** 2)).sum(0)


class _Normalize(torch.autograd.Function):
    """(x − mean)/√(var + eps)·weight + bias, where mean and var depend on real frames of x, on all ranks if asked."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        count: Tensor,
        mean: Tensor,
        var: Tensor,
        mask: Tensor | None,
        eps: float,
        over_ranks: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, count, mean, var, mask)
        ctx.eps, ctx.over_ranks = eps, over_ranks
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient is zero in the padding, as what came out there means nothing."""
        x, weight, count, mean, var, mask = ctx.saved_tensors
        given = (weight, mean, var, None, None, False, ctx.eps)  # as if mean and var did not depend on x
        of_weight = of_bias = torch.zeros_like(mean)
        if len(x):  # on none PyTorch's kernel divides by zero
            _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(grad, x, *given, [False, True, True])
        sums = torch.stack([of_bias, of_weight])
        mean_bias, mean_weight = (distributed.add_up(sums.clone()) if ctx.over_ranks else sums) / count
        # weight/σ · (grad − mean_bias − (x − mean)/σ · mean_weight), in two passes over x
        inverse = (var + ctx.eps).rsqrt()
        scale = weight * inverse
        slope = scale * inverse * mean_weight
        scale, slope, shift = (c[:, None, None] for c in (scale, slope, mean * slope - scale * mean_bias))
        grad_x = torch.addcmul(shift, x, slope, value=-1).addcmul_(grad, scale).to(x.dtype)
        return zero_padding(grad_x, mask), of_weight, of_bias, *[None] * 6
