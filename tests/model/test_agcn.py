"""What others build on: every layer is called, batch norms are merged, the network is exported and compiled.

Another block: tests/docs/test_network.py.
"""

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


def test_a_subclass_that_changes_what_the_batch_norm_sees_keeps_its_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sine(agcn.Block):
        def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
            kept = mask[:, :: self.stride]
            return masked_relu(self.bn(self.tcn(self.gcn(x, mask), mask).sin(), kept), kept), kept

    monkeypatch.setattr(agcn, "Block", Sine)
    torch.manual_seed(0)
    model = Localizer(3, SMALL)
    batch = clips()
    model(*batch)  # the running statistics are no longer 0 and 1
    expected = model.eval()(*batch).features
    torch.testing.assert_close(for_inference(model)(*batch).features, expected)


@pytest.mark.slow
def test_a_network_for_inference_is_exported_for_any_number_of_clips_and_multiple_of_64_frames() -> None:
    torch.manual_seed(0)
    model = for_inference(Localizer(3, SMALL))
    N, T = torch.export.Dim("N", min=1, max=64), 64 * torch.export.Dim("T", min=1, max=100)
    exported = torch.export.export(model, clips(128), dynamic_shapes=({0: N, 2: T}, {0: N, 1: T}, {0: N}))
    joints, mask, lengths = (torch.cat([part, part[:1]]) for part in clips(192))
    ours, expected = (net(joints, mask, lengths).views[0] for net in (exported.module(), model))
    torch.testing.assert_close(ours.frame_scores, expected.frame_scores)


def test_the_network_compiles_to_one_graph_for_all_lengths() -> None:
    """fullgraph=True raises at the first graph break; lengths that are multiples of 64 share what was compiled.

    One block of each kind is enough: each block takes seconds to compile.
    """
    torch._dynamo.reset()
    graphs = []

    def count(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    torch.manual_seed(0)
    model = Localizer(3, SMALL).double().train()
    model.backbone.blocks = nn.ModuleList(model.backbone.blocks[i] for i in (0, 1, 2, 4, 7))
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=count)
    for frames in (128, 192):
        compiled(*clips(frames))
    compiled_before = len(graphs)
    batch = clips(320)
    ours, expected = compiled(*batch), model(*batch)
    assert len(graphs) == compiled_before <= 2
    for one, other in zip(ours.views, expected.views, strict=True):
        torch.testing.assert_close(one.frame_scores, other.frame_scores, rtol=1e-9, atol=1e-9)
