"""Statistics of a split, counted from its arrays, and warnings about what looks wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.skeleton import HEAD, JOINT_NAMES, NUM_JOINTS, PELVIS
from utils.store import SUBSETS, Split

LEAST_UPRIGHT = 0.8  # of the clips; people also lie, hang and tumble, but less often
HEIGHTS = (0.8, 2.2)  # metres; expected range of the median distance from foot to head
MAX_NAMED = 8  # classes or clips named in one warning
FOOT = JOINT_NAMES.index("left_foot")


@dataclass(frozen=True)
class SubsetStats:
    """What a subset of K classes holds."""

    lengths: np.ndarray  # (clips,) frames
    clips: np.ndarray  # (K,) clips that have the class
    overlap: np.ndarray  # (K, K) frames that have both classes; frames of one class on the diagonal
    unannotated: int  # frames that no annotation covers
    several: int  # frames that have several classes

    @property
    def frames(self) -> np.ndarray:
        """Frames that have the class, (K,)."""
        return self.overlap.diagonal()


@dataclass(frozen=True)
class PoseStats:
    """Whether the bodies in the middle frames of all clips are upright and as large as people. NaN without clips."""

    upright: float  # fraction of clips with the head above the pelvis
    height: float  # metres; median distance from foot to head
    broken: list[str]  # clips with joints that are not finite


def subset_stats(split: Split, subset: str) -> SubsetStats:
    """Count a subset's clips, frames and labels."""
    ids, classes = split.clip_ids(subset), len(split.classes)
    clips, overlap = np.zeros(classes, np.int64), np.zeros((classes, classes), np.int64)
    unannotated = several = 0
    for sid in ids:
        labels = split.labels(sid)
        numbers = labels.astype(np.float32)  # a fast product of many classes, exact for up to 16 million frames
        clips += labels.any(axis=0)
        overlap += (numbers.T @ numbers).astype(np.int64)
        several += int((labels.sum(axis=1) > 1).sum())
        unannotated += int((~split.annotated(sid)).sum())
    lengths = np.array([len(split.labels(sid)) for sid in ids], np.int64)
    return SubsetStats(lengths, clips, overlap, unannotated, several)


def pose_stats(split: Split) -> PoseStats:
    """Examine the middle frame of every clip."""
    ids = [sid for subset in SUBSETS for sid in split.clip_ids(subset)]
    poses = np.empty((len(ids), NUM_JOINTS, 3))
    for pose, sid in zip(poses, ids, strict=True):
        joints = split.store.joints(sid)
        pose[:] = joints[len(joints) // 2]
    finite = np.isfinite(poses).all(axis=(1, 2))
    broken = [sid for sid, good in zip(ids, finite, strict=True) if not good]
    poses = poses[finite]
    if not len(poses):
        return PoseStats(float("nan"), float("nan"), broken)
    upright = float((poses[:, HEAD, 2] > poses[:, PELVIS, 2]).mean())
    return PoseStats(upright, float(np.median(np.linalg.norm(poses[:, HEAD] - poses[:, FOOT], axis=1))), broken)


def warnings(split: Split, stats: dict[str, SubsetStats], poses: PoseStats) -> list[str]:
    """What looks wrong, one sentence each."""
    found = []
    for subset, use in (("train", "learnt"), ("val", "scored")):
        empty = [name for name, clips in zip(split.classes, stats[subset].clips, strict=True) if not clips]
        if empty:
            found.append(f"No {subset} clip has {_listed(empty)}: that cannot be {use}.")
    if poses.upright < LEAST_UPRIGHT:
        found.append(f"Only {poses.upright:.0%} of the bodies are upright: is z the vertical axis of the motion?")
    if poses.height < HEIGHTS[0] or poses.height > HEIGHTS[1]:
        found.append(f"Bodies are {poses.height:.2f} m from foot to head: are the joints in metres?")
    if poses.broken:
        found.append(f"Joints that are not finite are in the clips {_listed(poses.broken)}.")
    missing, stored = len(split.store.manifest.left_out), len(split.store.clips)
    if missing > stored:
        found.append(f"More clips are missing from the store ({missing:,}) than are in it ({stored:,}).")
    return found


def example_clips(split: Split, count: int) -> list[tuple[str, str]]:
    """(class, clip id) for the most frequent classes: the training clip of median length, each clip once."""
    ids = split.clip_ids("train") or split.clip_ids("val")
    present = np.array([split.labels(sid).any(axis=0) for sid in ids]).reshape(len(ids), len(split.classes))
    chosen: dict[str, str] = {}  # clip id: class
    for label in np.argsort(-present.sum(axis=0), kind="stable")[:count]:
        free = [sid for sid, here in zip(ids, present[:, label], strict=True) if here and sid not in chosen]
        free.sort(key=lambda sid: len(split.labels(sid)))
        if free:
            chosen[free[len(free) // 2]] = split.classes[label]
    return [(name, sid) for sid, name in chosen.items()]


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return ", ".join(repr(name) for name in names[:MAX_NAMED]) + rest
