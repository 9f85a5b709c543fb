import pytest
import torch

from model.refinement import FrameLabels, PseudoLabels
from model.similar_pieces import Pieces
from utils import config

LENGTHS = torch.tensor([4, 2, 3])
VIDEO_LABELS = torch.tensor([[1, 0], [0, 1], [1, 1]])


def refine(**changes):
    return config.load().refine.model_copy(update=changes)


def make(history=3, mask_absent=False, zero_start=False):
    return PseudoLabels(LENGTHS, VIDEO_LABELS, refine(history=history, mask_absent=mask_absent, zero_start=zero_start))


def probabilities(epoch, clips=(0, 1, 2)):
    generator = torch.Generator().manual_seed(epoch)
    everything = torch.rand(3, 4, 3, generator=generator).softmax(-1)
    return torch.tensor(clips), everything[list(clips)]


def test_a_pseudo_label_is_the_mean_of_the_last_epochs():
    pseudo = make(history=3)
    for epoch in range(5):
        pseudo.add(*probabilities(epoch))
        pseudo.end_epoch()
    labels, known = pseudo.batch(torch.tensor([2, 1]), frames=4)
    expected = torch.stack([probabilities(epoch)[1] for epoch in (2, 3, 4)]).mean(0)
    assert known.all()
    torch.testing.assert_close(labels[0, :3], expected[2, :3])
    torch.testing.assert_close(labels[1, :2], expected[1, :2])
    assert not labels[0, 3:].any()
    assert not labels[1, 2:].any()


def test_all_frames_of_a_piece_get_its_mean_and_no_piece_spans_two_clips():
    of_frame = torch.tensor([0, 0, 1, 1, 2, 3, 4, 4, 4])  # of clips with 4, 2 and 3 frames
    pieces = Pieces(of_frame, torch.tensor([0, 0, 1, 1, 2]), of_frame.new_empty(5, 0))
    pseudo = PseudoLabels(LENGTHS, VIDEO_LABELS, refine(history=1, mask_absent=False), pieces)
    index, probs = probabilities(0)
    pseudo.add(index, probs)
    pseudo.end_epoch()
    labels, _ = pseudo.batch(index, 4)
    halves = probs[0, :2].mean(0), probs[0, 2:].mean(0)
    torch.testing.assert_close(labels[0], torch.stack([halves[0], halves[0], halves[1], halves[1]]))
    torch.testing.assert_close(labels[1, :2], probs[1, :2])
    torch.testing.assert_close(labels[2, :3], probs[2, :3].mean(0).expand(3, -1))


def test_what_an_epoch_records_takes_effect_when_it_ends():
    pseudo = make()
    pseudo.add(*probabilities(0))
    pseudo.end_epoch()
    before = pseudo.batch(torch.tensor([0]), 4)[0]
    pseudo.add(*probabilities(1))
    torch.testing.assert_close(pseudo.batch(torch.tensor([0]), 4)[0], before)
    pseudo.end_epoch()
    assert not torch.equal(pseudo.batch(torch.tensor([0]), 4)[0], before)


def test_the_scores_of_a_clip_that_an_epoch_repeats_are_averaged(monkeypatch):
    pseudo = make()
    first, second = (probabilities(epoch)[1] for epoch in (0, 1))
    pseudo.add(torch.tensor([0, 1, 0]), torch.stack([first[0], first[1], second[0]]))
    monkeypatch.setattr("utils.distributed.all_reduce", lambda x: 2 * x)  # another rank has added the same
    pseudo.end_epoch()
    labels, known = pseudo.batch(torch.tensor([0, 1, 2]), frames=4)
    torch.testing.assert_close(labels[0], (first[0] + second[0]) / 2)
    torch.testing.assert_close(labels[1, :2], first[1, :2])
    assert known.tolist() == [True, True, False]


def test_epochs_that_did_not_see_a_clip_are_not_averaged():
    pseudo = make(history=2)
    pseudo.add(*probabilities(0))
    pseudo.end_epoch()
    pseudo.add(*probabilities(1, clips=(0, 2)))
    pseudo.end_epoch()
    labels, _ = pseudo.batch(torch.tensor([1]), 2)
    torch.testing.assert_close(labels[0], probabilities(0)[1][1, :2])
    torch.testing.assert_close(labels.sum(-1), torch.ones(1, 2))


