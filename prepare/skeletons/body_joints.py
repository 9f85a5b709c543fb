"""Poses of SMPL-H or SMPL-X → the 25 NTU RGB+D joints, computed by functions of smplx.

The 25 joints are 21 joints of the kinematic chain and only four of the thousands of vertices: the tips of both thumbs
and both index fingers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from smplx.lbs import batch_rigid_transform, batch_rodrigues, blend_shapes, vertices2joints
from torch import Tensor

from prepare.formats.amass import read_poses
from prepare.formats.body_model import Body
from prepare.formats.errors import TakeError
from prepare.formats.flavours import BY_JOINTS, HANDS
from utils.errors import UserError

BATCH_FRAMES = 2048


class BodyJoints:
    """Computes the 25 joints on a body of zero shape. Of the body it keeps only the arrays that these joints need."""

    def __init__(self, body: Body, hands: str = HANDS[0], device: torch.device | str = "cpu"):
        """`hands`: one of HANDS. Raises UserError when it needs mean hand poses and the body has none."""
        self.flavour = BY_JOINTS[len(body["parents"])]
        tips = list(self.flavour.tips)
        added = np.zeros(self.flavour.pose_width, np.float32)  # to every pose
        if hands == "released":
            if "hands_meanl" not in body or "hands_meanr" not in body:
                raise UserError("--hands released needs a body model with mean hand poses (hands_meanl, hands_meanr)")
            added[-90:] = np.concatenate([body["hands_meanl"], body["hands_meanr"]])  # the hands are the last 30 joints
        template = torch.from_numpy(body["v_template"])[None]
        self._rest_joints = vertices2joints(torch.from_numpy(body["J_regressor"]), template).to(device)  # (1, J, 3)
        self._rest_tips = template[:, tips].to(device)  # (1, 4, 3)
        self._blend = torch.from_numpy(body["posedirs"][tips]).to(device)  # (4, 3, 9(J-1))
        self._weights = torch.from_numpy(body["weights"][tips]).to(device)  # (4, J)
        self._added = torch.from_numpy(added).to(device)  # (3J,)
        self._chain = torch.tensor(self.flavour.chain, device=device)  # (21,)
        self._parents = torch.from_numpy(body["parents"])  # stays on the CPU: its entries are read one by one

    def __call__(self, poses: np.ndarray) -> np.ndarray:
        """Poses (T, 3J) of a body with J joints, axis-angle radians → joints (T, 25, 3) float32 metres."""
        batches = torch.from_numpy(np.ascontiguousarray(poses, np.float32)).split(BATCH_FRAMES)
        with torch.inference_mode():
            return np.concatenate([self._batch(batch.to(self._added.device)).cpu().numpy() for batch in batches])

    def _batch(self, poses: Tensor) -> Tensor:
        frames = len(poses)
        rotations = batch_rodrigues((poses + self._added).view(-1, 3)).view(frames, self.flavour.joints, 3, 3)
        joints, transforms = batch_rigid_transform(
            rotations, self._rest_joints.expand(frames, -1, -1), self._parents, dtype=torch.float32
        )
        bent = (rotations[:, 1:] - torch.eye(3, device=poses.device)).flatten(1)  # (T, 9(J-1))
        tips = self._rest_tips + blend_shapes(bent, self._blend)  # (T, 4, 3)
        skinning = torch.einsum("vj,tjab->tvab", self._weights, transforms)
        tips = torch.einsum("tvab,tvb->tva", skinning[..., :3, :3], tips) + skinning[..., :3, 3]
        return torch.cat([joints[:, self._chain], tips], dim=1)


def read_joints(
    path: Path, joints_of: BodyJoints, limit: int | None = None, seconds: float | None = None
) -> tuple[float, np.ndarray]:
    """An AMASS take's own frame rate, and the joints (T, 25, 3) float32 of its first `limit` frames at 30 fps.

    Raises TakeError as `read_poses`, and when the take gives joints that are not finite.
    """
    fps, poses = read_poses(path, limit, joints_of.flavour, seconds)
    joints = joints_of(poses)
    if not np.isfinite(joints).all():
        raise TakeError("has poses whose joints are not finite: its angles are too large")
    return fps, joints
