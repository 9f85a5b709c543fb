"""The real frames of padded clips, and the choice between the CPU path and plain PyTorch.

Frames are real where the mask (N, T) is true. A mask of None means that all are.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def use_cpu_path(x: Tensor) -> bool:
    """Whether to use the CPU path, code that is fast on CPUs. GPUs and torch.compile use plain PyTorch."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def real_lengths(x: Tensor, mask: Tensor | None) -> list[int]:
    """Number of real frames of each clip of (N, C, T, V), for tensors on the CPU."""
    return [x.shape[2]] * len(x) if mask is None else mask.sum(1).tolist()


class MaskConstants(NamedTuple):
    """What the layers on a GPU compute from a mask (N, T).

    padding: (N, 1, T, 1) bool.
    real: (N, T, 1, 1) 1 in real frames and 0 in the padding.
    bounds: `masked_relu` clamps to these limits. The lower one is the scalar 0. The upper one (N, 1, T, 1) is ∞ in real
        frames and 0 in the padding.
    count: () number of real values of a channel: real frames × joints.
    ratio, one_minus_ratio: () all frames / real frames, and 1 minus this.
    """

    padding: Tensor
    real: Tensor
    bounds: tuple[Tensor, Tensor]
    count: Tensor
    ratio: Tensor
    one_minus_ratio: Tensor


@lru_cache(maxsize=16)  # layers at one frame rate share a mask object. The cache finds it by identity
def mask_constants(mask: Tensor, num_joints: int, dtype: torch.dtype) -> MaskConstants:
    """The constants of `mask` for features (N, C, T, V) of this dtype, cached. Do not modify `mask` afterwards.

    The cache saves operations. To start a small operation on a GPU takes longer than to compute it.
    """
    padding = ~mask[:, None, :, None]
    real = mask[:, :, None, None].to(torch.promote_types(dtype, torch.float32))
    bound = torch.where(padding, 0.0, torch.inf).to(dtype)
    frames = real.sum()
    ratio = mask.numel() / frames
    return MaskConstants(padding, real, (bound.new_zeros(()), bound), frames * num_joints, ratio, 1 - ratio)


def zero_beyond(frames: Tensor, lengths: list[int]) -> Tensor:
    """Set all frames of (N, T, ...) after the end of each clip to zero, in place."""
    for n, length in enumerate(lengths):
        frames[n, length:] = 0
    return frames


def masked_relu(x: Tensor, mask: Tensor | None) -> Tensor:
    """ReLU of (N, C, T, V), with zeros in the padding. May overwrite x."""
    if mask is None:
        return torch.relu_(x)
    if torch.compiler.is_compiling():  # the compiler fuses the two operations
        return torch.relu(x) * mask[:, None, :, None]
    return _MaskedReLU.apply(x, mask)


class _MaskedReLU(torch.autograd.Function):
    """ReLU and mask. On a GPU in one pass: x is clamped to [0, ∞) in real frames and to [0, 0] in the padding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        if use_cpu_path(x):
            zero_beyond(x.relu_().transpose(1, 2), real_lengths(x, mask))
        else:
            x.clamp_(*mask_constants(mask, x.shape[3], x.dtype).bounds)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return torch.ops.aten.threshold_backward(grad, *ctx.saved_tensors, 0), None