def test_a_clip_that_was_never_seen_has_no_pseudo_label():
    pseudo = make()
    pseudo.add(*probabilities(0, clips=(0,)))
    pseudo.end_epoch()
    _, known = pseudo.batch(torch.tensor([0, 1]), 4)
    assert known.tolist() == [True, False]


def test_zero_start_counts_unseen_epochs_as_zeros_and_keeps_stale_ones():
    pseudo = make(history=2, zero_start=True)
    pseudo.add(*probabilities(0))
    pseudo.end_epoch()
    torch.testing.assert_close(pseudo.batch(torch.tensor([1]), 2)[0][0], probabilities(0)[1][1, :2] / 2)
    for epoch in (1, 2):  # clip 1 is dropped: its place still holds epoch 0
        pseudo.add(*probabilities(epoch, clips=(0, 2)))
        pseudo.end_epoch()
    torch.testing.assert_close(pseudo.batch(torch.tensor([1]), 2)[0][0], probabilities(0)[1][1, :2] / 2)


def test_masked_pseudo_labels_have_only_the_clips_own_classes_and_background_and_sum_to_one():
    pseudo = make(mask_absent=True)
    pseudo.add(*probabilities(0))
    pseudo.end_epoch()
    labels, _ = pseudo.batch(torch.tensor([0]), 4)
    assert not labels[..., 1].any()
    assert (labels[..., [0, 2]] > 0).all()
    torch.testing.assert_close(labels.sum(-1), torch.ones(1, 4))


@pytest.mark.parametrize("zero_start", [False, True])
def test_a_saved_state_gives_the_same_pseudo_labels(zero_start):
    first, second = make(zero_start=zero_start), make(zero_start=zero_start)
    for epoch in range(4):
        first.add(*probabilities(epoch, clips=(0, 2) if epoch % 2 else (0, 1, 2)))
        first.end_epoch()
    second.load_state_dict(first.state_dict())
    for pseudo in (first, second):
        pseudo.add(*probabilities(9))
        pseudo.end_epoch()
    index = torch.arange(3)
    torch.testing.assert_close(first.batch(index, 4)[0], second.batch(index, 4)[0], atol=0, rtol=0)


def test_true_labels_are_used_from_the_start_and_share_a_frame_between_its_classes():
    labels = torch.tensor([[1, 0], [1, 1], [0, 0]], dtype=torch.bool)
    frame_labels = FrameLabels([labels, ~labels], refine(history=2))
    assert frame_labels.labelled().all()
    for _ in range(2):  # whatever the network says
        taught, known = frame_labels.batch(torch.tensor([0]), frames=4)
        torch.testing.assert_close(taught[0], torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 1], [0, 0, 0]]))
        assert known.all()
        frame_labels.add(torch.tensor([0]), torch.rand(1, 4, 3))
        frame_labels.end_epoch()


def test_balance_divides_each_class_by_its_mean_over_the_clip():
    pseudo = PseudoLabels(torch.tensor([3]), torch.tensor([[1, 0]]), refine(history=1, balance=True))
    probs = torch.tensor([[[0.001, 0.399, 0.6], [0.0002, 0.0998, 0.9], [0.0005, 0.1995, 0.8]]])
    pseudo.add(torch.tensor([0]), probs)
    pseudo.end_epoch()
    label = pseudo.batch(torch.tensor([0]), 3)[0][0]
    known = probs[0, :, [0, 2]] / probs[0, :, [0, 2]].sum(1, keepdim=True)
    scaled = known / known.mean(0)
    torch.testing.assert_close(label[:, [0, 2]], scaled / scaled.sum(1, keepdim=True))
    assert not label[:, 1].any()
    assert label[0].argmax() == 0  # its best frame, where unscaled background is 600 times as likely


def test_sharpening_raises_to_a_power_and_rescales():
    pseudo = PseudoLabels(torch.tensor([2]), torch.tensor([[1, 1]]), refine(history=1, sharpen=2.0))
    probs = torch.tensor([[[0.2, 0.2, 0.6], [0.0, 0.5, 0.5]]])
    pseudo.add(torch.tensor([0]), probs)
    pseudo.end_epoch()
    expected = torch.tensor([[0.04, 0.04, 0.36], [0.0, 0.25, 0.25]]) / torch.tensor([[0.44], [0.5]])
    torch.testing.assert_close(pseudo.batch(torch.tensor([0]), 2)[0][0], expected)
