"""SMPL-H poses → the 25 NTU RGB+D joints, computed by functions of smplx.

SMPL-H (Romero et al. 2017) has 6,890 vertices. The 25 joints are 21 joints of its kinematic chain and only four
vertices: the tips of both thumbs and both index fingers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from smplx.lbs import batch_rigid_transform, batch_rodrigues, blend_shapes, vertices2joints
from smplx.vertex_ids import vertex_ids
from torch import Tensor

from prepare.formats.amass import read_poses
from prepare.formats.errors import MAX_FRAMES, TakeError
from prepare.formats.smplh_body import SMPLH_JOINTS, Body
from utils.skeleton import FPS, NUM_JOINTS, SMPLH_OUTPUT_INDEX

BATCH_FRAMES = 2048
# The last four of the 25 joints are vertices: tips of left thumb, left index, right thumb and right index
TIP_VERTICES = tuple(vertex_ids["smplh"][name] for name in ("lthumb", "lindex", "rthumb", "rindex"))


class SmplhJoints:
    """Computes the 25 joints on a body of zero shape. Of the body it keeps only the arrays that these joints need."""

    def __init__(self, body: Body, device: torch.device | str = "cpu"):
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
        """Poses (T, 156), axis-angle radians → joints (T, 25, 3) float32 metres. The hands' mean pose is added."""
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


def read_joints(path: Path, joints_of: SmplhJoints, limit: int = MAX_FRAMES + 1) -> tuple[float, np.ndarray]:
    """An AMASS take's own frame rate, and the joints (T, 25, 3) float32 of its first `limit` frames at 30 fps.

    Raises TakeError when the take is damaged, is too long, or gives joints that are not finite.
    """
    fps, blocks = read_poses(path, min(limit, MAX_FRAMES + 1))
    joints = [np.empty((0, NUM_JOINTS, 3), np.float32), *(joints_of(poses) for poses in blocks if len(poses))]
    joints = np.concatenate(joints)
    refuse_too_long(len(joints))
    if not np.isfinite(joints).all():
        raise TakeError("has poses whose joints are not finite: its angles are too large")
    return fps, joints


def refuse_too_long(frames: float) -> None:
    """Raise TakeError when a recording has more than MAX_FRAMES frames at 30 fps."""
    if frames > MAX_FRAMES:
        raise TakeError(f"has more than {MAX_FRAMES:,} frames at {FPS} fps: cut it into shorter ones")


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, so that parallel workers do not compete and their number does not change results."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
