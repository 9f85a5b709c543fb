"""The whole network: a backbone and two heads. The only file that composes the components."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from model.agcn import AGCN
from model.mil_head import MILHead, View
from model.streams import Streams, people_there
from utils.config import ModelSettings


class Output(NamedTuple):
    """What the network computes for a batch.

    views: scores of both heads; results come from the first.
    features: (N, T', C), the mean over joints and people, at T' = ⌈T/stride⌉ frames.
    """

    views: tuple[View, View]
    features: Tensor


class Localizer(nn.Module):
    """Skeleton sequences → frame and video scores of K actions and background, from two heads.

    2s-AGCN on the joint stream or several streams, followed by two FAC-Net heads (Yu & Fujiwara 2023).

    Args:
        num_classes: K.
        settings: the group `model` of config/base.yaml.
    """

    def __init__(self, num_classes: int, settings: ModelSettings) -> None:
        super().__init__()
        self.streams = Streams(settings.streams)
        self.backbone = AGCN(self.streams.out_channels, settings.width, settings.stride)
        self.heads = nn.ModuleList(
            MILHead(self.backbone.out_channels, num_classes, settings.cosine_scale, settings.temperatures)
            for _ in range(2)
        )
        self.settings, self.autocast = settings, False

    def in_precision(self, name: str) -> Localizer:
        """Switch to float32, float64, or bfloat16 (autocast in the backbone, float32 elsewhere). Returns itself."""
        self.autocast = name == "bfloat16"
        return self.double() if name == "float64" else self.float()

    def forward(self, joints: Tensor, mask: Tensor, lengths: Tensor) -> Output:
        """Score a padded batch.

        Args:
            joints: (N, C, T, V, M) in metres, zeros for people who are absent.
            mask: (N, T) bool, true for real frames, which come first.
            lengths: (N,) int64, number of real frames.
        """
        N, C, T, V, M = joints.shape
        joints = joints.to(self.heads[0].prototypes.dtype).masked_fill(~mask.view(N, 1, T, 1, 1), 0)
        if not self.settings.mask_padding:  # as in the released code: all T frames count
            mask, lengths = torch.ones_like(mask), torch.full_like(lengths, T)
        x = self.streams(joints).permute(0, 4, 1, 2, 3).flatten(0, 1)  # (N·M, C, T, V)
        # repeat_interleave makes a new tensor, even if M is 1. CUDA graphs need this: `mask_constants` caches by tensor
        # object. For the input tensor of a graph, the warm-up would fill the cache. Then the capture would not record
        # how the constants are computed, and every replay would use those of the first batch
        real = mask.repeat_interleave(M, 0)
        if M > 1:  # people who appear in no frame are left out, except the first
            counted = people_there(joints).flatten(1, 3).transpose(1, 2).contiguous()  # (N, M, T)
            counted[:, 0] = True  # the first person always enters the mean over people, so that no mean is empty
            counted = counted.flatten(0, 1)
            rows = counted.any(1).nonzero().squeeze(1)  # (R,) indices of the people who stay
            x, real, counted = x[rows], real[rows], counted[rows]
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            x, _ = self.backbone(x, real if self.settings.mask_padding else None)
        features = x.to(joints.dtype).mean(dim=3).transpose(1, 2)  # (N, T', C), or (R, T', C) with several people
        if M > 1:
            features = mean_over_people(features, counted[:, :: self.backbone.stride], rows // M, N)
        second = features.detach() if self.settings.detach_second_view else features
        mask = mask[:, :: self.backbone.stride]  # of the features
        views = tuple(head(seen, mask, lengths, T) for head, seen in zip(self.heads, (features, second), strict=True))
        return Output(views, features)


def mean_over_people(features: Tensor, counted: Tensor, clip_of_row: Tensor, num_clips: int) -> Tensor:
    """The mean over the people of each clip in each frame: features (R, T', C) of R people → (num_clips, T', C).

    counted: (R, T') bool, who enters the mean. clip_of_row: (R,) the clip of each person.
    """
    weight = counted.unsqueeze(-1).to(features.dtype)
    total = features.new_zeros(num_clips, *features.shape[1:]).index_add(0, clip_of_row, features * weight)
    return total / weight.new_zeros(num_clips, *weight.shape[1:]).index_add(0, clip_of_row, weight)
