"""Results in bfloat16 are near those in float32. Sums, statistics, losses and weights are float32."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from runs import equal, run, small
from torch import Tensor

from model.agcn import GraphConv, JointMixing, TemporalConv
from model.checkpoint import load_checkpoint
from model.localizer import Localizer
from model.losses import objective
from model.ops.joints import mix_joints
from utils import config
from utils.store import Split

ROUNDING = 2**-8  # relative distance of neighbouring bfloat16 numbers, rounded up


def relative_error(ours: Tensor, exact: Tensor) -> float:
    """Norm of the difference, divided by the norm of the exact values."""
    return float((ours.detach().double() - exact.detach()).norm() / exact.detach().norm())


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("channels", [8, 32])
def test_a_backbone_layer_in_bfloat16_differs_by_a_few_rounding_errors(channels: int) -> None:
    """A layer's input and output are bfloat16. Its parameters and their gradients stay float32."""
    torch.manual_seed(0)
    lengths = torch.tensor([200, 3, 50])
    mask = torch.arange(200) < lengths.unsqueeze(1)
    x = torch.randn(3, 200, 25, channels) * mask[:, :, None, None]
    graph = GraphConv(channels, channels).affinity(x.permute(0, 3, 1, 2), mask).detach()
    layers = [
        (TemporalConv(channels, 1), ()),
        (TemporalConv(channels, 2), ()),
        (JointMixing(channels, channels), (graph,)),
    ]
    for layer, more in layers:
        found = []
        for dtype in (torch.bfloat16, torch.float32):
            inputs = x.to(dtype).permute(0, 3, 1, 2).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                y = layer(inputs, *more, mask)
            assert y.dtype == dtype
            kept = mask[:, :: mask.shape[1] // y.shape[2], None, None].permute(0, 2, 1, 3)
            gradients = torch.autograd.grad((y * kept).float().square().sum(), [inputs, *layer.parameters()])
            assert [g.dtype for g in gradients] == [dtype, *(p.dtype for p in layer.parameters())]
            found.append([y * kept, *gradients])
        for ours, exact in zip(*found, strict=True):
            assert relative_error(ours, exact.double()) < 4 * ROUNDING, layer


def test_sums_over_a_clip_are_not_bfloat16() -> None:
    """A bfloat16 sum of ones stops growing at 256, which is the exact sum of one chunk (32 frames × 8 joints)."""
    x = torch.ones(1, 128, 1024, 8, dtype=torch.bfloat16)
    weight, bias = (torch.ones(*shape, requires_grad=True) for shape in ((4, 128), (4,)))
    mix_joints(x, torch.eye(8).expand(1, 1, 8, 8), weight, bias, None).sum().backward()
    assert (weight.grad == 8 * 1024).all()


def with_graph_convolutions(model: Localizer) -> Localizer:
    """The model with larger scales of the graph convolutions, which count little at first."""
    for block in model.backbone.blocks:
        torch.nn.init.uniform_(block.gcn.bn.weight, 0.5, 1.5)
    return model


@pytest.mark.usefixtures("implementation")
def test_probabilities_are_within_a_hundredth_of_float32s() -> None:
    settings = config.load([], ["model.width=32"])
    torch.manual_seed(0)
    model = with_graph_convolutions(Localizer(4, settings.model)).eval()
    lengths = torch.tensor([90, 61, 48])
    mask = torch.arange(90) < lengths.unsqueeze(1)
    joints, found = torch.randn(3, 3, 90, 25, 1), []
    for precision in ("bfloat16", "float32"):
        with torch.no_grad():
            view = model.in_precision(precision)(joints, mask, lengths).views[0]
        found.append((view.frame_probs, view.video_probs))
    for rough, exact in zip(*found, strict=True):
        assert 0 < (rough - exact).abs().max() < 0.01


@pytest.mark.usefixtures("implementation")
def test_loss_and_gradients_of_the_network_are_near_float32s() -> None:
    """The loss differs by at most 0.2 %. Rounding switches some ReLUs, so gradients differ by up to a fifth."""
    settings = config.load([], ["model.width=32"])
    torch.manual_seed(0)
    model = with_graph_convolutions(Localizer(4, settings.model))
    lengths = torch.tensor([90, 61, 48])
    mask = torch.arange(90) < lengths.unsqueeze(1)
    joints, video_labels = torch.randn(3, 3, 90, 25, 1), torch.eye(4)[:3]
    losses, gradients = [], []
    for precision in ("bfloat16", "float32"):
        output = model.in_precision(precision)(joints, mask, lengths)
        assert {t.dtype for t in (output.features, *output.views[0], *output.views[1])} == {torch.float32}
        losses.append(objective(output, video_labels, mask, None, settings)["total"])
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(losses[-1], model.parameters())]))
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=2e-3)
    assert 0 < relative_error(gradients[0], gradients[1].double()) < 0.2


def test_bfloat16_training_keeps_float32_weights_resumes_exactly_and_is_evaluated_in_bfloat16(
    make_split: Callable[..., Split], tmp_path: Path
) -> None:
    make_split(train=[41, 30, 64, 18], val=[35, 28])
    tiny = ("data.split=tiny", "train.precision=bfloat16")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run(*small(tmp_path, whole, *tiny, "train.epochs=2")) == 0
    assert run(*small(tmp_path, stopped, *tiny, "train.epochs=1")) == 0
    assert run(*small(tmp_path, stopped, *tiny, "train.epochs=2"), "--resume") == 0
    ends = [load_checkpoint(folder / "last.pt") for folder in (whole, stopped)]
    assert equal(*ends)
    moments = [moment for state in ends[0]["optimizer"]["state"].values() for moment in state.values()]
    tensors = [*ends[0]["model"].values(), *moments, ends[0]["pseudo_labels"]["history"]]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}

    test = ["--phase", "test", "--weights", str(whole / "last.pt"), "--set", f"data.root={tmp_path}", tiny[0]]
    results = {}
    for precision in ("bfloat16", "float32"):
        assert run(*test, f"train.precision={precision}", "--work-dir", str(tmp_path / precision)) == 0
        results[precision] = (tmp_path / precision / "detections.json").read_bytes()
    assert results["bfloat16"] == (whole / "detections.json").read_bytes() != results["float32"]
