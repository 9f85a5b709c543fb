"""Convolution along time equals PyTorch's convolution of each clip alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.ops.temporal import MAX_CACHED, MIN_CHANNELS, MIN_INFERENCE_SIZE, TILE, lay_tiles, temporal_conv, transforms

LENGTHS = [1, 2, TILE - 1, TILE, TILE + 1, 50, 93]
CHANNELS = (MIN_CHANNELS, MIN_CHANNELS + 3)
V = 5


def make(lengths: list[int], channels: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mask, input, weight and bias of clips with zeros in the padding: two frames more than the longest."""
    torch.manual_seed(0)
    mask = torch.arange(max(lengths) + 2) < torch.tensor(lengths).unsqueeze(1)
    x = torch.randn(*mask.shape, V, channels[0], dtype=dtype) * mask[:, :, None, None]
    weight, bias = torch.randn(channels[1], channels[0], 9, 1, dtype=dtype), torch.randn(channels[1], dtype=dtype)
    return mask, x.permute(0, 3, 1, 2).requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def real(y: Tensor, lengths: list[int], stride: int) -> Tensor:
    """The real frames of all clips one after the other: (frames, C, V)."""
    return torch.cat([clip[:, : -(-t // stride)].transpose(0, 1) for clip, t in zip(y, lengths, strict=True)])


def alone(x: Tensor, lengths: list[int], stride: int, weight: Tensor, bias: Tensor) -> Tensor:
    clips = [
        F.conv2d(clip[None, :, :t], weight, bias, (stride, 1), (4, 0))[0] for clip, t in zip(x, lengths, strict=True)
    ]
    return torch.cat([clip.transpose(0, 1) for clip in clips])


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [CHANNELS, (4, 6)], ids=["tiles", "few channels"])
@pytest.mark.parametrize("lengths", [LENGTHS, [40, 40]], ids=["mixed", "equal"])
def test_result_and_gradients_are_those_of_each_clip_alone(
    lengths: list[int], channels: tuple[int, int], stride: int
) -> None:
    mask, *tensors = make(lengths, channels, torch.float64)
    x, weight, bias = tensors
    ours = real(temporal_conv(x, weight, bias, stride, mask), lengths, stride)
    theirs = alone(x, lengths, stride, weight, bias)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    upstream = torch.randn_like(ours)
    found, expected = (torch.autograd.grad(y, tensors, upstream) for y in (ours, theirs))
    found, expected = ((real(x, lengths, 1), *rest) for x, *rest in (found, expected))
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_float32_is_as_exact_as_a_direct_convolution(stride: int) -> None:
    mask, *tensors = make(LENGTHS, (64, 64), torch.float32)
    x, weight, bias = (t.detach() for t in tensors)
    exact = alone(x.double(), LENGTHS, stride, weight.double(), bias.double())
    ours = real(temporal_conv(x, weight, bias, stride, mask), LENGTHS, stride)
    errors = [(y - exact).norm() / exact.norm() for y in (ours, alone(x, LENGTHS, stride, weight, bias))]
    assert errors[0] < max(4 * errors[1], 5e-7)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize(("taps", "stride"), [(7, 2), (7, 3), (5, 2), (9, 4)])
def test_other_kernels_and_strides_are_convolved_rightly(taps: int, stride: int) -> None:
    x, bias = torch.randn(2, 40, 61, 3, dtype=torch.float64), torch.randn(32, dtype=torch.float64)
    x, weight = x.to(memory_format=torch.channels_last), torch.randn(32, 40, taps, 1, dtype=torch.float64)
    expected = F.conv2d(x, weight, bias, (stride, 1), (taps // 2, 0))
    torch.testing.assert_close(temporal_conv(x, weight, bias, stride, None), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_with_time_as_the_last_dimension_the_result_and_its_layout_are_the_same(
    stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU in float32."""
    monkeypatch.setattr("model.ops.temporal.slow_gradients", lambda _: True)
    mask, *tensors = make(LENGTHS, (8, 6), torch.float64)
    found = [temporal_conv(*tensors, stride, mask)]
    upstream = torch.randn_like(found[0])
    found += torch.autograd.grad(found[0], tensors, upstream)
    expected = [F.conv2d(*tensors, (stride, 1), (4, 0))]
    expected += torch.autograd.grad(expected[0], tensors, upstream)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_the_number_of_tiles_in_a_group_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mask, *tensors = make(LENGTHS, CHANNELS, torch.float64)
    whole = temporal_conv(*tensors, 2, mask)
    upstream = torch.randn_like(whole)
    expected = [whole, *torch.autograd.grad(whole, tensors, upstream)]
    for numbers in (1, MAX_CACHED // 20):
        monkeypatch.setattr("model.ops.temporal.MAX_CACHED", numbers)
        y = temporal_conv(*tensors, 2, mask)
        found = [y, *torch.autograd.grad(y, tensors, upstream)]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("longest", [MIN_INFERENCE_SIZE // 64 - 10, MIN_INFERENCE_SIZE // 64 + 10])
def test_a_forward_pass_alone_gives_the_same(longest: int) -> None:
    lengths = [longest, 20]
    mask, *tensors = make(lengths, (64, 64), torch.float64)
    expected = temporal_conv(*tensors, 1, mask)
    with torch.no_grad():
        found = temporal_conv(*tensors, 1, mask)
    torch.testing.assert_close(real(found, lengths, 1), real(expected.detach(), lengths, 1), rtol=0, atol=1e-10)


def test_tiles_write_every_real_frame_once() -> None:
    frames = max(LENGTHS) + 2
    written = lay_tiles(tuple(LENGTHS), frames, 9, 2)[1].flatten()
    expected = [n * -(-frames // 2) + t for n, length in enumerate(LENGTHS) for t in range(-(-length // 2))]
    assert sorted(written[written >= 0].tolist()) == expected


@pytest.mark.parametrize("taps", [5, 9])
def test_the_transforms_are_the_convolution_theorem_with_three_products_a_pair(taps: int) -> None:
    tile, weights, back = transforms(taps, torch.float64)
    length = TILE + taps - 1
    assert len(tile) == 1 + 3 * (length - 1) // 2
    x, w = torch.randn(length, dtype=torch.float64), torch.randn(taps, dtype=torch.float64)
    expected = F.conv1d(x.view(1, 1, -1), w.view(1, 1, -1)).flatten()
    torch.testing.assert_close(back @ ((weights @ w) * (tile @ x)), expected)


@pytest.mark.parametrize("channels", [CHANNELS, (4, 6)], ids=["tiles", "few channels"])
def test_a_batch_without_clips_has_a_result_and_gradients(channels: tuple[int, int]) -> None:
    """A rank has none in the last batch of an epoch when there are more ranks than clips."""
    mask, _, weight, bias = make([5], channels, torch.float32)
    y = temporal_conv(torch.empty(0, channels[0], 7, V, requires_grad=True), weight, bias, 2, mask[:0])
    assert y.shape == (0, channels[1], 4, V)
    y.sum().backward()
    assert not weight.grad.any()
