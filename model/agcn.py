"""Adaptive graph convolutions over skeleton sequences (2s-AGCN, Shi et al. 2019), with padding left out.

Tensors are (R, V, C): real frames of one clip (and person) after the other, joints, channels. So there is no padding to
compute or to mask, a 1×1 convolution is a matrix product over contiguous channels, and batch normalisation takes its
statistics from all rows. What depends on where a clip begins is told by `Frames`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.frames import Frames
from model.graph import adjacency
from model.joints import gather_joints, project, score_joints
from model.rank_norm import normalize_over_ranks
from model.temporal import convolve
from utils import distributed

Linear = Callable[[Tensor, Tensor], Tensor]  # weight, bias → what a layer gives

SUBSETS = 3
KERNEL = 9  # frames that a temporal convolution sees
SMALL = 1e-6  # where the learned adjacency and the graph convolution's batch-norm scale start


class FrameBatchNorm(nn.BatchNorm1d):
    """Batch normalisation, over the frames of a batch, of what a linear map gives.

    In training of all ranks' batches where `over_ranks` is set (`synchronize_batch_norm`). In evaluation it is itself
    linear, and goes into the map's weights.
    """

    over_ranks = False

    def forward(self, linear: Linear, weight: Tensor, bias: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Normalised linear(weight, bias), (R, V, C); with a shortcut (R, V, C), the rectified sum of both.

        Args:
            linear: from its weight (C, ...) and bias (C,) to (R, V, C).
        """
        if self.training:
            y = linear(weight, bias)
            normal = self._normalized(y.flatten(0, 1))
        else:
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            y = linear(
                weight * scale.view(-1, *[1] * (weight.ndim - 1)), (bias - self.running_mean) * scale + self.bias
            )
            normal = y.flatten(0, 1)
        if shortcut is not None:
            normal.add_(shortcut.flatten(0, 1)).relu_()
        return normal.view_as(y)

    def _normalized(self, rows: Tensor) -> Tensor:
        """(R·V, C) → the same shape."""
        several = distributed.size() > 1
        if several and self.over_ranks:
            return normalize_over_ranks(self, rows)
        if several and not len(rows):  # a rank without a clip has no statistics
            return (rows * self.weight + self.bias).to(rows.dtype)
        return super().forward(rows)


def synchronize_batch_norm(model: nn.Module) -> None:
    """Let every batch norm of `model` take its statistics from the frames of all ranks."""
    for module in model.modules():
        if isinstance(module, FrameBatchNorm):
            module.over_ranks = True


class Pointwise(nn.Linear):
    """A 1×1 convolution: a linear map of the channels; He-normal with fan-out, zero bias."""

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.weight, mode="fan_out")
        nn.init.zeros_(self.bias)


