"""Clips under each label policy, and the held-out share."""

import numpy as np
import pytest
import torch

from feeders.dataset import SkeletonClips, hold_out, training_clips
from utils import config
from utils.errors import UserError

DATA = config.load().data


def test_removed_gaps_end_the_motion_where_the_labels_end(make_split) -> None:
    split = make_split(train=[40], gaps=True)
    clips = SkeletonClips(split, "train", DATA.model_copy(update={"gaps": "removed"}))
    whole = SkeletonClips(split, "train", DATA)
    assert clips.lengths.tolist() == [30]
    assert np.array_equal(clips.joints(0), whole.joints(0)[:, :30])
    assert clips.frame_labels(0).shape == (30, 2)


def test_video_labels_are_the_classes_of_the_frames(make_split) -> None:
    clips = SkeletonClips(make_split(train=[5, 2, 3]), "train", DATA)
    for i in range(len(clips)):
        assert np.array_equal(clips.video_labels[i], clips.frame_labels(i).any(axis=0))


def test_a_class_that_a_lower_one_always_hides_is_no_video_label_of_the_released_policy(make_split) -> None:
    split = make_split(train=[6, 6])
    split._labels = split._labels.copy()
    split.labels("train0")[:] = True
    lowest = SkeletonClips(split, "train", DATA.model_copy(update={"overlaps": "lowest", "gaps": "removed"}))
    assert lowest.video_labels[0].tolist() == [True, False]
    assert SkeletonClips(split, "train", DATA).video_labels[0].tolist() == [True, True]


def test_no_clip_within_the_limit_says_which_setting_it_was(make_split) -> None:
    with pytest.raises(
        UserError, match=r"no train clip has a label of walk, wave and at most 3 frames \(data\.max_frames\)"
    ):
        SkeletonClips(make_split(train=[40]), "train", DATA.model_copy(update={"max_frames": 3}))


def test_held_out_clips_are_apart_and_the_same_for_a_seed(make_split) -> None:
    clips = SkeletonClips(make_split(train=[30] * 20), "train", DATA)
    kept, held = hold_out(clips, 0.25, seed=3)
    assert len(held) == 5
    assert not set(kept.clip_ids) & set(held.clip_ids)
    assert set(kept.clip_ids) | set(held.clip_ids) == set(clips.clip_ids)
    assert hold_out(clips, 0.25, seed=3)[1].clip_ids == held.clip_ids
    assert hold_out(clips, 0.25, seed=4)[1].clip_ids != held.clip_ids
    assert torch.equal(held.joints(2), clips.joints(clips.clip_ids.index(held.clip_ids[2])))
    assert len(hold_out(clips, 0.01, seed=3)[1]) == 1
    assert len(hold_out(clips, 0.99, seed=3)[0]) == 1
    assert hold_out(clips, 0.0, seed=3) == (clips, None)


def test_as_many_clips_as_a_batch_has_make_one_that_is_not_dropped(make_split) -> None:
    settings = config.load([], ["data.drop_last=true", "train.batch_size=3"])
    assert len(training_clips(make_split(train=[9, 8, 7]), settings)[0]) == 3


def test_the_summary_counts_the_clips_left_out_by_reason(make_split) -> None:
    split = make_split(train=[8, 30, 9])
    split.manifest.left_out["train"] = {"without frame labels": 4, "without a chosen class": 0}
    split._labels = split._labels.copy()
    split.labels("train2")[:] = False
    clips = SkeletonClips(split, "train", DATA.model_copy(update={"max_frames": 20}))
    assert clips.summary() == (
        "1 train clips; left out: 4 without frame labels, 1 without a chosen class, 1 longer than 20 frames"
    )


def test_the_network_sees_every_nth_frame_and_evaluation_sees_all(make_split) -> None:
    split = make_split(train=[40, 39, 2])
    whole, clips = (SkeletonClips(split, "train", DATA.model_copy(update={"frame_step": step})) for step in (1, 3))
    assert clips.lengths.tolist() == [14, 13, 1]
    for i in range(3):
        assert np.array_equal(clips.joints(i), whole.joints(i)[:, ::3])
        assert np.array_equal(clips.frame_labels(i), whole.frame_labels(i))
        assert np.array_equal(clips.all_frame_labels()[i], whole.frame_labels(i)[::3])
    assert clips.only(np.array([1])).lengths.tolist() == [13]
