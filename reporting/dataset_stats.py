"""What a split holds, counted from its arrays, and what does not look as it should."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.skeleton import HEAD, JOINT_NAMES, NUM_JOINTS, PELVIS
from utils.store import SUBSETS, Split

LEAST_UPRIGHT = 0.8  # of the clips: people lie, hang and tumble, but not that often
HEIGHTS = (0.8, 2.2)  # metres from foot to head, in the middle of all clips
NAMED = 8  # classes or clips in one warning
USES = {"train": "learnt", "val": "scored"}
FOOT = JOINT_NAMES.index("left_foot")


@dataclass(frozen=True)
class Amounts:
    """What a subset holds; `overlap` (K, K) counts frames under both classes, those of one on its diagonal."""

    lengths: np.ndarray  # (clips,) frames
    clips: np.ndarray  # (K,) clips by class
    overlap: np.ndarray
    unannotated: int
    several: int

    @property
    def frames(self) -> np.ndarray:
        """Frames by class, (K,)."""
        return self.overlap.diagonal()


@dataclass(frozen=True)
class Bodies:
    """One pose of every clip, its middle frame's: is it upright, and as large as a person?"""

    upright: float  # share of clips whose head is above the pelvis
    height: float  # median of the distance from foot to head, metres
    broken: list[str]  # clips with a joint that is no number


def count(split: Split, subset: str) -> Amounts:
    """Count a subset's clips, frames and labels, from the labels themselves."""
    ids, classes = split.clip_ids(subset), len(split.classes)
    clips, overlap = np.zeros(classes, np.int64), np.zeros((classes, classes), np.int64)
    unannotated = several = 0
    for sid in ids:
        labels = split.labels(sid)
        ones = labels.astype(np.float32)  # exact up to 16 million frames, and quick for many classes
        clips += labels.any(axis=0)
        overlap += (ones.T @ ones).astype(np.int64)
        several += int((labels.sum(axis=1) > 1).sum())
        unannotated += int((~split.annotated(sid)).sum())
    lengths = np.array([len(split.labels(sid)) for sid in ids], np.int64)
    return Amounts(lengths, clips, overlap, unannotated, several)


def look_at_bodies(split: Split) -> Bodies:
    """Look at the middle frame of every clip."""
    ids = [sid for subset in SUBSETS for sid in split.clip_ids(subset)]
    poses = np.empty((len(ids), NUM_JOINTS, 3))
    for number, sid in enumerate(ids):
        joints = split.store.joints(sid)
        poses[number] = joints[len(joints) // 2]
    whole = np.isfinite(poses).all(axis=(1, 2))
    broken = [sid for sid, good in zip(ids, whole, strict=True) if not good]
    poses = poses[whole]
    if not len(poses):
        return Bodies(float("nan"), float("nan"), broken)
    upright = float((poses[:, HEAD, 2] > poses[:, PELVIS, 2]).mean())
    return Bodies(upright, float(np.median(np.linalg.norm(poses[:, HEAD] - poses[:, FOOT], axis=1))), broken)


def warnings(split: Split, amounts: dict[str, Amounts], bodies: Bodies) -> list[str]:
    """What does not look as it should, one sentence each."""
    found = []
    for subset in SUBSETS:
        empty = [name for name, clips in zip(split.classes, amounts[subset].clips, strict=True) if not clips]
        if empty:
            found.append(f"No {subset} clip has {_some(empty)}: that cannot be {USES[subset]}.")
    if bodies.upright < LEAST_UPRIGHT:
        found.append(f"Only {bodies.upright:.0%} of the bodies are upright: is z the vertical axis of the motion?")
    if not HEIGHTS[0] < bodies.height < HEIGHTS[1] and not np.isnan(bodies.height):
        found.append(f"Bodies are {bodies.height:.2f} m from foot to head: are the joints in metres?")
    if bodies.broken:
        found.append(f"Joints that are no numbers are in the clips {_some(bodies.broken)}.")
    missing = len(absent_clips(split))
    if missing > len(split.store.clips):
        found.append(
            f"More clips are missing from the store ({missing:,}) than are in it ({len(split.store.clips):,})."
        )
    return found


def chosen_clips(split: Split, most: int) -> list[tuple[str, str]]:
    """(class, clip id) to show: for the most frequent classes the training clip of middle length, none twice."""
    ids = split.clip_ids("train") or split.clip_ids("val")
    present = np.array([split.labels(sid).any(axis=0) for sid in ids]).reshape(len(ids), len(split.classes))
    chosen: list[tuple[str, str]] = []
    for label in np.argsort(-present.sum(axis=0), kind="stable")[:most]:
        taken = {sid for _, sid in chosen}
        free = [sid for sid, here in zip(ids, present[:, label], strict=True) if here and sid not in taken]
        free.sort(key=lambda sid: len(split.labels(sid)))
        if free:
            chosen.append((split.classes[label], free[len(free) // 2]))
    return chosen


def absent_clips(split: Split) -> dict[str, str]:
    """Why clips are not in the store, by their id."""
    return split.store.manifest.left_out


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(repr(name) for name in names[:NAMED]) + rest
