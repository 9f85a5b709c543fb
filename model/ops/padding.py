"""Which frames are real, and where the CPU's own kernels run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def on_cpu(x: Tensor) -> bool:
    """Whether to use the CPU kernels. Other devices and torch.compile get the references in plain PyTorch."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def real_frames(frames: Tensor, mask: Tensor | None) -> list[int]:
    """Number of real frames of each clip of (N, T, ...), for tensors on the CPU."""
    return [frames.shape[1]] * len(frames) if mask is None else mask.sum(1).tolist()


def activation_type(x: Tensor) -> torch.dtype:
    """The type that torch.autocast gives the operands of a product, for kernels that it does not know."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") and x.dtype == torch.float32 else x.dtype


def zero_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """Set the frames of (N, C, T, V) to zero, in place, that are not real by the mask (N, T)."""
    if mask is None:
        return x
    if not on_cpu(x):
        return x.masked_fill_(~mask[:, None, :, None], 0)
    zero_beyond(x.permute(0, 2, 3, 1), real_frames(mask, mask))
    return x


def zero_beyond(frames: Tensor, lengths: list[int]) -> Tensor:
    """Set the frames of (N, T, ...) from each clip's length on to zero, in place."""
    for n, length in enumerate(lengths):
        frames[n, length:] = 0
    return frames


def masked_relu(x: Tensor, mask: Tensor | None) -> Tensor:
    """Rectify (N, C, T, V), in place where possible, and set frames to zero that are not real by the mask (N, T)."""
    if mask is None:
        return torch.relu_(x)
    if torch.compiler.is_compiling():  # the compiler joins the two passes
        return torch.relu(x) * mask[:, None, :, None]
    return _MaskedReLU.apply(x, mask)


class _MaskedReLU(torch.autograd.Function):
    """Both in one pass: in the padding the upper bound is 0 as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        if on_cpu(x):
            zero_padding(x.relu_(), mask)
        else:
            bound = torch.where(mask, torch.inf, 0.0).to(x.dtype)
            x.clamp_(torch.zeros_like(bound[:1, :1])[:, None, :, None], bound[:, None, :, None])
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return torch.ops.aten.threshold_backward(grad, *ctx.saved_tensors, 0), None