class Shortcut(nn.Module):
    """The residual path where the shape changes: strided 1×1 convolution and batch norm."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = Pointwise(in_channels, out_channels)
        self.bn = FrameBatchNorm(out_channels)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """(R, V, C_in) on `frames` → (R', V, C_out) on those that the stride keeps."""
        kept = frames.keep(x, self.stride)
        return self.bn(partial(project, kept), self.conv.weight, self.conv.bias)


class GraphConv(nn.Module):
    """Adaptive graph convolution: fixed + learned + clip-dependent adjacency (2s-AGCN, equation 3)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.inter_channels = out_channels // 4
        self.register_buffer("fixed", torch.tensor(adjacency(), dtype=torch.float32), persistent=False)
        self.learned = nn.Parameter(torch.full_like(self.fixed, SMALL))
        self.theta = Pointwise(in_channels, SUBSETS * self.inter_channels)
        self.phi = Pointwise(in_channels, SUBSETS * self.inter_channels)
        for embedding in (self.theta, self.phi):  # three separate convolutions, side by side: fan-out of one
            nn.init.normal_(embedding.weight, std=math.sqrt(2 / self.inter_channels))
        self.values = nn.ModuleList(Pointwise(in_channels, out_channels) for _ in range(SUBSETS))
        for value in self.values:
            nn.init.normal_(value.weight, std=math.sqrt(2 / (out_channels * in_channels * SUBSETS)))
        self.bn = FrameBatchNorm(out_channels)
        nn.init.constant_(self.bn.weight, SMALL)
        self.shortcut = Shortcut(in_channels, out_channels) if in_channels != out_channels else None

    def affinity(self, x: Tensor, frames: Frames) -> Tensor:
        """How alike the joints of a clip move, (B, 3, V, V); each column sums to 1."""
        weight, bias = (torch.cat([getattr(self.theta, p), getattr(self.phi, p)]) for p in ("weight", "bias"))
        scores = score_joints(x, weight, bias, SUBSETS, frames)
        counted = (self.inter_channels * frames.lengths).to(scores.dtype).view(-1, 1, 1, 1)
        return (scores / counted).softmax(dim=2)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """(R, V, C_in) → (R, V, C_out)."""
        graph = self.fixed + self.learned + self.affinity(x, frames)  # (B, 3, V, V), from joint v to joint w
        weight, bias = torch.cat([value.weight for value in self.values], 1), sum(value.bias for value in self.values)
        shortcut = x if self.shortcut is None else self.shortcut(x, frames)
        return self.bn(partial(gather_joints, x, graph, frames), weight, bias, shortcut)


class TemporalConv(nn.Module):
    """(9, 1) convolution along time, batch norm, shortcut if there is one, rectifier."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (KERNEL, 1), (stride, 1), (KERNEL // 2, 0))
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        nn.init.zeros_(self.conv.bias)
        self.bn = FrameBatchNorm(channels)

    def forward(self, x: Tensor, frames: Frames, shortcut: Tensor | None) -> Tensor:
        """(R, V, C) on `frames` → (R', V, C) on those that the stride keeps, where the shortcut's frames are."""
        along_time = partial(convolve, x, frames, self.conv.stride[0])
        y = self.bn(along_time, self.conv.weight.squeeze(-1), self.conv.bias, shortcut)
        return F.relu(y) if shortcut is None else y


class Block(nn.Module):
    """Spatial then temporal convolution, with a residual around both."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, residual: bool = True) -> None:
        super().__init__()
        self.stride = stride
        self.gcn = GraphConv(in_channels, out_channels)
        self.tcn = TemporalConv(out_channels, stride)
        self.residual = residual
        changes = in_channels != out_channels or stride != 1
        self.shortcut = Shortcut(in_channels, out_channels, stride) if residual and changes else None

    def forward(self, x: Tensor, frames: Frames) -> tuple[Tensor, Frames]:
        """(R, V, C_in) and its frames → (R', V, C_out) and theirs."""
        shortcut = None
        if self.residual:
            shortcut = x if self.shortcut is None else self.shortcut(x, frames)
        return self.tcn(self.gcn(x, frames), frames, shortcut), frames.stride(self.stride)


class AGCN(nn.Module):
    """Ten blocks; channels double where time is halved, in blocks 5 and 8; block 2 halves time alone."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        shapes = [(in_channels, width, 1), (width, width, 2), (width, width, 1), (width, width, 1)]
        shapes += [(width, 2 * width, 2), (2 * width, 2 * width, 1), (2 * width, 2 * width, 1)]
        shapes += [(2 * width, 4 * width, 2), (4 * width, 4 * width, 1), (4 * width, 4 * width, 1)]
        self.blocks = nn.ModuleList(
            Block(c_in, c_out, stride, residual=i > 0) for i, (c_in, c_out, stride) in enumerate(shapes)
        )
        self.out_channels = 4 * width

    def forward(self, x: Tensor, frames: Frames) -> tuple[Tensor, Frames]:
        """(R, V, C) and their frames → features (R', V, 4·width) and theirs, every eighth of each clip."""
        for block in self.blocks:
            x, frames = block(x, frames)
        return x, frames
