"""What passes between joints, in both ways that there are, against sums written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.frames import Frames
from model.joints import CHUNK, gather_joints, score_joints

V, C, SUBSETS = 6, 4, 3
LENGTHS = [CHUNK // C + 5, 3, CHUNK // C, 1]


@pytest.fixture()
def frames() -> Frames:
    return Frames.of(torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1))


@pytest.fixture(params=[True, False], ids=["clip by clip", "padded, as on a GPU"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.joints.clip_by_clip", lambda _: request.param)


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def assert_same_with_gradients(ours: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(ours, expected)
    upstream = torch.randn_like(ours)
    for found, wanted in zip(*(torch.autograd.grad(y, inputs, upstream) for y in (ours, expected)), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.usefixtures("way")
def test_scores_are_the_products_of_both_embeddings_over_a_clips_frames(frames: Frames) -> None:
    inputs = tensors((sum(LENGTHS), V, C), (2 * SUBSETS * 2, C), (2 * SUBSETS * 2,))
    x, weight, bias = inputs
    expected = []
    for clip in frames.split(x):
        theta, phi = (clip @ weight.T + bias).view(len(clip), V, 2, SUBSETS, 2).unbind(2)
        expected.append(torch.einsum("tvsc,twsc->svw", theta, phi))
    assert_same_with_gradients(score_joints(x, weight, bias, SUBSETS, frames), torch.stack(expected), inputs)


@pytest.mark.usefixtures("way")
def test_joints_collect_along_each_graph_and_are_mapped(frames: Frames) -> None:
    inputs = tensors((sum(LENGTHS), V, C), (len(LENGTHS), SUBSETS, V, V), (5, SUBSETS * C), (5,))
    x, graph, weight, bias = inputs
    maps = weight.view(5, SUBSETS, C)
    expected = [
        torch.einsum("svw,tvc,osc->two", one, clip, maps) + bias
        for clip, one in zip(frames.split(x), graph, strict=True)
    ]
    assert_same_with_gradients(gather_joints(x, graph, frames, weight, bias), torch.cat(expected), inputs)
