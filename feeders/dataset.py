"""The clips of a split, as the network receives them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from feeders.label_policy import is_too_long, used_labels
from feeders.normalize import normalize
from utils.config import DataSettings, Settings
from utils.errors import UserError
from utils.store import Split


@dataclass(eq=False)
class SkeletonClips:
    """The clips of one subset, train or val, in the order of the split (`utils.store.Split`). Joints are memory-mapped.

    The label policy in `data` decides which clips and labels are used. Raises UserError when no clip is left.
    """

    split: Split
    subset: str  # "train" or "val"
    data: DataSettings
    clip_ids: list[str] | None = None  # None: all clips of the subset. Clips that the policy leaves out are removed

    def __post_init__(self) -> None:
        split, self.classes = self.split, self.split.classes  # K names
        wanted = split.clip_ids(self.subset) if self.clip_ids is None else self.clip_ids
        if not wanted:
            raise UserError(f"{split.folder}: has no {self.subset} clip; expected at least one")
        labels = {clip_id: found for clip_id in wanted if (found := self._labels(clip_id)) is not None}
        if not labels:
            raise UserError(
                f"{split.folder}: no {self.subset} clip has a label of {', '.join(self.classes)} and at most "
                f"{self.data.max_frames} frames (data.max_frames); raise data.max_frames, or see what was left out and "
                "why in split.json"
            )
        self.clip_ids = list(labels)  # N ids; the index of a clip is its place here
        self.lengths = np.array([math.ceil(len(found) / self.data.frame_step) for found in labels.values()])  # (N,)
        video_labels = [found.any(axis=0) | split.untimed(clip_id) for clip_id, found in labels.items()]
        self.video_labels = np.stack(video_labels)  # (N, K) bool

    def __len__(self) -> int:
        return len(self.clip_ids)

    def joints(self, index: int) -> Tensor:
        """The network's input for one clip: (C, T, V, M) float32, in metres."""
        joints = self.split.store.people(self.clip_ids[index])[:: self.data.frame_step][: self.lengths[index]]
        return network_input(joints, self.data.normalization)

    def summary(self) -> str:
        """One line: how many clips of the subset are used, and how many were left out and why, at preparation or here.

        Do not call it on the result of `only`, because it would count the removed clips as "without a chosen class".
        """
        ids = self.split.clip_ids(self.subset)
        long = sum(is_too_long(self.split.annotated(clip_id), self.data) for clip_id in ids)
        reasons = Counter(self.split.manifest.left_out.get(self.subset, {}))
        reasons[f"longer than {self.data.max_frames} frames"] = long
        reasons["without a chosen class"] += len(ids) - long - len(self)
        left_out = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        return f"{len(self)} {self.subset} clips; left out: {left_out or 'none'}"

    def identity(self) -> dict[str, Any]:
        """What identifies the data of a run in its checkpoints (`model.checkpoint.TrainingFile`)."""
        return {
            "classes": list(self.classes),
            "store": self.split.store.digest,
            "labels": self.split.manifest.labels_file,
            "untimed": self.split.manifest.untimed,
            "clips": len(self),
            "skeletons": self.split.skeleton_facts,
        }

    def frame_labels(self, index: int) -> np.ndarray:
        """Labels (T, K) bool of a clip, for evaluation and the fully-supervised upper bound only.

        T counts all frames that the label policy keeps, also those that `frame_step` skips.
        """
        return self._labels(self.clip_ids[index])

    def all_frame_labels(self) -> list[Tensor]:
        """Labels (T, K) bool of all clips, for the fully-supervised upper bound. T counts the frames of `joints`.

        Raises UserError when labels have no times.
        """
        untimed = [clip_id for clip_id in self.clip_ids if self.split.untimed(clip_id).any()]
        if untimed:
            raise UserError(
                f"train.supervised=true needs the times of all labels; {len(untimed)} clips have labels without times, "
                f"such as {untimed[0]}: add the times, or set train.supervised=false"
            )
        return [torch.from_numpy(self.frame_labels(i)[:: self.data.frame_step].copy()) for i in range(len(self))]

    def _labels(self, clip_id: str) -> np.ndarray | None:
        split = self.split
        return used_labels(split.labels(clip_id), split.annotated(clip_id), self.data, split.untimed(clip_id))

    def only(self, indices: np.ndarray) -> SkeletonClips:
        """A dataset of these clips alone; indices start from 0 again."""
        return replace(self, clip_ids=[self.clip_ids[i] for i in indices])


def network_input(joints: np.ndarray, normalization: str) -> Tensor:
    """Normalize the joints (T, V, C) or (T, M, V, C) of one clip. Returns (C, T, V, M) float32."""
    joints = normalize(np.asarray(joints, dtype=np.float64), normalization).astype(np.float32)
    return torch.from_numpy(joints.reshape(len(joints), -1, *joints.shape[-2:])).permute(3, 0, 2, 1)


def training_clips(split: Split, settings: Settings) -> tuple[SkeletonClips, SkeletonClips | None]:
    """The clips to train on, and those that are held out, if any. Raises UserError if they make no batch."""
    clips = SkeletonClips(split, "train", settings.data)
    print(clips.summary())
    clips, held_out = hold_out(clips, settings.data.holdout, settings.train.seed)
    if held_out:
        print(f"of these, {len(held_out)} clips are held out: they only choose best.pt")
    if settings.data.drop_last and len(clips) < settings.train.batch_size:
        raise UserError(
            f"{len(clips)} training clips make no batch of train.batch_size = {settings.train.batch_size} clips, and "
            "data.drop_last drops the rest: lower train.batch_size, or set data.drop_last=false"
        )
    return clips, held_out


def hold_out(clips: SkeletonClips, share: float, seed: int) -> tuple[SkeletonClips, SkeletonClips | None]:
    """Divide the clips at random into a training part and a held-out part, which is about this `share` of them.

    With a share of 0, nothing is held out. Otherwise each part has at least one clip. Raises UserError if there is only
    one clip.
    """
    if share == 0:
        return clips, None
    if len(clips) < 2:
        raise UserError(f"data.holdout={share} needs at least 2 training clips; found {len(clips)}")
    count = min(max(1, round(share * len(clips))), len(clips) - 1)
    order = np.random.default_rng(seed).permutation(len(clips))
    return clips.only(np.sort(order[count:])), clips.only(np.sort(order[:count]))
