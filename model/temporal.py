"""Convolution along time of packed clips (model/frames.py), zeros before and after each clip.

On a GPU, and for few channels, it is PyTorch's own on padded clips. On a CPU it costs a quarter of the multiplications:
time is cut into tiles that overlap by a kernel, and on each the convolution theorem holds,

    y = B [(G w) * (A x)],

with A the discrete Fourier transform of a tile, G that of the kernel, B its inverse. A complex product being three real
ones (Gauss), all three are real matrices, and the products at each of their P points, with the sum over channels, are
one matrix product. A tile of 17 frames has P = 37, so 2.2 multiplications take the place of 9. As the transform is
orthogonal, float32 loses no more than a direct convolution does (tests/model/test_temporal.py).

A stride s keeps the frames 0, s, 2s, …: each of the s sequences of every s-th frame is convolved with every s-th
weight, and what they give adds up before B.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.frames import Frames, clip_by_clip
from model.joints import add_product
from model.shares import in_shares, sharers

Result = TypeVar("Result")

TILE = 17  # frames that a tile gives; odd, as then all but one of a tile's frequencies come in pairs
FEWEST_CHANNELS = 32  # below it the transforms cost more than they save
PART = 2**19  # numbers in the transform of the tiles worked on together, 2 MB in float32; more where weights have more


def convolve(x: Tensor, frames: Frames, stride: int, weight: Tensor, bias: Tensor) -> Tensor:
    """Centred convolution along time, (R, V, C_in) packed `frames` → (R', V, C_out) packed `frames.stride(stride)`.

    Args:
        weight: (C_out, C_in, taps), an odd number of taps whose half is a multiple of `stride`.
        bias: (C_out,).
    """
    if clip_by_clip(x) and x.shape[-1] >= FEWEST_CHANNELS:
        return _TiledConvolution.apply(x, weight, bias, frames.counts, stride)
    taps = weight.shape[2]
    padded = frames.unpack(x).permute(0, 3, 1, 2)  # (B, C_in, T, V), channels-last
    y = F.conv2d(padded, weight.unsqueeze(-1).to(x.dtype), bias.to(x.dtype), (stride, 1), (taps // 2, 0))
    return frames.stride(stride).pack(y.permute(0, 2, 3, 1))


class Transforms(NamedTuple):
    """The three matrices: of a tile, A (P, L); of the weights, G (P, taps); back, B (TILE, P)."""

    tile: Tensor
    weights: Tensor
    back: Tensor


@lru_cache
def transforms(taps: int, dtype: torch.dtype) -> Transforms:
    """For tiles of L = TILE + taps − 1 frames, L odd.

    A real signal's frequencies f and L − f are conjugate, so f = 0 and pairs are left. With c + is = e^(2πif/L) at each
    frame, x's transform is Σ x·(c − is) and that of the weights, conjugate as frames run against them in a
    convolution of neural networks, Σ w·(c + is) = u + iv. Gauss: (a + ib)(u + iv) = k1 − k3 + i(k1 + k2) with
    k1 = (a + b)·u, k2 = a·(v − u), k3 = b·(u + v).
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


class Part(NamedTuple):
    """Some tiles of a batch, m of them, as places among packed frames.

    tiles:   m.
    reads:   for each of the s sequences the packed frames of the tiles, (L·m,), frame by frame.
    outside: where these lie before or after their clip, and count as zeros.
    writes:  packed frames of the result.
    places:  where each of them is among the (TILE·m,) frames that the tiles give.
    """

    tiles: int
    reads: list[Tensor]
    outside: list[Tensor]
    writes: slice
    places: Tensor


@lru_cache(maxsize=64)
def parts(counts: tuple[int, ...], taps: int, stride: int, most: int, shares: int) -> list[Part]:
    """Cut clips of `counts` frames into tiles, and the tiles into equal parts of at most `most`.

    Where there are more parts than shares, each share gets the same number.
    """
    counts_in = np.array(counts, np.int64)
    counts_out = -(-counts_in // stride)
    tiles = -(-counts_out // TILE)
    clip = np.repeat(np.arange(len(counts)), tiles)
    first = TILE * (np.arange(tiles.sum()) - np.repeat(tiles.cumsum() - tiles, tiles))  # in the clip, after the stride
    start_in, start_out = (number.cumsum() - number for number in (counts_in, counts_out))
    given = np.minimum(counts_out[clip] - first, TILE)  # frames that each tile gives
    length = TILE + -(-taps // stride) - 1
    number = math.ceil(len(clip) / most)
    if number > shares:
        number += -number % shares
    found = []
    for begin, end in pairwise(np.linspace(0, len(clip), number + 1).astype(int).tolist()):
        some = slice(begin, end)
        window = first[some] - taps // 2 // stride + np.arange(length)[:, None]  # (L, m)
        reads, outside = [], []
        for phase in range(stride):
            frame = stride * window + phase
            out = (frame < 0) | (frame >= counts_in[clip[some]])
            reads.append(torch.from_numpy(np.where(out, 0, start_in[clip[some]] + frame).ravel()))
            outside.append(torch.from_numpy(out.ravel().nonzero()[0]))
        frame, tile = np.nonzero(np.arange(TILE)[:, None] < given[some])
        order = np.lexsort((frame, tile))
        places = frame[order] * len(given[some]) + tile[order]
        at = int(start_out[clip[begin]] + first[begin])
        found.append(Part(len(given[some]), reads, outside, slice(at, at + len(places)), torch.from_numpy(places)))
    return found


class _TiledConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, counts: tuple[int, ...], stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.counts, ctx.stride = counts, stride
        tile, _, back = transforms(math.ceil(weight.shape[2] / stride), x.dtype)
        kernels = _transform_weights(weight, stride, x.dtype)
        y = x.new_empty(sum(-(-count // stride) for count in counts), x.shape[1], len(weight))

        def convolve_tiles(share: Sequence[Part]) -> None:
            for part in share:
                products = torch.bmm(_transform(x, part, 0, tile), kernels[0])  # (P, m·V, C_out)
                for s in range(1, stride):
                    products.baddbmm_(_transform(x, part, s, tile), kernels[s])
                products[0] += tile.shape[1] * bias  # at frequency 0, whence it reaches every frame
                given = (back @ products.flatten(1)).view(-1, *y.shape[1:])
                torch.index_select(given, 0, part.places, out=y[part.writes])

        _in_shares(x, weight, counts, stride, convolve_tiles)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Each product's transpose: of B, of the product with the weights, of A."""
        x, weight = ctx.saved_tensors
        tile, _, back = transforms(math.ceil(weight.shape[2] / ctx.stride), x.dtype)
        kernels = _transform_weights(weight, ctx.stride, x.dtype)
        grad, grad_x, adding = grad.contiguous(), torch.zeros_like(x), Lock()

        def differentiate(share: Sequence[Part]) -> list[Tensor]:
            grad_kernels = [torch.zeros_like(k, dtype=weight.dtype) for k in kernels]
            for part in share:
                given = grad.new_zeros(TILE * part.tiles, grad.shape[1] * grad.shape[2])
                given.index_copy_(0, part.places, grad[part.writes].flatten(1))
                products = (back.T @ given.view(TILE, -1)).view(len(back.T), -1, len(weight))
                for s in range(ctx.stride):
                    read = _transform(x, part, s, tile)
                    add_product(grad_kernels[s], read.transpose(1, 2), products)
                    of_tiles = tile.T @ torch.bmm(products, kernels[s].transpose(1, 2)).flatten(1)
                    with adding:  # the last tile of a share overlaps the first of the next
                        _add_tiles(grad_x, of_tiles, part, s)
            return grad_kernels

        grad_kernels = list(map(sum, zip(*_in_shares(x, weight, ctx.counts, ctx.stride, differentiate), strict=True)))
        grad_bias = grad.sum((0, 1)).to(weight.dtype)
        return grad_x, _weights_back(grad_kernels, weight.shape[2]), grad_bias, None, None


def _in_shares(
    x: Tensor, weight: Tensor, counts: tuple[int, ...], stride: int, task: Callable[[Sequence[Part]], Result]
) -> list[Result]:
    """What `task` gives for shares of the clips' tiles, in parts that fit the cache."""
    per_tile = x.shape[1] * x.shape[2]
    points = len(transforms(math.ceil(weight.shape[2] / stride), x.dtype).tile)
    most = max(1, PART // (points * per_tile), weight[:, :, 0].numel() // per_tile)
    some = parts(counts, weight.shape[2], stride, most, sharers())
    return in_shares(some, [part.tiles for part in some], task)


def _transform_weights(weight: Tensor, stride: int, dtype: torch.dtype) -> list[Tensor]:
    """(C_out, C_in, taps) → (P, C_in, C_out) in `dtype` of the taps s, s + stride, …, for each s."""
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


def _transform(x: Tensor, part: Part, s: int, tile: Tensor) -> Tensor:
    """(P, m·V, C): the transformed tiles of sequence s of packed frames (R, V, C)."""
    read = x.index_select(0, part.reads[s])
    read[part.outside[s]] = 0
    return (tile @ read.view(tile.shape[1], -1)).view(len(tile), -1, x.shape[2])


def _add_tiles(total: Tensor, of_tiles: Tensor, part: Part, s: int) -> None:
    """Transpose of reading them: add tiles (L, m·V·C) of sequence s to the packed frames that they were read from."""
    of_tiles = of_tiles.view(len(part.reads[s]), *total.shape[1:])
    of_tiles[part.outside[s]] = 0
    total.index_add_(0, part.reads[s], of_tiles)
