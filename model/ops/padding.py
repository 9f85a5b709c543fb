"""The real frames of padded clips, and the choice between CPU kernels and plain PyTorch.

Frames are real where the mask (N, T) is true. A mask of None means that all are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def use_cpu_kernels(x: Tensor) -> bool:
    """Whether to use the CPU kernels. Other devices and torch.compile use the references in plain PyTorch."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def real_lengths(x: Tensor, mask: Tensor | None) -> list[int]:
    """Number of real frames of each clip of (N, C, T, V), for tensors on the CPU."""
    return [x.shape[2]] * len(x) if mask is None else mask.sum(1).tolist()


class MaskConstants(NamedTuple):
    """What the layers on a GPU compute from a mask (N, T).

    padding: (N, 1, T, 1) bool.
    bounds: `masked_relu` clamps to these limits. The lower one is the scalar 0. The upper one (N, 1, T, 1) is ∞ in real
        frames and 0 in the padding.
    real: () number of real frames.
    ratio, one_minus_ratio: () all frames / real frames, and 1 minus this.
    """

    padding: Tensor
    bounds: tuple[Tensor, Tensor]
    real: Tensor
    ratio: Tensor
    one_minus_ratio: Tensor


@lru_cache(maxsize=16)  # layers at the same frame rate share a mask. Tensors are found by identity, not by value
def mask_constants(mask: Tensor, dtype: torch.dtype) -> MaskConstants:
    """The constants of `mask` for features of this dtype, cached. Do not modify `mask` afterwards.

    The cache saves GPU operations. With small features, a GPU needs more time to start an operation than to compute it.
    """
    padding = ~mask[:, None, :, None]
    bound = torch.where(padding, 0.0, torch.inf).to(dtype)
    real = mask.sum().to(torch.promote_types(dtype, torch.float32))
    ratio = mask.numel() / real
    return MaskConstants(padding, (bound.new_zeros(()), bound), real, ratio, 1 - ratio)


def zero_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """Set the padding of (N, C, T, V) to zero, in place."""
    if mask is None:
        return x
    if not use_cpu_kernels(x):
        return x.masked_fill_(mask_constants(mask, x.dtype).padding, 0)
    zero_beyond(x.permute(0, 2, 3, 1), real_lengths(x, mask))
    return x


def zero_beyond(frames: Tensor, lengths: list[int]) -> Tensor:
    """Set all frames of (N, T, ...) after the end of each clip to zero, in place."""
    for n, length in enumerate(lengths):
        frames[n, length:] = 0
    return frames


def masked_relu(x: Tensor, mask: Tensor | None) -> Tensor:
    """ReLU of (N, C, T, V), with zeros in the padding. May overwrite x."""
    if mask is None:
        return torch.relu_(x)
    if torch.compiler.is_compiling():  # the compiler joins the two passes
        return torch.relu(x) * mask[:, None, :, None]
    return _MaskedReLU.apply(x, mask)


class _MaskedReLU(torch.autograd.Function):
    """ReLU and mask in one pass: x is clamped to [0, ∞) in real frames and to [0, 0] in the padding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        if use_cpu_kernels(x):
            zero_padding(x.relu_(), mask)
        else:
            x.clamp_(*mask_constants(mask, x.dtype).bounds)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return torch.ops.aten.threshold_backward(grad, *ctx.saved_tensors, 0), None
