"""Convolution by tiles against PyTorch's own, clip by clip."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.frames import Frames
from model.temporal import FEWEST_CHANNELS, PART, TILE, convolve, parts, transforms

LENGTHS = [1, 2, TILE - 1, TILE, TILE + 1, 50, 93]
CHANNELS = (FEWEST_CHANNELS, FEWEST_CHANNELS + 3)


def make(lengths: list[int], channels: tuple[int, int], dtype: torch.dtype) -> tuple[Frames, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    x = torch.randn(sum(lengths), 5, channels[0], dtype=dtype)
    weight, bias = torch.randn(channels[1], channels[0], 9, dtype=dtype), torch.randn(channels[1], dtype=dtype)
    return Frames.of(mask), x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def oracle(x: Tensor, frames: Frames, stride: int, weight: Tensor, bias: Tensor) -> Tensor:
    clips = [clip.permute(1, 2, 0) for clip in frames.split(x)]
    return torch.cat([F.conv1d(clip, weight, bias, stride, 4).permute(2, 0, 1) for clip in clips])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [CHANNELS, (4, 6)], ids=["tiles", "few channels"])
@pytest.mark.parametrize("lengths", [LENGTHS, [40, 40]], ids=["mixed", "equal"])
def test_result_and_gradients_are_those_of_a_plain_convolution(
    lengths: list[int], channels: tuple[int, int], stride: int
) -> None:
    frames, *tensors = make(lengths, channels, torch.float64)
    x, weight, bias = tensors
    ours = convolve(x, frames, stride, weight, bias)
    theirs = oracle(x, frames, stride, weight, bias)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)
    upstream = torch.randn_like(ours)
    found, expected = (torch.autograd.grad(y, tensors, upstream) for y in (ours, theirs))
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


def test_a_gpu_gets_pytorchs_convolution_of_padded_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, *tensors = make(LENGTHS, CHANNELS, torch.float64)
    monkeypatch.setattr("model.temporal.clip_by_clip", lambda _: False)
    monkeypatch.setattr("model.temporal._TiledConvolution.apply", None)
    x, weight, bias = tensors
    torch.testing.assert_close(convolve(x, frames, 2, weight, bias), oracle(x, frames, 2, weight, bias))


@pytest.mark.parametrize("stride", [1, 2])
def test_float32_is_as_exact_as_a_direct_convolution(stride: int) -> None:
    frames, *tensors = make(LENGTHS, (64, 64), torch.float32)
    x, weight, bias = (t.detach() for t in tensors)
    exact = oracle(x.double(), frames, stride, weight.double(), bias.double())
    found = [function(x, frames, stride, weight, bias) for function in (convolve, oracle)]
    apart = [(y - exact).norm() / exact.norm() for y in found]
    assert apart[0] < max(4 * apart[1], 5e-7)


def test_parts_read_and_write_every_frame_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worked on one tile at a time, all together, or somewhere between: the same."""
    frames, *tensors = make(LENGTHS, CHANNELS, torch.float64)
    x, weight, bias = (t.detach() for t in tensors)
    whole = convolve(x, frames, 2, weight, bias)
    for numbers in (1, PART // 20):
        monkeypatch.setattr("model.temporal.PART", numbers)
        torch.testing.assert_close(convolve(x, frames, 2, weight, bias), whole, rtol=0, atol=1e-12)
    for most, shares in ((1, 1), (3, 1), (100, 1), (3, 2), (3, 4)):
        cut = parts(frames.counts, 9, 2, most, shares)
        written = [frame for part in cut for frame in range(part.writes.start, part.writes.stop)]
        assert written == list(range(sum(-(-count // 2) for count in LENGTHS)))
        assert max(part.tiles for part in cut) <= most
        assert len(cut) <= shares or len(cut) % shares == 0


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
    """As a rank has that was dealt none."""
    frames, *tensors = make([5], channels, torch.float32)
    _, weight, bias = tensors
    x = torch.empty(0, 5, channels[0], requires_grad=True)
    y = convolve(x, Frames(frames.mask[:0], ()), 2, weight, bias)
    assert y.shape == (0, 5, channels[1])
    y.sum().backward()
    assert not weight.grad.any()
