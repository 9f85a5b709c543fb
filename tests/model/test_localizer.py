"""The whole network: padding, persons, heads and gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from model.localizer import Localizer
from model.losses import mil_loss, multi_view_loss, pseudo_label_loss
from model.mil_head import MILHead, interpolate
from model.released import places
from utils import config

SMALL = config.load(assignments=["model.width=8"]).model
COUNTED = config.load(assignments=["model.width=8", "model.mask_padding=false"]).model
NUM_CLASSES = 3


def make_model(settings=SMALL):
    """A network whose batch norms and learned graphs are far from their initial values."""
    torch.manual_seed(0)
    model = Localizer(NUM_CLASSES, settings)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "bn" in name or "learned" in name or name.endswith("bias"):
                p.add_(0.3 * torch.rand_like(p))
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.normal_(std=0.1)
    return model


def test_initial_weights_have_the_released_deviations() -> None:
    """By the names of the released code: He-normal by fan-out, for the value maps over three graphs, Xavier."""
    torch.manual_seed(0)
    model = Localizer(NUM_CLASSES, config.load().model)
    state = model.state_dict()
    for name, place in places(model).items():
        weight = place.of(state)
        if name.endswith(("bias", "running_mean", "num_batches_tracked")):
            assert (weight == 0).all(), name
        elif name.endswith(("PA", "gcn1.bn.weight")):
            assert (weight == 1e-6).all(), name
        elif weight.ndim < 2:  # batch norm
            assert (weight == 1).all(), name
        else:
            outputs, inputs, *kernel = weight.shape
            variance = 2 / (outputs * math.prod(kernel))
            if ".conv_d." in name:
                variance /= 3 * inputs
            if "ac_center" in name:
                variance = 2 / (outputs + inputs)
            deviations = abs(weight.std().item() / math.sqrt(variance) - 1) * math.sqrt(2 * weight.numel())
            assert deviations < 5, name


def make_clips(lengths, pad_to, filler=0.0, persons=1):
    generator = torch.Generator().manual_seed(1)
    joints = torch.full((len(lengths), 3, pad_to, 25, persons), filler)
    for row, length in zip(joints, lengths, strict=True):
        row[:, :length] = torch.randn(3, length, 25, persons, generator=generator)
    lengths = torch.tensor(lengths)
    return joints, torch.arange(pad_to) < lengths.unsqueeze(1), lengths


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 40])
@pytest.mark.parametrize("padding", [1, 5, 64])
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_padding_a_clip_changes_no_output_in_evaluation_mode(length, padding, stride):
    model = make_model(SMALL.model_copy(update={"stride": stride})).eval()
    alone = make_clips([length], length)
    padded = make_clips([length], length + padding, filler=7.0)
    with torch.no_grad():
        views, features = model(*alone)
        padded_views, _ = model(*padded)
    assert features.shape[1] == math.ceil(length / stride)
    for view, other in zip(views, padded_views, strict=True):
        torch.testing.assert_close(view.video_logits, other.video_logits, atol=1e-5, rtol=0)
        torch.testing.assert_close(view.frame_scores, other.frame_scores[:, :length], atol=1e-5, rtol=0)
        assert not other.frame_scores[:, length:].any()


@pytest.mark.parametrize(("padding", "stride"), [(1, 8), (3, 8), (50, 8), (50, 4)])
def test_padding_a_batch_changes_no_loss_and_no_gradient_in_training_mode(padding, stride):
    lengths = [31, 8, 17]
    results = []
    for pad_to in (31, 31 + padding):
        model = make_model(SMALL.model_copy(update={"stride": stride})).double().train()
        joints, mask, real = make_clips(lengths, pad_to)
        (view1, view2), _ = model(joints.double(), mask, real)
        labels = torch.eye(3, NUM_CLASSES)
        pseudo = F.one_hot(torch.arange(pad_to) % (NUM_CLASSES + 1), NUM_CLASSES + 1).expand(3, -1, -1)
        loss = mil_loss(view1.video_logits, labels) + mil_loss(view2.video_logits, labels)
        loss = loss + multi_view_loss(view1.frame_scores, view2.frame_scores, mask, 0.2)
        loss = loss + pseudo_label_loss(view1.frame_scores, pseudo.double(), mask)
        loss.backward()
        state = {name: b.clone() for name, b in model.named_buffers()}
        results.append((loss.detach(), [p.grad for p in model.parameters()], state))
    (loss, gradients, state), (padded_loss, padded_gradients, padded_state) = results
    torch.testing.assert_close(loss, padded_loss, atol=1e-5, rtol=0)
    for gradient, padded in zip(gradients, padded_gradients, strict=True):
        torch.testing.assert_close(gradient, padded, atol=1e-5, rtol=1e-5)
    for name in state:
        torch.testing.assert_close(state[name], padded_state[name], msg=f"batch statistics in {name}")


def test_clips_do_not_influence_each_other_in_evaluation_mode():
    model = make_model().eval()
    clips = make_clips([20, 13, 5], 20)
    with torch.no_grad():
        together = model(*clips).views[0].video_logits
        apart = torch.cat([model(*(part[i : i + 1] for part in clips)).views[0].video_logits for i in range(3)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


def test_counted_padding_does_change_scores_as_in_the_released_code():
    model = make_model(COUNTED).eval()
    alone, padded = make_clips([40], 40), make_clips([40], 300)
    with torch.no_grad():
        difference = model(*alone).views[0].video_logits - model(*padded).views[0].video_logits
    assert difference.abs().max() > 1e-3


def test_every_parameter_gets_a_finite_gradient():
    model = make_model().train()
    (view1, view2), _ = model(*make_clips([31, 12], 31))
    labels = torch.ones(2, NUM_CLASSES)
    (mil_loss(view1.video_logits, labels) + mil_loss(view2.video_logits, labels)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if not name.endswith("bias"):  # a bias before batch norm moves nothing
            assert parameter.grad.abs().max() > 0, name


def test_a_detached_second_view_trains_only_its_own_prototypes():
    settings = SMALL.model_copy(update={"detach_second_view": True})
    model = make_model(settings).train()
    mil_loss(model(*make_clips([16], 16)).views[1].video_logits, torch.ones(1, NUM_CLASSES)).backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"heads.1.prototypes"}


@pytest.mark.parametrize("settings", [SMALL, COUNTED])
def test_an_absent_person_changes_neither_scores_nor_batch_norms_nor_gradients(settings):
    results = []
    for persons in (1, 2):
        model = make_model(settings).train()
        joints, *real = make_clips([24, 10], 24)
        output = model(torch.cat([joints, torch.zeros_like(joints)][:persons], dim=4), *real)
        mil_loss(output.views[0].video_logits, torch.eye(2, NUM_CLASSES)).backward()
        moved = {name: b.clone() for name, b in model.named_buffers()}
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        results.append((*output.views[0], output.features, *moved.values(), *gradients))
    for alone, beside in zip(*results, strict=True):
        torch.testing.assert_close(beside, alone, atol=1e-6, rtol=1e-6)


def test_only_the_people_who_are_there_are_averaged():
    """The second person of the first clip leaves after 16 frames, which are two frames of the features."""
    model = make_model().eval()
    joints, *real = make_clips([24, 10], 24, persons=2)
    joints[0, :, 16:, :, 1] = 0
    joints[1, ..., 1] = 0
    with torch.no_grad():
        together = model(joints, *real).features
        first, second = (model(joints[..., [i]], *real).features for i in range(2))
    torch.testing.assert_close(together[0, :2], (first + second)[0, :2] / 2)
    torch.testing.assert_close(together[0, 2:], first[0, 2:])
    torch.testing.assert_close(together[1], first[1])


def test_several_persons_are_averaged():
    model = make_model().eval()
    joints, *real = make_clips([24, 10], 24, persons=1)
    twice = joints.repeat(1, 1, 1, 1, 2)
    with torch.no_grad():
        torch.testing.assert_close(model(joints, *real).views[0], model(twice, *real).views[0], atol=1e-5, rtol=1e-5)


def test_probabilities_have_their_ranges():
    model = make_model().eval()
    view = model(*make_clips([24], 24)).views[0]
    torch.testing.assert_close(view.frame_probs.sum(-1), torch.ones(1, 24))
    assert ((view.video_probs > 0) & (view.video_probs < 1)).all()


@pytest.mark.parametrize(("source", "target"), [(1, 1), (1, 8), (4, 31), (12, 96), (5, 5)])
def test_interpolation_is_pytorchs_linear_one_with_aligned_corners(source, target):
    scores = torch.randn(2, source, 4)
    ours = interpolate(scores, torch.full((2,), source), torch.full((2,), target), target)
    oracle = F.interpolate(scores.transpose(1, 2), size=target, mode="linear", align_corners=True).transpose(1, 2)
    torch.testing.assert_close(ours, oracle)


def test_positions_of_600_frames_are_all_different_under_autocast():
    """In bfloat16 there would be only 407 different positions."""
    scores = torch.arange(75.0).view(1, 75, 1)
    with torch.autocast("cpu", torch.bfloat16):
        found = interpolate(scores, torch.tensor([75]), torch.tensor([600]), 600)
    assert len(found.unique()) == 600


def test_head_and_pooling_are_as_calculated_by_hand():
    """Two frames along the first and the second of two orthogonal prototypes, two temperatures."""
    head = MILHead(channels=2, num_classes=1, scale=5.0, temperatures=[1.0, 0.2])
    with torch.no_grad():
        head.prototypes.copy_(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    features = torch.tensor([[[4.0, 0.0], [0.0, 0.5], [9.0, 9.0]]])  # the last frame is padding
    view = head(features, torch.tensor([[True, True, False]]), torch.tensor([3]), 4)
    frames = [
        [5.0, 0.0],
        [2.5, 2.5],
        [0.0, 5.0],
        [0.0, 0.0],
    ]  # cosines 1 and 0, times 5; interpolated from 2 to 3 frames
    torch.testing.assert_close(view.frame_scores, torch.tensor([frames]))
    # Mean attention of the frame with score 5, against one with score 0
    attention = sum(1 / (1 + math.exp(-tau * 5)) for tau in (1.0, 0.2)) / 2
    torch.testing.assert_close(view.video_logits, torch.full((1, 2), 2 * 5 * attention))


def test_one_batch_is_overfitted():
    """Thirty steps on four clips with one action each end near a loss of zero."""
    model = make_model().train()
    clips, labels = make_clips([40, 31, 24, 40], 40), torch.eye(NUM_CLASSES)[[0, 1, 2, 0]]
    adam = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(30):
        loss = mil_loss(model(*clips).views[0].video_logits, labels)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 < 0.5 < losses[0]
