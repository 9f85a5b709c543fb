"""Run a trained network over clips."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from model.agcn import Block, GraphConv, Shortcut
from model.localizer import Localizer, frame_probabilities, video_probabilities


def for_inference(model: Localizer) -> Localizer:
    """A copy of a network for evaluation alone, with every batch norm folded into the layer before it.

    In evaluation a batch norm is a linear map of each channel. Same scores to rounding, fewer passes over the features.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    for module in folded.modules():
        if isinstance(module, GraphConv):
            _fold(module, module.mix)
        elif isinstance(module, Block):
            _fold(module, module.tcn)
        elif isinstance(module, Shortcut):
            _fold(module, module.conv)
    return folded


def _fold(parent: nn.Module, layer: nn.Module) -> None:
    """Fold `parent.bn` into the layer whose output it normalizes."""
    bn = parent.bn
    layer.weight, layer.bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    parent.bn = FoldedBatchNorm()


class FoldedBatchNorm(nn.Module):
    """What is left of a batch norm that has been folded into the layer before it."""

    def forward(self, x: Tensor, _: Tensor | None) -> Tensor:
        return x


class ClipScores(NamedTuple):
    """One clip: its index in the data set, frame_probs (T, K+1) and video_probs (K+1,), background last."""

    index: int
    frame_probs: np.ndarray
    video_probs: np.ndarray


@torch.inference_mode()
def score_clips(model: Localizer, batches: Iterable, device: torch.device) -> Iterator[ClipScores]:
    """Score every clip of an iterable of batches with the first view, padding cut off."""
    network = for_inference(model)
    for batch in batches:
        lengths = batch.lengths.tolist()  # on the CPU, before the copy to a GPU
        batch = batch.to(device)
        view = network(batch.joints, batch.mask, batch.lengths).views[0]
        frame_probs = frame_probabilities(view).float().cpu().numpy()
        video_probs = video_probabilities(view).float().cpu().numpy()
        for index, length, frames, video in zip(batch.index.tolist(), lengths, frame_probs, video_probs, strict=True):
            yield ClipScores(index, frames[:length], video)
