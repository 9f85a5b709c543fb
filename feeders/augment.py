"""Augmentation: training clips are changed a little each epoch, in ways that change no label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from feeders.batches import Batch
from utils.skeleton import JOINT_NAMES

OTHER = {"left": "right", "right": "left"}


def _mirrored(name: str) -> int:
    """The joint at the same place on the other side of the body."""
    side, _, part = name.partition("_")
    return JOINT_NAMES.index(f"{OTHER[side]}_{part}" if side in OTHER else name)


MIRRORED = [_mirrored(name) for name in JOINT_NAMES]


def augment(batch: Batch, mirror: float, scale: float, seed: int, epoch: int) -> Batch:
    """Mirror some clips, left and right exchanged, and make every body larger or smaller.

    What happens to a clip depends on seed, epoch and its index alone, not on its batch or rank.

    Args:
        mirror: probability that a clip is mirrored: x becomes -x, which normalisation has made left to right.
        scale: bodies grow or shrink by up to this share of their size.
    """
    if not mirror and not scale:
        return batch
    drawn = [np.random.default_rng([seed, epoch, index]).random(2) for index in batch.index.tolist()]
    flips, sizes = torch.from_numpy(np.array(drawn).reshape(-1, 2)).unbind(1)
    flipped = batch.joints[:, :, :, MIRRORED] * torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1, 1)
    joints = torch.where((flips < mirror).view(-1, 1, 1, 1, 1), flipped, batch.joints)
    factors = 1 + scale * (2 * sizes - 1)
    return replace(batch, joints=joints * factors.to(joints.dtype).view(-1, 1, 1, 1, 1))
