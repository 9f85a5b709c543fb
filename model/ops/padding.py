"""Which frames are real, and where the CPU's own kernels run."""

from __future__ import annotations

import torch
from torch import Tensor


def on_cpu(x: Tensor) -> bool:
    """Whether the kernels for CPUs serve: elsewhere, and where torch.compile traces, plain PyTorch does."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def real_frames(frames: Tensor, mask: Tensor | None) -> list[int]:
    """How many frames of each clip of (N, T, ...) are real, as whole numbers; for tensors on the CPU."""
    return [frames.shape[1]] * len(frames) if mask is None else mask.sum(1).tolist()


def activation_type(x: Tensor) -> torch.dtype:
    """What torch.autocast would make of an operand of a product, for the kernels that it does not know."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") and x.dtype == torch.float32 else x.dtype


def zero_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """(N, C, T, V) with zeros where the mask (N, T) says that a frame is not real, in place."""
    if mask is None:
        return x
    if not on_cpu(x):
        return x.masked_fill_(~mask[:, None, :, None], 0)
    zero_beyond(x.permute(0, 2, 3, 1), real_frames(mask, mask))
    return x


def zero_beyond(frames: Tensor, lengths: list[int]) -> Tensor:
    """(N, T, ...) with zeros from each clip's length on, in place."""
    for n, length in enumerate(lengths):
        frames[n, length:] = 0
    return frames
