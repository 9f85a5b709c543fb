"""Batch normalization over the real frames of a padded batch, on one rank or over all ranks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.ops.padding import mask_constants, real_lengths, use_cpu_path, zero_beyond
from utils import distributed


class MaskedBatchNorm(nn.BatchNorm2d):
    """Batch normalization with the statistics of real frames. The padding of the output holds no meaningful values.

    With `over_ranks`, the statistics are those of all ranks' frames (see `synchronize_batch_norm`). PyTorch's
    SyncBatchNorm has no mask and runs only on GPUs.
    """

    over_ranks = False

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, C, T, V) and its mask (N, T), or None if all frames are real → (N, C, T, V)."""
        if not self.training or (mask is None and not self.over_ranks):
            return super().forward(x)
        if not len(x) and not self.over_ranks:  # a rank without clips has no statistics, but takes part in the step
            return x * self.weight[:, None, None] + self.bias[:, None, None]
        compiling = torch.compiler.is_compiling()
        count, mean, var = plain_moments(x, mask) if compiling else moments(x, mask)
        if self.over_ranks:
            of_ranks = distributed.all_gather(torch.stack([count.expand_as(mean), mean, var]))  # (ranks, 3, C)
            count, mean, var = pooled(*of_ranks.unbind(1))
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            unbiased = torch.addcdiv(var, var, count - 1)  # var · n/(n − 1)
            self.running_var.lerp_(unbiased, self.momentum)
        if compiling:  # the compiler computes the gradient and fuses the operations
            scale = self.weight * (var + self.eps).rsqrt()
            return ((x - mean[:, None, None]) * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)
        return _Normalize.apply(x, self.weight, self.bias, (count, mean, var), mask, self.eps, self.over_ranks)


def synchronize_batch_norm(model: nn.Module) -> None:
    """Let every batch norm of `model` take its statistics from the frames of all ranks."""
    for module in model.modules():
        if isinstance(module, MaskedBatchNorm):
            module.over_ranks = distributed.size() > 1


def plain_moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same as `moments` in a few differentiable operations, for torch.compile."""
    real = mask[:, None, :, None].expand(-1, -1, -1, x.shape[3]).to(torch.promote_types(x.dtype, torch.float32))
    count = real.sum()
    mean = (x * real).sum((0, 2, 3)) / count
    return count, mean, ((x - mean[:, None, None]).square() * real).sum((0, 2, 3)) / count


@torch.no_grad()
def moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Count (), mean (C,) and variance (C,) of each channel's values in the real frames of (N, C, T, V).

    They are float32 or float64. The variance is not computed as E[x²] − E[x]², so it stays precise when the mean is
    much larger than the standard deviation.
    """
    N, C, T, V = x.shape
    dtype = torch.promote_types(x.dtype, torch.float32)
    if not N:
        return tuple(x.new_zeros(shape, dtype=dtype) for shape in ((), C, C))
    if use_cpu_path(x):  # clip by clip: on a CPU twenty times as fast as torch.var_mean
        lengths = real_lengths(x, mask)
        running = x.new_zeros(2, C, dtype=dtype)  # the operation requires them; momentum 0 leaves them as they are
        by_clip = [
            torch.batch_norm_update_stats(clip[:length].reshape(-1, C), *running, 0.0)
            for clip, length in zip(x.permute(0, 2, 3, 1), lengths, strict=True)  # (T, V, C)
        ]
        counts = x.new_tensor(lengths, dtype=dtype).unsqueeze(1) * V
        means, variances = (torch.stack(values) for values in zip(*by_clip, strict=True))
        count, mean, var = pooled(counts, means, variances)
        return count.squeeze(), mean, var
    if mask is None:
        mean, var = moments_of_all(x)
        return mean.new_full((), N * T * V), mean, var
    # Fill the padding of each channel with a value near its mean, and compute the moments m and v of all frames, the
    # filled ones included. The padding is a group with mean `filler` and variance 0. Its contribution is removed
    # (Chan et al. 1979):
    #     r = all frames / real frames, d = m - filler
    #     mean of the real frames = filler + r·d
    #     variance of the real frames = r·(v + (1 - r)·d²)     precise, because d is small
    filler = x[:, :, 0].mean((0, 2))  # over the first frame of each clip, which is always real
    constants = mask_constants(mask, V, x.dtype)
    filled = torch.where(constants.padding, filler[:, None, None], x)
    mean, var = moments_of_all(filled)
    distance = mean - filler
    var = var.addcmul_(distance.square(), constants.one_minus_ratio).mul_(constants.ratio).clamp_(min=0)
    return constants.count, torch.addcmul(filler, distance, constants.ratio), var


