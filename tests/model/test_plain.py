"""Loss and gradients of the network equal those of the plain network."""

import pytest
import torch

from benchmarks.plain import PlainLocalizer
from model.localizer import Localizer
from model.losses import objective
from model.released import load_released, places
from utils import config

FAITHFUL = config.load([config.BASE.parent / "released.yaml"])


@pytest.mark.usefixtures("implementation")
def test_loss_and_every_gradient_are_those_of_the_plain_network() -> None:
    torch.manual_seed(0)
    plain, model = PlainLocalizer(4).double(), Localizer(4, FAITHFUL.model).double()
    for name, parameter in plain.named_parameters():
        if name.endswith("bn.weight"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)  # at 1e-6 the graph convolutions would not count
    load_released(model, plain.state_dict(), "plain")
    lengths = torch.tensor([45, 30, 17])
    mask = torch.arange(45) < lengths.unsqueeze(1)
    joints = torch.randn(3, 3, 45, 25, 1, dtype=torch.float64) * mask.view(3, 1, 45, 1, 1)
    video_labels = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1]])

    outputs = [network(joints, mask, lengths) for network in (model, plain)]
    losses = [objective(output, video_labels, mask, None, FAITHFUL)["total"] for output in outputs]
    for loss in losses:
        loss.backward()

    assert torch.allclose(*losses, rtol=1e-10, atol=0)
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name, parameter in plain.named_parameters():
        found = places(model)[name].of(ours).reshape(parameter.shape)
        apart = (found - parameter.grad).abs().max()
        assert apart <= 1e-10 * parameter.grad.abs().max() + 1e-10, name
