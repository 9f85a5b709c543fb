"""SMPL-H poses → the 25 NTU RGB+D joints, with the arithmetic of smplx.

SMPL-H (Romero et al. 2017) has 6,890 vertices. The 25 joints need only 21 joints of its kinematic chain and four
vertices: the tips of both thumbs and index fingers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from smplx.lbs import batch_rigid_transform, batch_rodrigues, blend_shapes, vertices2joints
from smplx.vertex_ids import vertex_ids
from torch import Tensor

from prepare.formats.smplh_body import SMPLH_JOINTS, Body
from utils.skeleton import SMPLH_OUTPUT_INDEX

BATCH_FRAMES = 2048
# Single vertices that come last among the 25 joints: tips of left thumb and index, right thumb and index
TIP_VERTICES = tuple(vertex_ids["smplh"][name] for name in ("lthumb", "lindex", "rthumb", "rindex"))


class SmplhJoints:
    """A body of zero shape, reduced to what the 25 joints need, so that it is small enough to send to every worker."""

    def __init__(self, body: Body, device: torch.device | str = "cpu"):
        """Reduce a checked body (`prepare.formats.smplh_body`). `device` computes the joints."""
        tips = list(TIP_VERTICES)
        template = torch.from_numpy(body["v_template"])[None]
        self._rest_joints = vertices2joints(torch.from_numpy(body["J_regressor"]), template)  # (1, 52, 3)
        self._rest_tips = template[:, tips]  # (1, 4, 3)
        self._blend = torch.from_numpy(body["posedirs"][tips])  # (4, 3, 459)
        self._weights = torch.from_numpy(body["weights"][tips])  # (4, 52)
        hands = np.concatenate([body["hands_meanl"], body["hands_meanr"]])
        self._mean_pose = torch.from_numpy(np.concatenate([np.zeros(22 * 3, np.float32), hands]))  # (156,)
        self._chain = torch.tensor(SMPLH_OUTPUT_INDEX[: -len(tips)])  # (21,)
        for name, tensor in vars(self).items():
            setattr(self, name, tensor.to(device))
        self._parents = torch.from_numpy(body["parents"])  # stays on the CPU: its entries are read one by one

    def __call__(self, poses: np.ndarray) -> np.ndarray:
        """Poses (T, 156) axis-angle radians without the hands' mean → joints (T, 25, 3) float32 metres."""
        batches = torch.from_numpy(np.ascontiguousarray(poses, np.float32)).split(BATCH_FRAMES)
        with torch.inference_mode():
            return np.concatenate([self._batch(batch.to(self._mean_pose.device)).cpu().numpy() for batch in batches])

    def _batch(self, poses: Tensor) -> Tensor:
        frames = len(poses)
        rotations = batch_rodrigues((poses + self._mean_pose).view(-1, 3)).view(frames, SMPLH_JOINTS, 3, 3)
        joints, transforms = batch_rigid_transform(
            rotations, self._rest_joints.expand(frames, -1, -1), self._parents, dtype=torch.float32
        )
        bent = (rotations[:, 1:] - torch.eye(3, device=poses.device)).view(frames, -1)  # (T, 459)
        tips = self._rest_tips + blend_shapes(bent, self._blend)  # (T, 4, 3)
        skinning = torch.einsum("vj,tjab->tvab", self._weights, transforms)
        tips = torch.einsum("tvab,tvb->tva", skinning[..., :3, :3], tips) + skinning[..., :3, 3]
        return torch.cat([joints[:, self._chain], tips], dim=1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread, so that workers do not compete and results do not depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