def moments_of_all(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and variance (C,) of (N, C, T, V), at least in float32."""
    if x.is_cuda:  # faster than torch.var_mean
        return torch.batch_norm_update_stats(x, None, None, 0.0)
    var, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), (0, 2, 3), correction=0)
    return mean, var


def pooled(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and variance of several groups together (Chan et al. 1979).

    Args:
        counts: (groups, 1 or C).
        means, variances: (groups, C).
    """
    count = counts.sum(0)
    fraction = counts / count.clamp(min=1)
    mean = (fraction * means).sum(0)
    return count, mean, (fraction * (variances + (means - mean) ** 2)).sum(0)


class _Normalize(torch.autograd.Function):
    """(x − mean)/√(var + eps)·weight + bias.

    Mean and var depend on x, and the gradient includes this. They are those of the real frames of this rank, or with
    `over_ranks`, of all ranks.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        statistics: tuple[Tensor, Tensor, Tensor],
        mask: Tensor | None,
        eps: float,
        over_ranks: bool,
    ) -> Tensor:
        count, mean, var = statistics
        ctx.save_for_backward(x, weight, count, mean, var, mask)
        ctx.eps, ctx.over_ranks = eps, over_ranks
        if not len(x):  # a rank without clips; PyTorch's GPU kernel fails on an empty tensor
            return torch.empty_like(x)
        # F.batch_norm would call cuDNN, whose float32 kernel is slower
        return torch.native_batch_norm(x, weight, bias, mean, var, False, 0.0, eps)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """`grad` is zero in the padding, because `masked_relu` comes after. The gradient of x is zero there, too."""
        x, weight, count, mean, var, mask = ctx.saved_tensors
        inverse = (var + ctx.eps).rsqrt()
        if len(x):
            statistics = (weight, mean, var, mean, inverse, False, ctx.eps)  # False: mean and var are given
            _, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
                grad, x, *statistics, [False, True, True]
            )
        else:  # PyTorch's CPU kernel would divide by zero
            grad_weight = grad_bias = torch.zeros_like(mean)
        sum_grad, sum_grad_normalized = grad_bias, grad_weight
        if ctx.over_ranks:
            sum_grad, sum_grad_normalized = distributed.all_reduce(torch.stack([grad_bias, grad_weight]))
        # With x̂ = (x − mean)/σ, the gradient of x is weight/σ · (grad − E[grad] − x̂ · E[grad · x̂])
        scale = weight * inverse
        by_count = scale / count
        slope = by_count * inverse * sum_grad_normalized
        shift = torch.addcmul(mean * slope, by_count, sum_grad, value=-1)
        if mask is None or use_cpu_path(x):
            slope, shift = slope[:, None, None], shift[:, None, None]
        else:  # zeros in the padding, without another pass over x
            real = mask_constants(mask, x.shape[3], x.dtype).real
            slope, shift = ((real * c).permute(0, 3, 1, 2) for c in (slope, shift))  # (N, C, T, 1), channels-last
        grad_x = torch.addcmul(shift, x, slope, value=-1).addcmul_(grad, scale[:, None, None]).to(x.dtype)
        if mask is not None and use_cpu_path(x):
            zero_beyond(grad_x.transpose(1, 2), real_lengths(x, mask))
        return grad_x, grad_weight, grad_bias, None, None, None, None
