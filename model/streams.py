"""What the network sees of a skeleton sequence: joints, bones and their motion, side by side in the channels.

Bones are 2s-AGCN's second stream (Shi et al., CVPR 2019), motion those of MS-AAGCN (Shi et al., TIP 2020). Both train
a network for each stream and add up its scores; here one network sees them all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from utils.skeleton import BONES, FPS, NUM_JOINTS

SECONDS = 0.25  # motion is the way made in this time: metres, of much the size of bones
PARENTS = [dict(BONES).get(joint, joint) for joint in range(NUM_JOINTS)]  # the chest is its own, and has no bone


def stack_streams(joints: Tensor, mask: Tensor, names: list[str]) -> Tensor:
    """The named streams of a batch, (N, 3, T, V, M) metres → (N, 3·len(names), T, V, M).

    "joint": as given. "bone": each joint seen from its parent. "motion": the joints' speed, from the frames before and
    after; zero at a clip's first and last frame.

    Args:
        mask: (N, T) bool real frames; `joints` hold zeros in the others, and so do the streams.
    """
    streams = {"joint": lambda: joints, "bone": lambda: _bones(joints), "motion": lambda: _motion(joints, mask)}
    return torch.cat([streams[name]() for name in names], dim=1)


def _bones(joints: Tensor) -> Tensor:
    return joints - joints[:, :, :, PARENTS]


def _motion(joints: Tensor, mask: Tensor) -> Tensor:
    speed = torch.zeros_like(joints)
    between = (mask[:, :-2] & mask[:, 2:]).view(len(joints), 1, -1, 1, 1)
    speed[:, :, 1:-1] = (joints[:, :, 2:] - joints[:, :, :-2]) * (between * SECONDS * FPS / 2)
    return speed
