"""The whole network: backbone and two views. The only place that puts the parts together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.agcn import AGCN
from model.frames import Frames
from model.mil_head import MILHead, View
from utils.config import ModelSettings


class Output(NamedTuple):
    """views: two `View`s, whose first is the one evaluated; features: (N, T', C), mean over joints and persons."""

    views: tuple[View, View]
    features: Tensor


class Localizer(nn.Module):
    """Skeleton sequences → frame and video scores of K actions and background, from two views.

    (Yu & Fujiwara 2023: 2s-AGCN, its joint stream alone, under a FAC-Net head with two classifiers.)
    """

    def __init__(self, num_classes: int, settings: ModelSettings) -> None:
        super().__init__()
        self.backbone = AGCN(in_channels=3, width=settings.width)
        self.heads = nn.ModuleList(
            MILHead(self.backbone.out_channels, num_classes, settings.cosine_scale, settings.temperatures)
            for _ in range(2)
        )
        self.low: torch.dtype | None = None  # of the backbone's activations and products, where not the parameters'
        self.mask_padding = settings.mask_padding
        self.detach_second_view = settings.detach_second_view

    def in_precision(self, name: str) -> Localizer:
        """Compute in float32 or float64, or in bfloat16 where that is safe: in the backbone's activations and products.

        Parameters, statistics of batch norm, sums over a batch, softmaxes and heads then are float32.
        """
        self.low = torch.bfloat16 if name == "bfloat16" else None
        return self.double() if name == "float64" else self.float()

    def forward(self, joints: Tensor, mask: Tensor, lengths: Tensor | None = None) -> Output:  # noqa: ARG002
        """joints (N, C, T, V, M) in metres; mask (N, T) bool, real frames first; lengths (N,) int64 of each clip."""
        N, _, T, V, M = joints.shape
        joints = joints.to(self.heads[0].prototypes.dtype)
        fine = Frames.of(mask) if self.mask_padding else Frames.all(N, T, joints.device)
        joints = joints.masked_fill(~mask.view(N, 1, T, 1, 1), 0)  # whatever the padding held
        x = joints.permute(0, 4, 2, 3, 1).reshape(N * M, T, V, joints.shape[1])
        bodies = fine.repeat(M)
        x, strided = self.backbone(bodies.pack(x).to(self.low or x.dtype), bodies)
        features = strided.unpack(x.mean(dim=1, dtype=joints.dtype)).unflatten(0, (N, M)).mean(dim=1)  # (N, T', C)
        coarse = Frames(strided.mask[::M], strided.counts[::M])
        second = features.detach() if self.detach_second_view else features
        views = (self.heads[0](features, coarse, fine), self.heads[1](second, coarse, fine))
        return Output(views, features)


def frame_probabilities(view: View) -> Tensor:
    """(N, T, K+1), each frame's classes summing to 1."""
    return view.frame_scores.softmax(dim=-1)


def video_probabilities(view: View) -> Tensor:
    """(N, K+1), each class by itself."""
    return torch.sigmoid(view.video_logits)
