"""When a network is captured. tests/test_gpu.py checks on a GPU that a replay computes the same."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from model import cuda_graphs
from model.cuda_graphs import CUDAGraphs, uses_cuda_graphs
from model.localizer import Localizer
from utils import config
from utils.errors import UserError


def clips(frames: int, people: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    mask = torch.arange(frames) < torch.tensor([[frames], [frames - 3]])
    return torch.randn(2, 3, frames, 25, people), mask, mask.sum(1)


@pytest.fixture()
def captured(monkeypatch: pytest.MonkeyPatch) -> tuple[CUDAGraphs, list[torch.Size]]:
    """A network on the CPU, and the shapes for which PyTorch was asked to record it."""
    shapes = []

    def record(network: nn.Module, batch: tuple[Tensor, ...], **_: object) -> None:
        shapes.append(batch[0].shape)
        network(*batch)  # a trial run, as PyTorch does
        network.forward = lambda *_: "replayed"

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    return CUDAGraphs(Localizer(3, config.load(assignments=["model.width=4"]).model)).train(), shapes


def test_each_shape_is_captured_once_and_the_trial_runs_leave_no_trace(captured) -> None:
    network, shapes = captured
    before = [buffer.clone() for buffer in network.buffers()]
    assert [network(*clips(frames)) for frames in (64, 128, 64, 128)] == ["replayed"] * 4
    assert [shape[2] for shape in shapes] == [64, 128]
    assert all(torch.equal(*pair) for pair in zip(before, network.buffers(), strict=True))
    assert network.network(*clips(64)).features.shape[0] == 2  # the network itself is as it was


def test_what_cannot_be_captured_is_computed_as_usual(captured, monkeypatch: pytest.MonkeyPatch) -> None:
    network, shapes = captured
    assert network(*clips(64, people=2)).features.requires_grad
    network.eval()(*clips(64))
    assert not shapes
    monkeypatch.setattr(cuda_graphs, "MAX_CAPTURES", 1)
    network.train()(*clips(64))
    assert network(*clips(128)).features.requires_grad
    assert network.eval()(*clips(64)).features.requires_grad
    assert len(shapes) == 1


def test_a_network_that_waits_for_the_gpu_is_refused_with_advice(captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        finally:  # as PyTorch does when it leaves the capture
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fail)
    with pytest.raises(UserError, match=r"captured.*stream is capturing; .*set train.cuda_graphs=false"):
        captured[0](*clips(64))


def test_nothing_in_the_network_waits_for_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the device "meta" have no values, so whatever would read one fails."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it does not know "meta"
    streams = "model.streams=[joints,bones,motion]"
    model = Localizer(3, config.load(assignments=["model.width=4", streams]).model).to("meta").train()
    output = model(*(tensor.to("meta") for tensor in clips(64)))
    sum(view.video_logits.sum() + view.frame_scores.sum() for view in output.views).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("assignment", "device", "expected"),
    [
        ("train.cuda_graphs=true", "cuda", True),
        ("train.cuda_graphs=true", "cpu", False),
        ("train.cuda_graphs=false", "cuda", False),
        ("train.compile=true", "cuda", False),
        ("train.accumulate=2", "cuda", False),
        ("model.mask_padding=false", "cuda", False),
    ],
)
def test_one_gpu_replays_unless_gradients_add_up_or_shapes_vary(
    assignment: str, device: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    assert uses_cuda_graphs(config.load(assignments=[assignment]), torch.device(device)) is expected
