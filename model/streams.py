"""What the network sees of a skeleton sequence: joints, bones and their motion, side by side in the channels.

Bones are 2s-AGCN's second stream (Shi et al., CVPR 2019), motion those of MS-AAGCN (Shi et al., TIP 2020). Both train
a network for each stream and add up its scores; here one network sees them all. Egocentric streams are how motion
synthesis describes a body (Holden et al., SIGGRAPH 2017; HumanML3D, Guo et al., CVPR 2022): where a person faces does
not matter, and that they turn is motion.
"""

from __future__ import annotations

import torch
from torch import Tensor

from utils.skeleton import BONES, FPS, LEFT_HIP, LEFT_SHOULDER, NUM_JOINTS, RIGHT_HIP, RIGHT_SHOULDER

SECONDS = 0.25  # motion is the way made in this time: metres, of much the size of bones
SMALL = 1e-4  # metres; below it a person seen from above has no left and right
PARENTS = [dict(BONES).get(joint, joint) for joint in range(NUM_JOINTS)]  # the chest is its own, and has no bone


def stack_streams(joints: Tensor, mask: Tensor, names: list[str]) -> Tensor:
    """The named streams of a batch, (N, 3, T, V, M) metres → (N, 3·len(names), T, V, M).

    "joint": as given. "bone": each joint seen from its parent. "motion", "bone_motion": the speed of these, from the
    frames before and after; zero at a clip's first and last frame. "egocentric", "egocentric_motion": joints and their
    motion, turned about the vertical in every frame so that left to right, of shoulders and hips, is along +x.

    Args:
        mask: (N, T) bool real frames; `joints` hold zeros in the others, and so do the streams.
    """
    bones = joints - joints[:, :, :, PARENTS]
    streams = {
        "joint": lambda: joints,
        "bone": lambda: bones,
        "motion": lambda: _motion(joints, mask),
        "bone_motion": lambda: _motion(bones, mask),
        "egocentric": lambda: _turn(joints, joints),
        "egocentric_motion": lambda: _turn(_motion(joints, mask), joints),
    }
    return torch.cat([streams[name]() for name in names], dim=1)


def _motion(x: Tensor, mask: Tensor) -> Tensor:
    speed = torch.zeros_like(x)
    between = (mask[:, :-2] & mask[:, 2:]).view(len(x), 1, -1, 1, 1)
    speed[:, :, 1:-1] = (x[:, :, 2:] - x[:, :, :-2]) * (between * SECONDS * FPS / 2)
    return speed


def _turn(x: Tensor, joints: Tensor) -> Tensor:
    """x, (N, 3, T, V, M), turned as faces the body of each frame of `joints`."""
    across = joints[:, :2, :, [RIGHT_SHOULDER, RIGHT_HIP]] - joints[:, :2, :, [LEFT_SHOULDER, LEFT_HIP]]
    across = across.sum(dim=3, keepdim=True)  # (N, 2, T, 1, M)
    cos, sin = (across / across.norm(dim=1, keepdim=True).clamp(min=SMALL)).unbind(1)
    return torch.stack([cos * x[:, 0] + sin * x[:, 1], cos * x[:, 1] - sin * x[:, 0], x[:, 2]], dim=1)
