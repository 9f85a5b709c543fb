"""What the network sees of a skeleton: joints (their positions), bones and motion."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.skeleton import BONES, NUM_JOINTS

MOTION_SCALE = 10  # factor on the motion (metres per frame). It makes motion about as large as bones (metres)


class Streams(nn.Module):
    """Stacks streams of a skeleton sequence along the channels.

    Here one network sees all streams, stacked at its input (early fusion). MS-AAGCN (Shi et al. 2020) has one network
    for each stream. EfficientGCN (Song et al. 2022) has one network that fuses the streams after some layers.

    Args:
        names: "joints" (positions), "bones" (from the parent joint), "motion" (change since the frame before; zero in a
            person's first frame and in the first frame after an absence).
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        parents = torch.arange(NUM_JOINTS)  # the joint at the root is its own parent
        for child, parent in BONES:
            parents[child] = parent
        self.register_buffer("parents", parents, persistent=False)
        self.names, self.out_channels = tuple(names), 3 * len(names)

    def forward(self, joints: Tensor) -> Tensor:
        """(N, C, T, V, M) in metres, zeros in the padding and for people who are absent → (N, C·streams, T, V, M)."""
        if self.names == ("joints",):
            return joints
        there = people_there(joints)
        moved = (joints[:, :, 1:] - joints[:, :, :-1]) * (there[:, :, 1:] & there[:, :, :-1])
        streams = {
            "joints": joints,
            "bones": joints - joints[:, :, :, self.parents],
            "motion": MOTION_SCALE * F.pad(moved, (0, 0, 0, 0, 1, 0)),
        }
        return torch.cat([streams[name] for name in self.names], dim=1)


def people_there(joints: Tensor) -> Tensor:
    """In which frames each person is there: (..., C, T, V, M) → (..., 1, T, 1, M) bool. Absent people are zeros."""
    return joints.ne(0).any(-2, keepdim=True).any(-4, keepdim=True)
