"""Convolution along time.

On a CPU it is computed with a quarter of the multiplications. Time is cut into tiles that overlap by a kernel, and on each
the convolution theorem holds,

    y = B [(G w) * (A x)],

with A the discrete Fourier transform of a tile, G that of the kernel and B its inverse. A complex product is three real
ones (Gauss), so all three are real matrices. The products at each of their P points, with the sum over channels, are one
matrix product. A tile of 17 frames has P = 37: 2.2 multiplications take the place of 9. The transform is orthogonal, so
float32 loses no more than in a direct convolution (tests/model/ops/test_temporal.py).

A stride s keeps the frames 0, s, 2s, …: each of the s sequences of every s-th frame is convolved with every s-th
weight, and their products are added before B.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.ops.padding import on_cpu, real_frames

TILE = 17  # frames that a tile gives; odd, as then all but one of a tile's frequencies come in pairs
FEWEST_CHANNELS = 32  # below it the transforms cost more than they save
CACHED = 2**19  # numbers in the transform of the tiles worked on together (2 MB in float32), or as many as weights


def temporal_conv(x: Tensor, weight: Tensor, bias: Tensor, stride: int, mask: Tensor | None) -> Tensor:
    """Centred convolution along time, zeros before and after each clip.

    Args:
        x: (N, C, T, V), channels-last in memory, zeros in the padding.
        weight: (C_out, C, taps, 1), an odd number of taps whose half is a multiple of `stride`.
        bias: (C_out,).
        mask: (N, T) real frames, or None where all are.

    Returns:
        (N, C_out, ⌈T/stride⌉, V); what it holds in the padding means nothing.
    """
    if on_cpu(x) and x.shape[1] >= FEWEST_CHANNELS:
        frames = x.permute(0, 2, 3, 1)  # (N, T, V, C)
        y = _TiledConvolution.apply(frames, weight.squeeze(-1), bias, stride, real_frames(frames, mask))
        return y.permute(0, 3, 1, 2)
    return F.conv2d(x, weight, bias, (stride, 1), (weight.shape[2] // 2, 0))


class Transforms(NamedTuple):
    """The three matrices: of a tile, A (P, L); of the weights, G (P, taps); back, B (TILE, P)."""

    tile: Tensor
    weights: Tensor
    back: Tensor


@lru_cache
def transforms(taps: int, dtype: torch.dtype) -> Transforms:
    """For tiles of L = TILE + taps − 1 frames, L odd.

    A real signal's frequencies f and L − f are conjugate, so f = 0 and pairs are left. With c + is = e^(2πif/L) at each
    frame, x's transform is Σ x·(c − is). That of the weights is conjugate, Σ w·(c + is) = u + iv, as neural networks
    convolve with the weights in reverse. Gauss: (a + ib)(u + iv) = k1 − k3 + i(k1 + k2) with k1 = (a + b)·u,
    k2 = a·(v − u), k3 = b·(u + v).
    """
    length = TILE + taps - 1
    frequency = np.arange(1, length // 2 + 1)[:, None]
    angle = 2 * np.pi / length * (frequency * np.arange(length) % length)
    c, s = np.cos(angle), np.sin(angle)  # (pairs, L)
    one = np.ones((1, length))
    tile = np.concatenate([one, c - s, c, -s])
    weights = np.concatenate([one, c, s - c, c + s])[:, :taps]
    back = np.concatenate([one, 2 * (c - s), -2 * s, -2 * c])[:, :TILE].T / length
    return Transforms(*(torch.tensor(matrix, dtype=dtype) for matrix in (tile, weights, back)))


class _TiledConvolution(torch.autograd.Function):
    """x (N, T, V, C), weight (C_out, C, taps), bias (C_out,) → (N, ⌈T/stride⌉, V, C_out); padding is skipped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, lengths: list[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.row = row = _Row.of(lengths, weight.shape[2], stride)
        tile, _, back = transforms(math.ceil(weight.shape[2] / stride), x.dtype)
        kernels = _transform_weights(weight, stride, x.dtype)
        phases = row.read(x)
        given = x.new_empty(row.tiles, TILE, x.shape[2] * len(weight))
        for tiles in row.groups(x, weight):
            products = torch.bmm(_transform(phases[0], tiles, tile, x.shape[3]), kernels[0])  # (P, m·V, C_out)
            for phase, kernel in zip(phases[1:], kernels[1:], strict=True):
                products.baddbmm_(_transform(phase, tiles, tile, x.shape[3]), kernel)
            products[0] += tile.shape[1] * bias  # at frequency 0, whence it reaches every frame
            given[tiles.start : tiles.stop] = (back @ products.flatten(1)).view(TILE, len(tiles), -1).transpose(0, 1)
        y = x.new_empty(len(x), math.ceil(x.shape[1] / stride), x.shape[2], len(weight))
        return _by_clip(given.flatten(0, 1), row.given, y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Each product's transpose: of B, of the product with the weights, of A."""
        (x, weight), row = ctx.saved_tensors, ctx.row
        tile, _, back = transforms(math.ceil(weight.shape[2] / row.stride), x.dtype)
        kernels = _transform_weights(weight, row.stride, x.dtype)
        grad_kernels = [torch.zeros_like(kernel, dtype=weight.dtype) for kernel in kernels]
        phases, given = row.read(x), _in_a_row(grad, row.given, TILE * row.tiles)
        grad_read = x.new_zeros(TILE * (row.tiles + 1) * row.stride, x[0, 0].numel())
        for tiles in row.groups(x, weight):
            some = given[TILE * tiles.start : TILE * tiles.stop].view(len(tiles), TILE, -1)
            products = (back.T @ some.transpose(0, 1).reshape(TILE, -1)).view(len(back.T), -1, len(weight))
            for phase, kernel, grad_kernel, grad_phase in zip(
                phases, kernels, grad_kernels, _phases(grad_read, row.stride), strict=True
            ):
                grad_kernel += torch.bmm(_transform(phase, tiles, tile, x.shape[3]).mT, products)
                grad_tiles = tile.T @ torch.bmm(products, kernel.mT).flatten(1)
                _add_tiles(grad_phase, tiles, grad_tiles.view(tile.shape[1], len(tiles), -1))
        grad_x = _by_clip(grad_read, row.frames, torch.empty_like(x))
        grad_bias = given.sum(0).view(-1, len(weight)).sum(0).to(weight.dtype)
        return grad_x, _weights_back(grad_kernels, weight.shape[2]), grad_bias, None, None


class _Row(NamedTuple):
    """All clips of a batch in one row of tiles, with zeros between them for at least half a kernel.

    frames: where the frames of each clip lie in what the tiles read.
    given:  where the convolution's lie in what they give.
    """

    tiles: int
    stride: int
    frames: list[slice]
    given: list[slice]

    @classmethod
    def of(cls, lengths: list[int], taps: int, stride: int) -> _Row:
        """Lay out clips of some lengths."""
        half, tiles, frames, given = taps // 2, 0, [], []
        for length in lengths:
            start = TILE * tiles
            frames.append(slice(stride * start + half, stride * start + half + length))
            given.append(slice(start, start + math.ceil(length / stride)))
            tiles += math.ceil((length + half) / (TILE * stride))
        return cls(tiles, stride, frames, given)

    def read(self, x: Tensor) -> Tensor:
        """What the tiles read of (N, T, V, C), in `stride` sequences of every stride-th frame, (stride, T', V·C)."""
        return _phases(_in_a_row(x, self.frames, TILE * (self.tiles + 1) * self.stride), self.stride)

    def groups(self, x: Tensor, weight: Tensor) -> list[range]:
        """The tiles in equal groups that fit the cache, and are worked on together."""
        per_tile = x[0, 0].numel()
        points = 2 * (TILE + math.ceil(weight.shape[2] / self.stride))
        most = max(1, CACHED // (points * per_tile), weight[:, :, 0].numel() // per_tile)
        cuts = np.linspace(0, self.tiles, math.ceil(self.tiles / most) + 1).astype(int).tolist()
        return [range(begin, end) for begin, end in pairwise(cuts)]


def _in_a_row(x: Tensor, places: list[slice], length: int) -> Tensor:
    """The frames (N, T, V, C) of each clip at its place, (length, V·C), and zeros elsewhere."""
    row = x.new_zeros(length, x.shape[2] * x.shape[3])
    for clip, place in zip(x, places, strict=True):
        row[place] = clip[: place.stop - place.start].flatten(1)
    return row


def _by_clip(row: Tensor, places: list[slice], x: Tensor) -> Tensor:
    """Fill (N, T, V, C) with what lies at the clips' places in a row, and with zeros in the padding."""
    for clip, place in zip(x, places, strict=True):
        length = place.stop - place.start
        clip[:length] = row[place].view(length, *x.shape[2:])
        clip[length:] = 0
    return x


def _phases(row: Tensor, stride: int) -> Tensor:
    return row.unflatten(0, (-1, stride)).transpose(0, 1)


def _transform(phase: Tensor, tiles: range, tile: Tensor, channels: int) -> Tensor:
    """The transforms (P, m·V, C) of some tiles of a sequence (T', V·C), each of as many frames as `tile` has columns."""
    points, length = tile.shape
    some = phase[TILE * tiles.start : TILE * (tiles.stop - 1) + length]
    read = some.unfold(0, length, TILE).permute(2, 0, 1).reshape(length, -1)  # (L, m·V·C)
    return (tile @ read).view(points, -1, channels)


def _add_tiles(total: Tensor, tiles: range, of_tiles: Tensor) -> None:
    """Transpose of reading them: add tiles (L, m, V·C) to the frames of a sequence (T', V·C) that they were read from."""
    blocks = total.unflatten(0, (-1, TILE)).transpose(0, 1)  # (TILE, tiles + 1, V·C)
    blocks[:, tiles.start : tiles.stop] += of_tiles[:TILE]
    blocks[: len(of_tiles) - TILE, tiles.start + 1 : tiles.stop + 1] += of_tiles[TILE:]


def _transform_weights(weight: Tensor, stride: int, dtype: torch.dtype) -> list[Tensor]:
    """(C_out, C, taps) → (P, C, C_out) in `dtype` of the taps s, s + stride, …, for each s."""
    by_tap = weight.permute(2, 1, 0)
    taps = math.ceil(len(by_tap) / stride)
    to_points = transforms(taps, weight.dtype).weights
    every = [by_tap[s::stride] for s in range(stride)]
    return [(to_points[:, : len(some)] @ some.flatten(1)).view(-1, *some.shape[1:]).to(dtype) for some in every]


def _weights_back(points: list[Tensor], taps: int) -> Tensor:
    """Transpose of `_transform_weights`."""
    stride = len(points)
    from_points = transforms(math.ceil(taps / stride), points[0].dtype).weights.T
    weight = points[0].new_empty(taps, *points[0].shape[1:])
    for s, some in enumerate(points):
        given = weight[s::stride]
        given.copy_((from_points[: len(given)] @ some.flatten(1)).view_as(given))
    return weight.permute(2, 1, 0)
