"""bfloat16 where it is asked for: near float32, and float32 wherever sums and small differences count."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from runs import equal, run, small
from torch import Tensor

from model.checkpoint import load_checkpoint
from model.frames import Frames
from model.joints import CHUNK, gather_joints, score_joints
from model.localizer import Localizer
from model.losses import objective
from model.rank_norm import normalize_over_ranks
from model.temporal import convolve
from utils import config
from utils.store import Split

V, C, SUBSETS = 6, 32, 3
LENGTHS = [3 * CHUNK // C + 5, 3, 50]
FRAMES = Frames.of(torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1))
ROUNDING = 2**-8  # of a bfloat16, whose spacing it is
MAPS = {
    "convolve": (partial(convolve, frames=FRAMES, stride=1), (), (C, C, 9), (C,)),
    "convolve with a stride": (partial(convolve, frames=FRAMES, stride=2), (), (C, C, 9), (C,)),
    "score joints": (partial(score_joints, subsets=SUBSETS, frames=FRAMES), (), (48, C), (48,)),
    "gather joints": (partial(gather_joints, frames=FRAMES), (len(LENGTHS), SUBSETS, V, V), (C, SUBSETS * C), (C,)),
}


@pytest.fixture(params=[True, False], ids=["clip by clip", "padded, as on a GPU"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("joints", "temporal"):
        monkeypatch.setattr(f"model.{module}.clip_by_clip", lambda _: request.param)


def apart(ours: Tensor, exact: Tensor) -> float:
    """How far, as a share of the exact one's length."""
    return float((ours.detach().double() - exact.detach()).norm() / exact.detach().norm())


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", MAPS)
def test_each_map_of_bfloat16_activations_is_as_near_as_its_roundings(name: str) -> None:
    """Parameters and their gradients stay float32; what leaves and goes back along the activations is bfloat16."""
    function, graph, weight, bias = MAPS[name]
    torch.manual_seed(0)
    shapes = {"x": (sum(LENGTHS), V, C), "graph": graph, "weight": weight, "bias": bias}
    exact = {key: torch.randn(shape, dtype=torch.float64, requires_grad=True) for key, shape in shapes.items() if shape}
    rough = {key: t.detach().to(torch.bfloat16 if key == "x" else torch.float32) for key, t in exact.items()}
    wanted, found = function(**exact), function(**{key: t.requires_grad_() for key, t in rough.items()})
    assert found.dtype == (torch.float32 if name == "score joints" else torch.bfloat16)
    assert apart(found, wanted) < 2 * ROUNDING
    upstream = torch.randn_like(wanted)
    expected = torch.autograd.grad(wanted, list(exact.values()), upstream)
    for (key, tensor), gradient in zip(rough.items(), expected, strict=True):
        (ours,) = torch.autograd.grad(found, tensor, upstream.to(found.dtype), retain_graph=True)
        assert ours.dtype == tensor.dtype
        assert apart(ours, gradient) < 3 * ROUNDING, key


def test_sums_over_a_batch_do_not_stop_where_bfloat16_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 256 on, a bfloat16 that grows by ones stays what it is. Chunks so short that their own sums are exact."""
    monkeypatch.setattr("model.joints.CHUNK", 64)
    frames, ones = Frames.all(1, 1000, torch.device("cpu")), partial(torch.ones, requires_grad=True)
    graph, weight, bias = torch.eye(3).expand(1, 1, 3, 3), ones(C, C), ones(C)
    gather_joints(torch.ones(1000, 3, C, dtype=torch.bfloat16), graph, frames, weight, bias).sum().backward()
    assert (weight.grad == 3000).all()
    scores = score_joints(torch.ones(1000, 3, 1, dtype=torch.bfloat16), torch.ones(2, 1), torch.zeros(2), 1, frames)
    assert (scores == 1000).all()


def test_batch_norm_over_ranks_takes_float32_statistics_of_bfloat16_rows() -> None:
    torch.manual_seed(0)
    rows, upstream = 3 + 2 * torch.randn(500, 4), torch.randn(500, 4)
    found = []
    for dtype in (torch.bfloat16, torch.float32):
        norm, x = torch.nn.BatchNorm1d(4), rows.to(dtype).requires_grad_()
        y = normalize_over_ranks(norm, x)
        y.backward(upstream.to(dtype))
        assert y.dtype == x.grad.dtype == dtype
        assert norm.running_var.dtype == norm.weight.grad.dtype == torch.float32
        found.append([y, x.grad, norm.weight.grad, norm.running_mean, norm.running_var])
    for ours, theirs in zip(*found, strict=True):
        assert apart(ours, theirs.double()) < 2 * ROUNDING


@pytest.mark.usefixtures("way")
def test_loss_and_gradients_of_the_network_are_near_float32s() -> None:
    """The loss to 0.2 %. Rectifiers that roundings switch turn gradients, all together by no more than a fifth."""
    settings = config.load([], ["model.width=32"])
    torch.manual_seed(0)
    model = Localizer(4, settings.model)
    for name, parameter in model.named_parameters():
        if name.endswith("gcn.bn.weight"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)  # at 1e-6 the graph convolutions would not count
    mask = torch.arange(90) < torch.tensor([90, 61, 48]).unsqueeze(1)
    joints, video_labels = torch.randn(3, 3, 90, 25, 1), torch.eye(4)[:3]
    losses, gradients = [], []
    for precision in ("bfloat16", "float32"):
        output = model.in_precision(precision)(joints, mask)
        assert {t.dtype for t in (output.features, *output.views[0], *output.views[1])} == {torch.float32}
        losses.append(objective(output, video_labels, mask, None, settings)["total"])
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(losses[-1], model.parameters())]))
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=2e-3)
    assert 0 < apart(gradients[0], gradients[1].double()) < 0.2


def test_a_training_in_bfloat16_keeps_float32_weights_goes_on_as_if_never_stopped_and_is_evaluated_so(
    make_split: Callable[..., Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_split(train=[41, 30, 64, 18], val=[35, 28])
    tiny = ("data.split=tiny", "train.precision=bfloat16")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run(monkeypatch, *small(tmp_path, whole, *tiny, "train.epochs=2")) == 0
    assert run(monkeypatch, *small(tmp_path, stopped, *tiny, "train.epochs=1")) == 0
    assert run(monkeypatch, *small(tmp_path, stopped, *tiny, "train.epochs=2"), "--resume") == 0
    ends = [load_checkpoint(folder / "last.pt") for folder in (whole, stopped)]
    assert equal(*ends)
    moments = [moment for state in ends[0]["optimizer"]["state"].values() for moment in state.values()]
    tensors = [*ends[0]["model"].values(), *moments, ends[0]["pseudo_labels"]["history"]]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}

    test = ["--phase", "test", "--weights", str(whole / "last.pt"), "--set", f"data.root={tmp_path}", tiny[0]]
    results = {}
    for precision in ("bfloat16", "float32"):
        assert run(monkeypatch, *test, f"train.precision={precision}", "--work-dir", str(tmp_path / precision)) == 0
        results[precision] = (tmp_path / precision / "detections.json").read_bytes()
    assert results["bfloat16"] == (whole / "detections.json").read_bytes() != results["float32"]
