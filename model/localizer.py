"""The whole network: a backbone and two views. The only file that composes the components."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.agcn import AGCN
from model.mil_head import MILHead, View
from utils.config import ModelSettings


class Output(NamedTuple):
    """views: of both heads; results come from the first. features: (N, T', C), mean over joints and persons."""

    views: tuple[View, View]
    features: Tensor


class Localizer(nn.Module):
    """Skeleton sequences → frame and video scores of K actions and background, from two views.

    The joint stream of 2s-AGCN, followed by two FAC-Net heads (Yu & Fujiwara 2023).

    Args:
        num_classes: K.
        settings: the network's shape.
    """

    def __init__(self, num_classes: int, settings: ModelSettings) -> None:
        super().__init__()
        self.backbone = AGCN(in_channels=3, width=settings.width)
        self.heads = nn.ModuleList(
            MILHead(self.backbone.out_channels, num_classes, settings.cosine_scale, settings.temperatures)
            for _ in range(2)
        )
        self.settings, self.autocast = settings, False

    def in_precision(self, name: str) -> Localizer:
        """Switch to float32, float64 or bfloat16: autocast in the backbone, all else float32. Returns itself."""
        self.autocast = name == "bfloat16"
        return self.double() if name == "float64" else self.float()

    def forward(self, joints: Tensor, mask: Tensor, lengths: Tensor) -> Output:
        """Score a padded batch.

        Args:
            joints: (N, C, T, V, M) in metres.
            mask: (N, T) bool, true for real frames, which come first.
            lengths: (N,) int64, number of real frames.
        """
        N, C, T, V, M = joints.shape
        joints = joints.to(self.heads[0].prototypes.dtype).masked_fill(~mask.view(N, 1, T, 1, 1), 0)
        if not self.settings.mask_padding:  # as released: all T frames count
            mask, lengths = torch.ones_like(mask), torch.full_like(lengths, T)
        x = joints.permute(0, 4, 2, 3, 1).reshape(N * M, T, V, C).permute(0, 3, 1, 2)  # channels-last in memory
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            x, _ = self.backbone(x, mask.repeat_interleave(M, 0) if self.settings.mask_padding else None)
        features = x.to(joints.dtype).mean(dim=3).unflatten(0, (N, M)).mean(dim=1).transpose(1, 2)  # (N, T', C)
        second = features.detach() if self.settings.detach_second_view else features
        mask = mask[:, :: AGCN.stride]  # of the features
        views = tuple(head(seen, mask, lengths, T) for head, seen in zip(self.heads, (features, second), strict=True))
        return Output(views, features)
