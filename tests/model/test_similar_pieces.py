"""Similar pieces: what they are compared by, which ones are nearest, and what spreads between them."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from model.change_points import motion_features, piece_numbers
from model.refinement import PseudoLabels
from model.similar_pieces import descriptors_of, find_pieces, nearest_in_other_clips, propagate
from utils import config
from utils.skeleton import MIRRORED, PELVIS

WAVE, RUN, STAND = 0, 1, 2
SIZES = {WAVE: (0.05, 0.01), RUN: (0.03, 0.2), STAND: (1e-4, 1e-4)}  # metres that the first 12 and other joints move
POSES = np.random.default_rng(9).normal(0, 0.3, (3, 25, 3))
PARTS = [  # kind and frames
    [(WAVE, 40), (STAND, 20), (WAVE, 30)],
    [(WAVE, 30), (STAND, 25), (WAVE, 40)],
    [(RUN, 35), (STAND, 20), (RUN, 40)],
    [(RUN, 45), (STAND, 25), (RUN, 30)],
]


def perform(parts: list[tuple[int, int]], seed: int) -> Tensor:
    """Joints (3, T, 25, 1) of one person."""
    rng = np.random.default_rng(seed)
    motion = [
        POSES[kind] + rng.normal(size=(frames, 25, 3)) * np.repeat(SIZES[kind], (12, 13))[:, None]
        for kind, frames in parts
    ]
    return torch.from_numpy(1 + np.concatenate(motion)).float().permute(2, 0, 1).unsqueeze(-1)


CLIPS = [perform(parts, seed) for seed, parts in enumerate(PARTS)]


@pytest.mark.parametrize("neighbours", [0, 2])
def test_standing_between_actions_becomes_background_because_people_stand_in_other_clips_too(neighbours: int) -> None:
    """The network here gives all frames of a clip the same probabilities, which do not tell actions from standing."""
    lengths, video_labels = torch.tensor([clip.shape[1] for clip in CLIPS]), torch.eye(2).repeat_interleave(2, dim=0)
    pseudo, resumed = (
        PseudoLabels(lengths, video_labels, config.load().refine, find_pieces(CLIPS, 2.0, neighbours, False))
        for _ in range(2)
    )
    probs = torch.cat([0.8 * video_labels, torch.full((4, 1), 0.2)], dim=1)
    pseudo.add(torch.arange(4), probs.unsqueeze(1).expand(-1, int(lengths.max()), -1))
    pseudo.end_epoch()
    resumed.load_state_dict(pseudo.state_dict())
    for one in (pseudo, resumed):
        labels, _ = one.batch(torch.arange(4), int(lengths.max()))
        for parts, found in zip(PARTS, labels.argmax(-1), strict=True):
            standing = 2 if neighbours else parts[0][0]
            wanted = torch.cat([torch.full((frames,), standing if kind == STAND else kind) for kind, frames in parts])
            assert (found[: len(wanted)] == wanted).float().mean() > 0.95


def test_probabilities_of_absent_classes_become_background_and_unknown_pieces_count_nothing() -> None:
    #                        classes 0, 1, background
    probs = torch.tensor([[0.8, 0.1, 0.1], [0.6, 0.0, 0.4], [0.2, 0.6, 0.2], [0.0, 0.0, 0.0]])
    allowed = torch.tensor([[1, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], dtype=torch.bool)
    neighbours = torch.tensor([[1, 2], [0, 3], [0, 1], [0, 2]])
    known = torch.tensor([[8 / 9, 0, 1 / 9], [0.6, 0, 0.4], [0, 0.75, 0.25], [0, 0, 0]])
    # Round 1: piece 0 gets the mean of known[1] and known[2], (0.3, 0.375, 0.325). Class 1 is not in its clip
    first, third = torch.tensor([0.3, 0, 0.7]), torch.tensor([0, 0, 1.0])
    once = torch.stack([first, (known[0] + known[3]) / 2, third, (known[0] + known[2]) / 2])
    rescaled = once / once.sum(1, keepdim=True)
    second = (rescaled[0] + rescaled[3]) / 2  # of piece 1, before class 1 becomes background
    twice = [(rescaled[1] + rescaled[2]) / 2, torch.stack([second[0], 0 * second[1], second[1] + second[2]])]
    twice += [torch.tensor([0, 0, 1.0]), (rescaled[0] + rescaled[2]) / 2]
    torch.testing.assert_close(propagate(probs, allowed, neighbours), torch.stack(twice))


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_nearest_pieces_are_those_of_a_search_of_all_pairs(mirrored: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    descriptors, clip = torch.randn(40, 150, generator=generator) * torch.arange(150), torch.arange(40) // 7
    images = descriptors.view(40, 6, 25)[:, :, MIRRORED].flatten(1)
    every = torch.cat([descriptors, images]) if mirrored else descriptors
    scale = every[:, 1:].std(0)  # the first feature is constant
    distance = torch.cdist(descriptors[:, 1:] / scale, every[:, 1:] / scale)
    same = clip.unsqueeze(1) == clip.repeat(len(every) // 40)
    wanted = distance.masked_fill(same, torch.inf).topk(3, largest=False).indices % 40
    found = nearest_in_other_clips(descriptors, clip, 3, mirrored)
    assert torch.equal(found.sort(1).values, wanted.sort(1).values)


def test_the_mirror_image_of_a_motion_is_near_if_left_and_right_do_not_matter() -> None:
    image = CLIPS[0][:, :, MIRRORED] * torch.tensor([-1, 1, 1]).view(3, 1, 1, 1)
    clips = [CLIPS[0], image, CLIPS[2], CLIPS[3]]
    pieces = find_pieces(clips, 2.0, 1, mirrored=True)
    of_both = pieces.clip < 2
    assert torch.equal(pieces.clip[pieces.neighbours[of_both].flatten()], 1 - pieces.clip[of_both])


def test_without_enough_pieces_in_other_clips_there_are_fewer_neighbours() -> None:
    descriptors = torch.arange(5.0).unsqueeze(1)
    assert nearest_in_other_clips(descriptors, torch.tensor([0, 0, 1, 1, 1]), 9, False).shape == (5, 2)
    assert nearest_in_other_clips(descriptors, torch.zeros(5, dtype=torch.int64), 9, False).shape == (5, 0)


def test_a_description_is_mean_and_deviation_of_the_motion_and_the_mean_pose() -> None:
    clip = CLIPS[0][:, :30]
    features, from_pelvis = torch.from_numpy(motion_features(clip)), (clip.double() - clip[:, :, [PELVIS]])[..., 0]
    pose = [from_pelvis[2].mean(0), from_pelvis[:2].norm(dim=0).mean(0)]
    expected = torch.cat([features.mean(0), features.std(0, correction=0), *pose])
    torch.testing.assert_close(descriptors_of(clip, torch.zeros(30, dtype=torch.int64)), expected[None])


def test_place_direction_order_of_people_and_absent_people_do_not_change_a_description() -> None:
    clip, numbers = CLIPS[0], piece_numbers(CLIPS[0], 2.0)
    turn = torch.from_numpy(Rotation.from_euler("z", 70, degrees=True).as_matrix()).float()
    moved = torch.einsum("dc,ctvm->dtvm", turn, clip) + torch.tensor([3.0, -2.0, 1.0]).view(3, 1, 1, 1)
    alone = descriptors_of(clip, numbers)
    torch.testing.assert_close(descriptors_of(moved, numbers), alone, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(descriptors_of(torch.cat([clip, torch.zeros_like(clip)], dim=3), numbers), alone)
    pair = torch.cat([clip, CLIPS[2][:, : clip.shape[1]]], dim=3)
    torch.testing.assert_close(descriptors_of(pair.flip(3), numbers), descriptors_of(pair, numbers))


def test_pieces_are_counted_through_all_clips_also_those_of_a_few_frames() -> None:
    clips = [CLIPS[0], CLIPS[2][:, :1], CLIPS[2]]
    pieces = find_pieces(clips, 2.0, 1, True)
    numbers = [piece_numbers(clip, 2.0) for clip in clips]
    counts = [int(own.max()) + 1 for own in numbers]
    expected = torch.cat([own + sum(counts[:n]) for n, own in enumerate(numbers)])
    assert torch.equal(pieces.of_frame, expected)
    assert torch.equal(pieces.clip, torch.arange(3).repeat_interleave(torch.tensor(counts)))
    assert pieces.neighbours.shape == (sum(counts), 1)
