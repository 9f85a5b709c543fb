"""Affinity and mixing of joints equal sums written out, and so do their gradients."""

import pytest
import torch
from torch import Tensor

from model.ops.joints import CHUNK, affinity, mix_joints

V, C, SUBSETS = 6, 4, 3
LENGTHS = [CHUNK // C + 5, 3, CHUNK // C, 1]
MASK = torch.arange(max(LENGTHS) + 2) < torch.tensor(LENGTHS).unsqueeze(1)


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def padded(rows: Tensor) -> Tensor:
    """(N, T, V, C) with zeros in the padding, as the (N, C, T, V) of a network."""
    return (rows * MASK[:, :, None, None]).permute(0, 3, 1, 2)


def assert_same_with_gradients(ours: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(ours, expected)
    upstream = torch.randn_like(ours)
    for found, wanted in zip(*(torch.autograd.grad(y, inputs, upstream) for y in (ours, expected)), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.usefixtures("implementation")
def test_affinity_is_the_softmax_of_mean_products_of_both_embeddings() -> None:
    inputs = tensors((*MASK.shape, V, C), (2 * SUBSETS * 2, C), (2 * SUBSETS * 2,))
    rows, weight, bias = inputs
    expected = []
    for clip, length in zip(rows, LENGTHS, strict=True):
        theta, phi = (clip[:length] @ weight.T + bias).view(length, V, 2, SUBSETS, 2).unbind(2)
        expected.append(torch.einsum("tvsc,twsc->svw", theta, phi).div(2 * length).softmax(1))
    assert_same_with_gradients(affinity(padded(rows), weight, bias, SUBSETS, MASK), torch.stack(expected), inputs)


@pytest.mark.usefixtures("implementation")
def test_joints_are_mixed_along_each_graph_and_mapped() -> None:
    inputs = tensors((*MASK.shape, V, C), (len(LENGTHS), SUBSETS, V, V), (5, SUBSETS * C), (5,))
    rows, graph, weight, bias = inputs
    expected = torch.einsum("nsvw,nctv,osc->notw", graph, padded(rows), weight.view(5, SUBSETS, C)) + bias.view(5, 1, 1)
    real = MASK[:, None, :, None]  # the padding holds no meaningful values
    assert_same_with_gradients(mix_joints(padded(rows), graph, weight, bias, MASK) * real, expected * real, inputs)


@pytest.mark.usefixtures("implementation")
def test_without_a_mask_all_frames_count() -> None:
    rows, weight, bias, graph, maps, offset = tensors((2, 7, V, C), (12, C), (12,), (2, 3, V, V), (5, 3 * C), (5,))
    x, everything = rows.permute(0, 3, 1, 2), torch.ones(2, 7, dtype=torch.bool)
    torch.testing.assert_close(affinity(x, weight, bias, 3, None), affinity(x, weight, bias, 3, everything))
    torch.testing.assert_close(mix_joints(x, graph, maps, offset, None), mix_joints(x, graph, maps, offset, everything))


@pytest.mark.usefixtures("implementation")
def test_a_batch_without_clips_has_results_and_gradients() -> None:
    """A rank has none in the last batch of an epoch when there are more ranks than clips."""
    weight, bias, maps, offset = tensors((12, C), (12,), (5, 3 * C), (5,))
    x, mask = torch.zeros(0, C, 7, V, dtype=torch.float64), torch.ones(0, 7, dtype=torch.bool)
    graph = affinity(x, weight, bias, 3, mask)
    y = mix_joints(x, graph, maps, offset, mask)
    assert (graph.shape, y.shape) == ((0, 3, V, V), (0, 5, 7, V))
    y.sum().backward()
    assert not maps.grad.any()
    assert not weight.grad.any()
