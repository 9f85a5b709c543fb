"""What others build on: blocks can be replaced, every layer is called, the network compiles, and batch norms fold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from model import agcn
from model.inference import for_inference
from model.localizer import Localizer
from model.ops.padding import masked_relu
from utils import config

SMALL = config.load(assignments=["model.width=8"]).model
LENGTHS = torch.tensor([37, 21])


def clips(frames: int = 37) -> tuple[Tensor, Tensor, Tensor]:
    mask = torch.arange(frames) < LENGTHS.unsqueeze(1)
    return torch.randn(2, 3, frames, 25, 1) * mask.view(2, 1, -1, 1, 1), mask, LENGTHS


class FrameByFrame(nn.Module):
    """A user's own block: a 1×1 convolution and a stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, residual: bool = True) -> None:
        super().__init__()
        self.stride, self.residual = stride, residual
        self.conv = nn.Conv2d(in_channels, out_channels, 1, (stride, 1))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        kept = mask[:, :: self.stride]
        return masked_relu(self.conv(x), kept), kept


def test_a_users_own_block_takes_the_place_of_block_and_is_trained_and_evaluated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agcn, "Block", FrameByFrame)
    torch.manual_seed(0)
    model = Localizer(3, SMALL).train()
    before = [parameter.clone() for parameter in model.backbone.parameters()]
    adam, batch = torch.optim.Adam(model.parameters(), 0.01), clips()
    losses = []
    for _ in range(5):
        loss = sum(view.video_logits.square().sum() for view in model(*batch).views)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    ours, expected = for_inference(model)(*batch).views[0], model.eval()(*batch).views[0]
    torch.testing.assert_close(ours.frame_scores, expected.frame_scores)
    assert all((new != old).any() for new, old in zip(model.backbone.parameters(), before, strict=True))


def test_forward_hooks_of_every_layer_fire() -> None:
    model = Localizer(3, SMALL).train()
    fired = set()
    names = {name for name, module in model.named_modules() if name and not isinstance(module, nn.ModuleList)}
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: fired.add(name))
    model(*clips())
    assert fired == names


def test_a_network_for_inference_gives_the_same_scores_without_batch_norms() -> None:
    torch.manual_seed(0)
    model = Localizer(3, SMALL).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    merged = for_inference(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in merged.modules())
    joints, mask, lengths = clips()
    model.eval()
    for ours, expected in zip(merged(joints, mask, lengths).views, model(joints, mask, lengths).views, strict=True):
        torch.testing.assert_close(ours.frame_scores, expected.frame_scores, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(ours.video_logits, expected.video_logits, rtol=1e-10, atol=1e-10)


def test_the_network_compiles_to_one_graph_for_all_lengths() -> None:
    """fullgraph=True raises at the first graph break; lengths that are multiples of 64 share what was compiled."""
    torch._dynamo.reset()
    graphs = []

    def count(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    torch.manual_seed(0)
    model = Localizer(3, SMALL).double().train()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=count)
    for frames in (128, 192):
        compiled(*clips(frames))
    compiled_before = len(graphs)
    batch = clips(320)
    ours, expected = compiled(*batch), model(*batch)
    assert len(graphs) == compiled_before <= 2
    for one, other in zip(ours.views, expected.views, strict=True):
        torch.testing.assert_close(one.frame_scores, other.frame_scores, rtol=1e-9, atol=1e-9)
