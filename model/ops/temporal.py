"""Convolution along time.

On a CPU a quarter of the multiplications does. Time is cut into tiles that overlap by the length of the weights. For
each tile the convolution theorem holds,

    y = B [(G w) * (A x)],

with A the discrete Fourier transform of a tile, G that of the weights w, and B the inverse. A complex product is three
real products (Gauss), so all three are real matrices. For each of the P points, the products and the sum over channels
are one matrix product. A tile of 17 frames has P = 37, so a frame takes 2.2 multiplications instead of 9. The transform
is orthogonal: float32 is as exact as in a direct convolution (tests/model/ops/test_temporal.py).

With a stride s, the convolution gives the frames 0, s, 2s, …. Each of the s sequences of every s-th frame is convolved
with every s-th weight, and their products are added before B.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.ops.padding import on_cpu, real_frames, zero_beyond

TILE = 17  # frames that a tile gives; odd, so that all frequencies but one come in pairs
FEWEST_CHANNELS = 32  # with fewer, the transforms cost more than they save
CACHED = 2**19  # numbers in the transforms of a group of tiles, 2 MB in float32; more where there are more weights


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
    if on_cpu(x) and x.shape[1] >= FEWEST_CHANNELS and len(x):
        frames = x.permute(0, 2, 3, 1)  # (N, T, V, C)
        with torch.autocast("cpu", enabled=False):  # the weights are transformed in their own precision
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


class Tiles(NamedTuple):
    """Which frames the tiles of a batch read and write, as indices into the N·T padded frames; -1 stands for none.

    reads: (stride, tiles, L), for each sequence of every stride-th frame. writes: (tiles, TILE).
    """

    reads: Tensor
    writes: Tensor


@lru_cache(maxsize=64)
def lay_tiles(lengths: tuple[int, ...], frames: int, taps: int, stride: int) -> Tiles:
    """Tiles for the real frames of clips that are padded to `frames` frames. No tile covers two clips."""
    phase, frame = np.arange(stride)[:, None, None], np.arange(TILE + math.ceil(taps / stride) - 1)
    reads, writes = [], []
    for n, length in enumerate(lengths):
        given = math.ceil(length / stride)
        first = np.arange(0, given, TILE)[:, None]
        read = stride * (first + frame) + phase - taps // 2
        write = first + np.arange(TILE)
        reads.append(np.where((read >= 0) & (read < length), n * frames + read, -1))
        writes.append(np.where(write < given, n * math.ceil(frames / stride) + write, -1))
    return Tiles(torch.from_numpy(np.concatenate(reads, 1)), torch.from_numpy(np.concatenate(writes)))


class _TiledConvolution(torch.autograd.Function):
    """x (N, T, V, C), weight (C_out, C, taps), bias (C_out,) → (N, ⌈T/stride⌉, V, C_out); padding is skipped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, lengths: list[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.lengths = stride, lengths
        tile, _, back = transforms(math.ceil(weight.shape[2] / stride), x.dtype)
        kernels = _transform_weights(weight, stride, x.dtype)
        y = x.new_empty(len(x), math.ceil(x.shape[1] / stride), x.shape[2], len(weight))
        for reads, writes in _groups(x, weight, stride, lengths):
            products = torch.bmm(_transform(x, reads[0], tile), kernels[0])  # (P, m·V, C_out)
            for read, kernel in zip(reads[1:], kernels[1:], strict=True):
                products.baddbmm_(_transform(x, read, tile), kernel)
            products[0] += tile.shape[1] * bias  # frequency 0 reaches every frame
            given = (back @ products.flatten(1)).view(len(writes), *y.shape[2:])
            real = (writes >= 0).nonzero().squeeze(1)
            y.flatten(0, 1).index_copy_(0, writes[real], given.index_select(0, real))
        return zero_beyond(y, [math.ceil(length / stride) for length in lengths])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Each product's transpose: of B, of the product with the weights, of A."""
        x, weight = ctx.saved_tensors
        tile, _, back = transforms(math.ceil(weight.shape[2] / ctx.stride), x.dtype)
        kernels = _transform_weights(weight, ctx.stride, x.dtype)
        grad_kernels = [torch.zeros_like(kernel, dtype=weight.dtype) for kernel in kernels]
        grad, grad_x, grad_bias = grad.contiguous(), torch.zeros_like(x), torch.zeros_like(weight[:, 0, 0])
        for reads, writes in _groups(x, weight, ctx.stride, ctx.lengths):
            given = _read(grad, writes)
            grad_bias += given.sum((0, 1))
            products = (back.T @ given.view(TILE, -1)).view(len(back.T), -1, len(weight))
            for read, kernel, grad_kernel in zip(reads, kernels, grad_kernels, strict=True):
                grad_kernel += torch.bmm(_transform(x, read, tile).mT, products)
                grad_read = (tile.T @ torch.bmm(products, kernel.mT).flatten(1)).view(len(read), *x.shape[2:])
                grad_read[(read < 0).nonzero().squeeze(1)] = 0
                grad_x.flatten(0, 1).index_add_(0, read.clamp(min=0), grad_read)
        return grad_x, _weights_back(grad_kernels, weight.shape[2]), grad_bias, None, None


def _groups(x: Tensor, weight: Tensor, stride: int, lengths: list[int]) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Groups of m tiles that fit the cache: the frames that they read, (L·m,) per sequence, and write, (TILE·m,)."""
    reads, writes = lay_tiles(tuple(lengths), x.shape[1], weight.shape[2], stride)
    per_tile = x.shape[2] * x.shape[3]
    most = max(1, CACHED // (3 * reads.shape[2] // 2 * per_tile), weight[:, :, 0].numel() // per_tile)
    cuts = np.linspace(0, len(writes), math.ceil(len(writes) / most) + 1).astype(int).tolist()
    for begin, end in pairwise(cuts):
        yield [read[begin:end].T.flatten() for read in reads], writes[begin:end].T.flatten()


def _read(x: Tensor, places: Tensor) -> Tensor:
    """The frames of (N, T, V, C) with indices `places` (n,), zeros for -1: (n, V, C)."""
    frames = x.flatten(0, 1).index_select(0, places.clamp(min=0))
    frames[(places < 0).nonzero().squeeze(1)] = 0
    return frames


def _transform(x: Tensor, read: Tensor, tile: Tensor) -> Tensor:
    """The transforms (P, m·V, C) of tiles that read the frames `read` (L·m,) of (N, T, V, C)."""
    return (tile @ _read(x, read).view(tile.shape[1], -1)).view(len(tile), -1, x.shape[3])


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
