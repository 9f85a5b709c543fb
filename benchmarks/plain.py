"""The network written plainly: the baseline of the benchmarks, and the oracle of the tests.

Features are channels-first (N·M, C, T, V). The three graphs are computed one after another. Padding counts like
real frames. State names are those of the released code, so that `model.released` can copy weights between
PlainLocalizer and Localizer.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.graph import adjacency
from model.localizer import Output
from model.mil_head import View

CHANNELS = ((3, 64, 1), (64, 64, 2), (64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 128, 1))
CHANNELS += ((128, 256, 2), (256, 256, 1), (256, 256, 1))  # in, out, stride of each block
TEMPERATURES = (1.0, 2.0, 5.0)
SCALE = 5.0


def conv(in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1) -> nn.Conv2d:
    """(kernel, 1) convolution along time, He-normal with fan-out, zero bias."""
    layer = nn.Conv2d(in_channels, out_channels, (kernel, 1), (stride, 1), (kernel // 2, 0))
    nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    nn.init.zeros_(layer.bias)
    return layer


def conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Sequential:
    """Convolution along time and batch norm: (B, C, T, V) → (B, C_out, ⌈T/stride⌉, V)."""
    layers = {"conv": conv(in_channels, out_channels, kernel, stride), "bn": nn.BatchNorm2d(out_channels)}
    return nn.Sequential(OrderedDict(layers))


class PlainGraphConv(nn.Module):
    """Adaptive graph convolution (2s-AGCN, equation 3)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.register_buffer("A", torch.tensor(adjacency(), dtype=torch.float32), persistent=False)
        self.PA = nn.Parameter(torch.full((3, 25, 25), 1e-6))
        inner = out_channels // 4
        self.conv_a = nn.ModuleList(conv(in_channels, inner) for _ in range(3))
        self.conv_b = nn.ModuleList(conv(in_channels, inner) for _ in range(3))
        self.conv_d = nn.ModuleList(conv(in_channels, out_channels) for _ in range(3))
        for layer in self.conv_d:
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (out_channels * in_channels * 3)))
        self.bn = nn.BatchNorm2d(out_channels)
        nn.init.constant_(self.bn.weight, 1e-6)
        self.down = nn.Identity()
        if in_channels != out_channels:
            self.down = nn.Sequential(conv(in_channels, out_channels), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, V) → (B, C_out, T, V)."""
        B, C, T, V = x.shape
        y = 0
        for i in range(3):
            theta = self.conv_a[i](x).permute(0, 3, 1, 2).reshape(B, V, -1)
            phi = self.conv_b[i](x).reshape(B, -1, V)
            affinity = (theta @ phi / theta.shape[-1]).softmax(dim=1)
            graph = self.A[i] + self.PA[i] + affinity
            y = y + self.conv_d[i]((x.reshape(B, C * T, V) @ graph).view(B, C, T, V))
        return F.relu(self.bn(y) + self.down(x))


class PlainBlock(nn.Module):
    """ReLU(temporal(graph(x)) + residual(x))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, has_residual: bool) -> None:
        super().__init__()
        self.gcn1 = PlainGraphConv(in_channels, out_channels)
        self.tcn1 = conv_norm(out_channels, out_channels, 9, stride)
        self.has_residual = has_residual
        self.residual = nn.Identity()
        if has_residual and (in_channels != out_channels or stride != 1):
            self.residual = conv_norm(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, V) → (B, C_out, ⌈T/stride⌉, V)."""
        y = self.tcn1(self.gcn1(x))
        return F.relu(y + self.residual(x) if self.has_residual else y)


class PlainHead(nn.Module):
    """Cosine classifier and pooling over time."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.ac_center = nn.Parameter(torch.empty(classes + 1, channels))
        nn.init.xavier_uniform_(self.ac_center)

    def forward(self, features: Tensor, frames: int) -> View:
        """Features (N, T', C) → video logits (N, K+1) and frame scores (N, T, K+1)."""
        scores = SCALE * F.normalize(features, dim=-1) @ F.normalize(self.ac_center, dim=-1).T
        pooled = [((tau * scores).softmax(dim=1) * scores).sum(dim=1) for tau in TEMPERATURES]
        fine = F.interpolate(scores.transpose(1, 2), size=frames, mode="linear", align_corners=True)
        return View(2 * sum(pooled) / len(TEMPERATURES), fine.transpose(1, 2))


class PlainLocalizer(nn.Module):
    """Ten blocks and two heads; the second sees detached features. It is called as `Localizer` is."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        for number, (in_channels, out_channels, stride) in enumerate(CHANNELS, start=1):
            self.add_module(f"l{number}", PlainBlock(in_channels, out_channels, stride, number > 1))
        self.classifier_1 = PlainHead(256, classes)
        self.classifier_2 = PlainHead(256, classes)
        self.autocast = False

    def in_precision(self, name: str) -> PlainLocalizer:
        """With the name bfloat16, the blocks run under torch.autocast. Other names: no autocast."""
        self.autocast = name == "bfloat16"
        return self

    def forward(self, joints: Tensor, *_: Tensor) -> Output:
        """joints (N, C, T, V, M) → both views and the features (N, T', C). Mask and lengths are ignored."""
        N, C, T, V, M = joints.shape
        x = joints.permute(0, 4, 1, 2, 3).reshape(N * M, C, T, V)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            for number in range(1, len(CHANNELS) + 1):
                x = getattr(self, f"l{number}")(x)
        x = x.to(joints.dtype).mean(dim=3).view(N, M, x.shape[1], x.shape[2]).mean(dim=1)
        features = x.transpose(1, 2)  # (N, T', C)
        views = self.classifier_1(features, T), self.classifier_2(features.detach(), T)
        return Output(views, features)
