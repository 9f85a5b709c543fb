"""Adaptive graph convolutions over skeleton sequences (2s-AGCN, Shi et al. 2019).

Letters: N clips (times persons), C channels, T frames, V joints. Features are (N, C, T, V). After the first layer they
are channels-last in memory. The mask (N, T) says which frames are real. It is None if all frames count as real. Padding
holds zeros at the input of every block and every convolution along time, so padding a clip does not change its output.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.graph import adjacency
from model.ops.batch_norm import MaskedBatchNorm
from model.ops.joints import affinity, mix_joints
from model.ops.padding import masked_relu
from model.ops.temporal import temporal_conv

GRAPHS = 3  # a joint receives features from itself, from its parent, from its children: one adjacency matrix each
KERNEL = 9  # frames of a temporal convolution
NEAR_ZERO = 1e-6  # initial value of the learned adjacency and of the scale of the graph convolution's batch norm


class Pointwise(nn.Conv2d):
    """A 1×1 convolution: one matrix product of channels-last features. He-normal weights by fan-out, zero bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def reset_parameters(self) -> None:  # nn.Conv2d's constructor calls it
        nn.init.kaiming_normal_(self.weight, mode="fan_out")
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class Shortcut(nn.Module):
    """The residual connection where the shape changes: strided 1×1 convolution and batch norm."""

    bn_follows = "conv"  # `for_inference` merges `bn` into `conv`

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = Pointwise(in_channels, out_channels)
        self.bn = MaskedBatchNorm(out_channels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(N, C, T, V) and the mask of the output → (N, C_out, ⌈T/stride⌉, V)."""
        return self.bn(self.conv(x[:, :, :: self.stride]), mask)


def gaussian_weights(count: int, in_channels: int, out_channels: int, std: float) -> list[Tensor]:
    """Random weights (C_out, C) of several linear maps.

    The first draw is thrown away, so that a seed gives the same weights as in the trainings of docs/results.md.
    """
    for _ in range(2):
        maps = [torch.empty(out_channels, in_channels).normal_(std=std) for _ in range(count)]
    return maps


class Affinity(nn.Module):
    """The clip-dependent adjacency. From joint v to joint w, it is the similarity of the embeddings θ(v) and φ(w)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        maps = gaussian_weights(2, in_channels, GRAPHS * channels, math.sqrt(2 / channels))
        self.weight = nn.Parameter(torch.cat(maps))  # θ of the three graphs, then φ
        self.bias = nn.Parameter(torch.zeros(len(self.weight)))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(N, C, T, V) → (N, 3, V, V), whose columns sum to 1."""
        return affinity(x, self.weight, self.bias, GRAPHS, mask)


class JointMixing(nn.Module):
    """Mixes the joints along three graphs, and maps the channels of each mixture linearly."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        maps = gaussian_weights(GRAPHS, in_channels, out_channels, math.sqrt(2 / (out_channels * in_channels * GRAPHS)))
        self.weight = nn.Parameter(torch.cat(maps, dim=1))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, graph: Tensor, mask: Tensor | None) -> Tensor:
        """(N, C, T, V) and the graphs (N, 3, V, V), from joint v to joint w → (N, C_out, T, V)."""
        return mix_joints(x, graph, self.weight, self.bias, mask)


class GraphConv(nn.Module):
    """Adaptive graph convolution: fixed + learned + clip-dependent adjacency (2s-AGCN, equation 3)."""

    bn_follows = "mix"  # `for_inference` merges `bn` into `mix`

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.register_buffer("fixed", torch.tensor(adjacency(), dtype=torch.float32), persistent=False)
        self.learned = nn.Parameter(torch.full_like(self.fixed, NEAR_ZERO))
        self.affinity = Affinity(in_channels, out_channels // 4)
        self.mix = JointMixing(in_channels, out_channels)
        self.bn = MaskedBatchNorm(out_channels)
        nn.init.constant_(self.bn.weight, NEAR_ZERO)
        self.shortcut = Shortcut(in_channels, out_channels) if in_channels != out_channels else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(N, C, T, V) → (N, C_out, T, V)."""
        graph = self.fixed + self.learned + self.affinity(x, mask)  # (N, 3, V, V)
        y = self.bn(self.mix(x, graph, mask), mask)
        y += x if self.shortcut is None else self.shortcut(x, mask)
        return masked_relu(y, mask)


class TemporalConv(nn.Conv2d):
    """A (9, 1) convolution along time. He-normal weights by fan-out, zero bias."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, (KERNEL, 1), (stride, 1), (KERNEL // 2, 0))
        nn.init.kaiming_normal_(self.weight, mode="fan_out")
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return temporal_conv(x, self.weight, self.bias, self.stride[0], mask)


class Block(nn.Module):
    """Graph convolution, temporal convolution, and a residual connection around both."""

    bn_follows = "tcn"  # `for_inference` merges `bn` into `tcn`

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, residual: bool = True) -> None:
        super().__init__()
        self.stride, self.residual = stride, residual
        self.gcn = GraphConv(in_channels, out_channels)
        self.tcn = TemporalConv(out_channels, stride)
        self.bn = MaskedBatchNorm(out_channels)
        new_shape = in_channels != out_channels or stride != 1
        self.shortcut = Shortcut(in_channels, out_channels, stride) if residual and new_shape else None

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(N, C, T, V) and its mask → (N, C_out, ⌈T/stride⌉, V) and its mask."""
        # With stride 1, the same mask object is passed on, because `mask_constants` caches by object
        mask_out = mask if mask is None or self.stride == 1 else mask[:, :: self.stride]
        y = self.bn(self.tcn(self.gcn(x, mask), mask), mask_out)
        if self.residual:
            y += x if self.shortcut is None else self.shortcut(x, mask_out)
        return masked_relu(y, mask_out), mask_out


class AGCN(nn.Module):
    """Ten blocks. Blocks 5 and 8 double the channels.

    Args:
        width: channels of the first four blocks.
        stride: input frames per frame of the features. With 2, block 2 halves the frame rate. With 4, blocks 2 and 5
            do. With 8, as in the released code, blocks 2, 5 and 8 do.
    """

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        channels = [in_channels] + [width] * 4 + [2 * width] * 3 + [4 * width] * 3
        halving = {2: (1,), 4: (1, 4), 8: (1, 4, 7)}[stride]
        self.blocks = nn.ModuleList(
            Block(channels[i], channels[i + 1], stride=2 if i in halving else 1, residual=i > 0) for i in range(10)
        )
        self.stride, self.out_channels = stride, channels[-1]

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(N, C, T, V) and its mask → features (N, 4·width, T', V), T' = ⌈T/stride⌉, and their mask (N, T')."""
        for block in self.blocks:
            x, mask = block(x, mask)
        return x, mask
