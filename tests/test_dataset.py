"""Clips under each label policy, and the held-out share."""

from __future__ import annotations

import numpy as np
import pytest

from feeders.dataset import SkeletonClips, hold_out
from utils.errors import UserError
from utils.label_policy import LabelPolicy

POLICY = LabelPolicy("all", "background", 1000, "clip")
LABELS = np.array([[1, 0], [1, 1], [0, 0], [0, 1], [0, 0], [0, 1]], bool)
ANNOTATED = np.array([1, 1, 0, 1, 0, 1], bool)


def test_all_labels_stay_in_place_by_default() -> None:
    assert np.array_equal(POLICY.apply(LABELS, ANNOTATED), LABELS)


def test_lowest_keeps_one_class_a_frame() -> None:
    kept = LabelPolicy("lowest", "background", 1000, "clip").apply(LABELS, ANNOTATED)
    assert kept.astype(int).tolist() == [[1, 0], [1, 0], [0, 0], [0, 1], [0, 0], [0, 1]]


def test_removed_gaps_move_labels_up_and_shorten_the_clip() -> None:
    kept = LabelPolicy("all", "removed", 1000, "clip").apply(LABELS, ANNOTATED)
    assert kept.astype(int).tolist() == [[1, 0], [1, 1], [0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("counts", "limit", "kept"), [("clip", 5, False), ("annotated", 4, True), ("annotated", 3, False)]
)
def test_the_length_limit_counts_what_it_says(counts: str, limit: int, kept: bool) -> None:
    assert (LabelPolicy("all", "background", limit, counts).apply(LABELS, ANNOTATED) is not None) == kept


def test_a_clip_without_any_class_is_left_out() -> None:
    assert POLICY.apply(np.zeros((5, 2), bool), np.ones(5, bool)) is None


def test_removed_gaps_end_the_motion_where_the_labels_end(make_split) -> None:
    split = make_split(train=[40], gaps=True)
    clips = SkeletonClips(split, "train", LabelPolicy("all", "removed", 1000, "clip"), "upright")
    whole = SkeletonClips(split, "train", POLICY, "upright")
    assert clips.lengths.tolist() == [30]
    assert np.array_equal(clips[0].joints, whole[0].joints[:, :30])
    assert clips.frame_labels(0).shape == (30, 2)


def test_video_labels_are_the_classes_of_the_frames(make_split) -> None:
    clips = SkeletonClips(make_split(train=[5, 2, 3]), "train", POLICY, "upright")
    for i in range(len(clips)):
        assert np.array_equal(clips.video_labels[i], clips.frame_labels(i).any(axis=0))


def test_no_clip_within_the_limit_says_which_setting_it_was(make_split) -> None:
    with pytest.raises(UserError, match=r"no train clip has a label of walk, wave within data\.max_frames = 3"):
        SkeletonClips(make_split(train=[40]), "train", LabelPolicy("all", "background", 3, "clip"), "upright")


def test_held_out_clips_are_apart_and_the_same_for_a_seed(make_split) -> None:
    clips = SkeletonClips(make_split(train=[30] * 20), "train", POLICY, "upright")
    kept, held = hold_out(clips, 0.25, seed=3)
    assert len(held) == 5
    assert not set(kept.clip_ids) & set(held.clip_ids)
    assert set(kept.clip_ids) | set(held.clip_ids) == set(clips.clip_ids)
    assert hold_out(clips, 0.25, seed=3)[1].clip_ids == held.clip_ids
    assert held[2].index == 2
    assert hold_out(clips, 0.0, seed=3) == (clips, None)
