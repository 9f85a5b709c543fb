"""Augmentation: random changes of the training clips. They differ between epochs.

Every frame stays in its place, because pseudo-labels are kept for each frame from one epoch to the next. Do not mirror
clips if a class depends on left or right, such as "raise left arm".
"""

from dataclasses import replace

import numpy as np
import torch

from feeders.batches import Batch
from utils.skeleton import MIRRORED


def augment(batch: Batch, mirror: float, scale: float, seed: int, epoch: int) -> Batch:
    """Exchange left and right in a clip with probability `mirror`. Change body sizes by a fraction of up to `scale`.

    The change of a clip depends only on seed, epoch and the clip's index, not on its batch or rank. In the first
    frame, the first person's left shoulder is on the side of -x, the right one on that of +x (`feeders.normalize`). So
    mirroring also changes the sign of x.
    """
    if not mirror and not scale:
        return batch
    drawn = [np.random.default_rng([seed, epoch, index]).random(2) for index in batch.index.tolist()]
    flips, sizes = np.array(drawn).reshape(-1, 2).T
    factors = (1 + scale * (2 * sizes - 1)).astype(np.float32)
    joints = batch.joints.numpy() * factors.reshape(-1, 1, 1, 1, 1)
    for n in np.flatnonzero(flips < mirror):
        joints[n] = joints[n][:, :, MIRRORED]
        joints[n, 0] *= -1
    return replace(batch, joints=torch.from_numpy(joints))
