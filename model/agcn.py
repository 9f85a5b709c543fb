"""Adaptive graph convolutions over skeleton sequences (2s-AGCN, Shi et al. 2019), with padding masked out.

Tensors are frame-major, (B, T, V, C): clip-and-person, frame, joint, channel. So a 1×1 convolution is a
matrix product over contiguous channels, and the real frames of a padded batch are whole rows that batch
normalisation can pick. Frames that are padding hold zeros at every block's input and output.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.frames import Frames
from model.graph import adjacency
from model.rank_norm import normalize_over_ranks
from utils import distributed

SUBSETS = 3
KERNEL = 9  # frames that a temporal convolution sees
SMALL = 1e-6  # where the learned adjacency and the graph convolution's batch-norm scale start


class FrameBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the real frames of a padded batch, of all ranks' batches where several train together.

    Padding comes out as zeros. `over_ranks` is train.sync_batch_norm.
    """

    over_ranks = True

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """(B, T, V, C) → the same shape."""
        V, C = x.shape[2:]
        real = frames.pack(x).reshape(-1, C)  # (R·V, C)
        several = self.training and distributed.size() > 1
        if several and self.over_ranks:
            normal = normalize_over_ranks(self, real)
        elif several and not len(real):  # a rank without a clip has no statistics
            normal = real * self.weight + self.bias
        else:
            normal = super().forward(real)
        return frames.unpack(normal.view(-1, V, C))


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
        """(B, T, V, C_in) and the frames *after* the stride → (B, ⌈T/stride⌉, V, C_out)."""
        return self.bn(self.conv(x[:, :: self.stride]), frames)


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
        """How alike the joints of a clip move, (B, 3, V, V); each column sums to 1.

        Padding needs no mask here: its input is zero, so it adds the same number to every pair of joints,
        and the softmax takes no notice. Only the division must count real frames.
        """
        B, T, V, _ = x.shape

        def per_joint(embedding: Tensor) -> Tensor:  # (B, T, V, 3·C') → (B, 3, V, T·C')
            split = embedding.view(B, T, V, SUBSETS, self.inter_channels).permute(0, 3, 2, 1, 4)
            return split.reshape(B, SUBSETS, V, T * self.inter_channels)

        scores = per_joint(self.theta(x)) @ per_joint(self.phi(x)).transpose(-1, -2)
        counted = (self.inter_channels * frames.lengths).to(scores.dtype).view(B, 1, 1, 1)
        return (scores / counted).softmax(dim=2)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """(B, T, V, C_in) → (B, T, V, C_out)."""
        graph = self.fixed + self.learned + self.affinity(x, frames)  # (B, 3, V, V), from joint v to joint w
        gather = graph.transpose(-1, -2).unsqueeze(2)  # (B, 3, 1, V, V)
        y = sum(value(gather[:, i] @ x) for i, value in enumerate(self.values))
        shortcut = x if self.shortcut is None else self.shortcut(x, frames)
        return F.relu(self.bn(y, frames) + shortcut)


class TemporalConv(nn.Module):
    """(9, 1) convolution along time and batch norm. Padding is zero, so clips end as if nothing followed."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, (KERNEL, 1), (stride, 1), (KERNEL // 2, 0))
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        nn.init.zeros_(self.conv.bias)
        self.bn = FrameBatchNorm(channels)

    def forward(self, x: Tensor, frames: Frames) -> Tensor:
        """(B, T, V, C) and the frames *after* the stride → (B, ⌈T/stride⌉, V, C)."""
        y = self.conv(x.permute(0, 3, 1, 2))  # a channels-last view: nothing is copied
        return self.bn(y.permute(0, 2, 3, 1), frames)


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
        """(B, T, V, C_in) and its frames → (B, ⌈T/stride⌉, V, C_out) and theirs."""
        kept = frames.stride(self.stride)
        y = self.tcn(self.gcn(x, frames), kept)
        if self.residual:
            y = y + (x if self.shortcut is None else self.shortcut(x, kept))
        return F.relu(y), kept


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
        """(B, T, V, C) with zeros in the padding → features (B, ⌈T/8⌉, V, 4·width) and their frames."""
        for block in self.blocks:
            x, frames = block(x, frames)
        return x, frames
