"""Pieces of steady motion that look alike in different clips, and class probabilities that spread between them.

Example: before and after a wave, a person only stands, but the network calls these frames *wave*, too. People also
stand in clips without *wave*, and the label *wave* cannot be right there. So similar pieces of other clips can correct
the error. `model.change_points` cuts clips into pieces.

The method is label propagation (Zhu & Ghahramani 2002) with the classes of each clip as a constraint. RSKP (Huang et
al., CVPR 2022) lets snippets of different videos exchange knowledge for the same purpose.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from model.change_points import motion_features, piece_means, piece_numbers
from utils.skeleton import MIRRORED, PELVIS

ROUNDS = 2  # probabilities come from the neighbours of neighbours
CHUNK = 64  # pieces whose distances to all others are in memory at a time


class Pieces(NamedTuple):
    """The P pieces of all training clips. The clips lie one after another on one axis of frames.

    of_frame: (frames,) int64, the piece of each frame.
    clip: (P,) int64, the clip of each piece.
    neighbours: (P, k) int64, the most similar pieces of other clips; k may be 0.
    """

    of_frame: Tensor
    clip: Tensor
    neighbours: Tensor


def find_pieces(clips: Iterable[Tensor], penalty: float, neighbours: int, mirrored: bool) -> Pieces:
    """Cut clips into pieces, and find the nearest pieces of other clips for each.

    Args:
        clips: joints (C, T, V, M) of each clip.
        penalty: as in `change_points`.
        neighbours: how many for each piece.
        mirrored: as in `nearest_in_other_clips`.
    """
    numbers, descriptors = [], []
    for joints in clips:
        numbers.append(piece_numbers(joints, penalty))
        descriptors.append(descriptors_of(joints, numbers[-1]))
    counts = torch.tensor([len(pieces) for pieces in descriptors])
    clip = torch.arange(len(counts)).repeat_interleave(counts)
    first = (counts.cumsum(0) - counts).tolist()  # the first piece of each clip
    of_frame = torch.cat([own + start for own, start in zip(numbers, first, strict=True)])
    return Pieces(of_frame, clip, nearest_in_other_clips(torch.cat(descriptors), clip, neighbours, mirrored))


def descriptors_of(joints: Tensor, numbers: Tensor) -> Tensor:
    """A feature vector of each piece: joints (C, T, V, M) and the piece of each frame (T,) → (P, 6·V).

    Mean and standard deviation of the motion features over each piece, and the mean pose: height above the pelvis and
    horizontal distance from it. None of them depends on where the first person stands or which way that person faces.
    Features of several people are added up, so absent people do not matter.
    """
    _, T, V, M = joints.shape
    features = torch.from_numpy(motion_features(joints)).view(T, 2 * V, M).sum(2)
    mean = piece_means(features, numbers)
    variance = piece_means((features - mean[numbers]) ** 2, numbers)
    from_pelvis = joints.double() - joints[:, :, [PELVIS]]
    pose = torch.cat([from_pelvis[2], from_pelvis[:2].norm(dim=0)], dim=1).sum(2)
    return torch.cat([mean, variance.sqrt(), piece_means(pose, numbers)], dim=1)


def nearest_in_other_clips(descriptors: Tensor, clip: Tensor, count: int, mirrored: bool) -> Tensor:
    """The nearest pieces of other clips for each piece.

    Distances are Euclidean. Each feature is first scaled to a standard deviation of 1 over all candidates.

    Args:
        descriptors: (P, 6·V) of all pieces.
        clip: (P,) the clip of each piece.
        count: number of nearest pieces. There are fewer if the other clips do not have as many.
        mirrored: mirror images of pieces are candidates, too. A piece and its mirror image count as two.

    Returns:
        (P, k) int64, the nearest first.
    """
    P, candidates, owner = len(descriptors), descriptors, clip
    if mirrored:
        images = descriptors.view(P, 6, len(MIRRORED))[:, :, MIRRORED].flatten(1)
        candidates, owner = torch.cat([descriptors, images]), clip.repeat(2)
    count = min(count, len(owner) - int(owner.bincount().max()))  # the clip with most pieces has fewest candidates
    if not count:
        return clip.new_empty(P, 0)
    x = (candidates - candidates.mean(0)) / candidates.std(0).clamp(min=1e-9)
    half_square, nearest = x.square().sum(1) / 2, clip.new_empty(P, count)
    for pieces in torch.arange(P).split(CHUNK):
        closeness = torch.addmm(-half_square, x[pieces], x.T)  # minus half the squared distance, plus a constant
        closeness.masked_fill_(clip[pieces].unsqueeze(1) == owner, -torch.inf)
        nearest[pieces] = closeness.topk(count).indices % P
    return nearest


def propagate(probs: Tensor, allowed: Tensor, neighbours: Tensor) -> Tensor:
    """Each piece gets the mean of its neighbours' class probabilities, ROUNDS times.

    Each time, a neighbour's probabilities are first limited to the classes of its own clip and rescaled to a sum of 1.
    Probability that the neighbours give to classes absent from the piece's clip is added to background.

    Args:
        probs: (P, K+1), the last class is background. Rows of zeros are unknown.
        allowed: (P, K+1) bool, the classes in the clip of each piece, and background.
        neighbours: (P, k), k > 0.

    Returns:
        (P, K+1). Unknown neighbours add nothing, so a row may have a sum below 1.
    """
    for _ in range(ROUNDS):
        known = rescaled(probs * allowed)
        probs = known[neighbours].mean(1)
        absent = (probs * ~allowed).sum(1)
        probs = probs * allowed
        probs[:, -1] += absent
    return probs


def rescaled(probs: Tensor) -> Tensor:
    """(..., K+1) rescaled to a sum of 1 over the classes. Zeros stay zeros."""
    return probs / probs.sum(-1, keepdim=True).clamp(min=torch.finfo(probs.dtype).tiny)
