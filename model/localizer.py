"""The whole network: backbone and two views. The only place that puts the parts together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.agcn import AGCN
from model.mil_head import MILHead, View
from utils.config import ModelSettings


class Output(NamedTuple):
    """views: two `View`s, whose first is the one evaluated; features: (N, T', C), mean over joints and persons."""

    views: tuple[View, View]
    features: Tensor


class Localizer(nn.Module):
    """Skeleton sequences → frame and video scores of K actions and background, from two views.

    (Yu & Fujiwara 2023: the joint stream of 2s-AGCN under a FAC-Net head with two classifiers.)

    Args:
        num_classes: K.
        settings: the network's shape.
        autocast: run the backbone in bfloat16 by torch.autocast. Parameters, batch-norm statistics, affinities and
            heads stay float32.
    """

    def __init__(self, num_classes: int, settings: ModelSettings, autocast: bool = False) -> None:
        super().__init__()
        self.backbone = AGCN(in_channels=3, width=settings.width)
        self.heads = nn.ModuleList(
            MILHead(self.backbone.out_channels, num_classes, settings.cosine_scale, settings.temperatures)
            for _ in range(2)
        )
        self.mask_padding = settings.mask_padding
        self.detach_second_view = settings.detach_second_view
        self.autocast = autocast

    def in_precision(self, name: str) -> Localizer:
        """Compute in float32, float64, or with the backbone in bfloat16 (see `autocast`)."""
        self.autocast = name == "bfloat16"
        return self.double() if name == "float64" else self.float()

    def forward(self, joints: Tensor, mask: Tensor, lengths: Tensor) -> Output:
        """Score a padded batch.

        Args:
            joints: (N, C, T, V, M) in metres.
            mask: (N, T) bool, real frames first.
            lengths: (N,) int64, how many are real.
        """
        N, C, T, V, M = joints.shape
        joints = joints.to(self.heads[0].prototypes.dtype).masked_fill(~mask.view(N, 1, T, 1, 1), 0)
        if not self.mask_padding:  # as released: all T frames count
            mask, lengths = torch.ones_like(mask), torch.full_like(lengths, T)
        x = joints.permute(0, 4, 2, 3, 1).reshape(N * M, T, V, C).permute(0, 3, 1, 2)  # channels-last in memory
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            x, _ = self.backbone(x, mask.repeat_interleave(M, 0) if self.mask_padding else None)
        features = x.to(joints.dtype).mean(dim=3).unflatten(0, (N, M)).mean(dim=1).transpose(1, 2)  # (N, T', C)
        coarse = mask[:, :: AGCN.stride]
        second = features.detach() if self.detach_second_view else features
        views = tuple(head(seen, coarse, lengths, T) for head, seen in zip(self.heads, (features, second), strict=True))
        return Output(views, features)


def frame_probabilities(view: View) -> Tensor:
    """(N, T, K+1), each frame's classes summing to 1."""
    return view.frame_scores.softmax(dim=-1)


def video_probabilities(view: View) -> Tensor:
    """(N, K+1), each class by itself."""
    return torch.sigmoid(view.video_logits)
