"""Poses of SMPL-H or SMPL-X → the 25 NTU RGB+D joints, computed by functions of smplx.

The 25 joints are 21 joints of the kinematic chain and only four of the thousands of vertices: the tips of both thumbs
and both index fingers.
"""

import numpy as np
import torch
from smplx.lbs import batch_rigid_transform, batch_rodrigues, blend_shapes, vertices2joints
from torch import Tensor

from prepare.formats.body_model import Body
from prepare.formats.flavours import BY_JOINTS
from utils.errors import TakeError, UserError

BATCH_FRAMES = 2048


class BodyJoints:
    """Computes the 25 joints on a body of zero shape. It keeps only what these joints need of the body."""

    def __init__(self, body: Body, hands: str = "as-is", device: torch.device | str = "cpu"):
        """`hands`: one of flavours.HANDS. Raises UserError when it needs mean hand poses and the body has none."""
        self.flavour = BY_JOINTS[len(body["parents"])]
        tip_vertices = list(self.flavour.tips)
        mean_pose = np.zeros(self.flavour.pose_width, np.float32)  # added to every pose
        if hands == "released":
            if "hands_meanl" not in body or "hands_meanr" not in body:
                needed = "a body model with mean hand poses (hands_meanl, hands_meanr)"
                raise UserError(f"--hands released needs {needed}: give another --body, or --hands as-is")
            mean_pose[-90:] = np.concatenate([body["hands_meanl"], body["hands_meanr"]])  # the last 30 joints
        # torch.tensor copies to aligned memory. Without alignment, rounding may differ from one run to the next
        template = torch.tensor(body["v_template"])[None]
        self._rest_joints = vertices2joints(torch.tensor(body["J_regressor"]), template).to(device)  # (1, J, 3)
        self._rest_tips = template[:, tip_vertices].to(device)  # (1, 4, 3)
        self._posedirs = torch.tensor(body["posedirs"][tip_vertices], device=device)  # (4, 3, 9(J-1))
        self._weights = torch.tensor(body["weights"][tip_vertices], device=device)  # (4, J)
        self._mean_pose = torch.tensor(mean_pose, device=device)  # (3J,)
        self._chain = torch.tensor(self.flavour.chain, device=device)  # (21,)
        self._parents = torch.from_numpy(body["parents"])  # stays on the CPU: its entries are read one by one

    def __call__(self, poses: np.ndarray) -> np.ndarray:
        """Poses (T, 3J) of a body with J joints, axis-angle radians → joints (T, 25, 3) float32 metres.

        Raises TakeError when a joint is not finite.
        """
        batches = torch.from_numpy(np.ascontiguousarray(poses, np.float32)).split(BATCH_FRAMES)
        with torch.inference_mode():
            joints = torch.cat([self._batch(batch.to(self._mean_pose.device)) for batch in batches]).cpu().numpy()
        if not np.isfinite(joints).all():
            raise TakeError("has poses whose joints are not finite: it is damaged, or its angles are too large")
        return joints

    def _batch(self, poses: Tensor) -> Tensor:
        frames = len(poses)
        rotations = batch_rodrigues((poses + self._mean_pose).view(-1, 3)).view(frames, self.flavour.joints, 3, 3)
        joints, transforms = batch_rigid_transform(
            rotations, self._rest_joints.expand(frames, -1, -1), self._parents, dtype=torch.float32
        )  # (T, J, 3) and (T, J, 4, 4)
        pose_feature = (rotations[:, 1:] - torch.eye(3, device=poses.device)).flatten(1)  # (T, 9(J-1))
        tips = self._rest_tips + blend_shapes(pose_feature, self._posedirs)  # (T, 4, 3)
        skinning = torch.einsum("vj,tjab->tvab", self._weights, transforms)  # (T, 4 tips, 4, 4)
        tips = torch.einsum("tvab,tvb->tva", skinning[..., :3, :3], tips) + skinning[..., :3, 3]
        return torch.cat([joints[:, self._chain], tips], dim=1)
