"""Convolution along time.

With stride 1, the code for CPUs multiplies a quarter as often as a direct convolution. It cuts the output into tiles of
17 frames. `taps` is the number of weights along time, here 9. A tile y depends on 17 + taps − 1 input frames x, so the
inputs of neighbouring tiles overlap by taps − 1 frames. By the convolution theorem,

    y = B [(G w) ⊙ (A x)],

where ⊙ multiplies element by element, A is the discrete Fourier transform of the input frames, G that of the weights w,
and B the inverse transform. A complex product is computed as three real products (Gauss), so A, G and B are real
matrices. P is the number of real products for a tile: 1 for frequency 0, and 3 for each pair of conjugate frequencies.
With 9 taps, a tile reads 25 frames, which have frequency 0 and 12 pairs. So P = 1 + 3 · 12 = 37, and a frame takes
37 / 17 = 2.2 multiplications instead of 9. The convolution also sums over input channels. So each of the P products
becomes one matrix multiplication for all tiles and output channels. The Fourier transform is orthogonal up to a factor,
and Gauss's form is nearly orthogonal, too. So float32 is as exact as in a direct convolution
(tests/model/ops/test_temporal.py).

With stride s, the input is split into s sequences of every s-th frame, and so are the weights. The transform of each
sequence is multiplied by that of its weights, and B is applied to the sum of the products.
"""

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

from model.ops.padding import real_lengths, use_cpu_path, zero_beyond

TILE = 17  # output frames of a tile; odd, so that all frequencies but 0 come in pairs
MIN_CHANNELS = 32  # with fewer, the transforms cost more than they save
MIN_INFERENCE_SIZE = 6000  # channels × frames of a clip; below this, a direct forward pass is faster
# Tiles are computed in groups. A group has at most this many transformed values: 2 MB in float32, which fits in the
# cache. If a layer has more transformed weights, a group may have as many values as there are weights
MAX_CACHED = 2**19


def temporal_conv(x: Tensor, weight: Tensor, bias: Tensor, stride: int, mask: Tensor | None) -> Tensor:
    """Centred convolution along time, with zeros before and after each clip.

    Args:
        x: (N, C, T, V), channels-last in memory, zeros in the padding.
        weight: (C_out, C, taps, 1); taps is odd.
        bias: (C_out,).
        mask: (N, T) real frames, or None where all are.

    Returns:
        (N, C_out, ⌈T/stride⌉, V). Its padding holds no meaningful values.
    """
    taps = weight.shape[2]
    if slow_gradients(x):
        return _TimeLastGradients.apply(x, weight, bias, stride)
    N, C, T, _ = x.shape
    small = C < MIN_CHANNELS or (C * T < MIN_INFERENCE_SIZE and not torch.is_grad_enabled())
    fits = math.ceil(taps / stride) % 2 == 1  # then the number of input frames of a tile is odd, as `transforms` needs
    if not use_cpu_path(x) or small or not N or not fits:
        return F.conv2d(x, weight, bias, (stride, 1), (taps // 2, 0))
    with torch.autocast("cpu", enabled=False):  # the weights are transformed in their own precision
        of_weights = transforms(math.ceil(taps / stride), weight.dtype).of_weights
        sequences = [weight.squeeze(-1).permute(2, 1, 0)[s::stride] for s in range(stride)]  # (taps of s, C, C_out)
        # (P, C, C_out) for each sequence
        transformed = [(of_weights[:, : len(w)] @ w.flatten(1)).view(-1, *w.shape[1:]) for w in sequences]
        y = _TiledConvolution.apply(x.permute(0, 2, 3, 1), bias, taps, real_lengths(x, mask), *transformed)
    return y.permute(0, 3, 1, 2)


def slow_gradients(x: Tensor) -> bool:
    """Whether this is training in float32 on a GPU, without TF32.

    Then cuDNN's gradients are slow if time is the third dimension (docs/speed.md).
    """
    eager_training = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    float32 = x.dtype == torch.float32 and not torch.is_autocast_enabled("cuda")
    return eager_training and x.is_cuda and float32 and not torch.backends.cudnn.allow_tf32


class _TimeLastGradients(torch.autograd.Function):
    """F.conv2d along time. Its gradients are computed with time as the last dimension, which cuDNN does faster."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, bias, (stride, 1), (weight.shape[2] // 2, 0))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad, x = (_time_last(features) for features in (grad, x))  # (N, C, V, T)
        sizes = [len(weight)], [1, ctx.stride], [0, weight.shape[2] // 2], [1, 1]  # of bias, stride, padding, dilation
        grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            grad, x, weight.transpose(2, 3), *sizes, False, [0, 0], 1, [True] * 3
        )
        return _time_last(grad_x), grad_weight.transpose(2, 3), grad_bias, None


def _time_last(features: Tensor) -> Tensor:
    """(N, C, T, V) → (N, C, V, T), or back. Channels-last in memory."""
    return features.transpose(2, 3).contiguous(memory_format=torch.channels_last)


class Transforms(NamedTuple):
    """The three matrices of the convolution."""

    of_input: Tensor  # A (P, L)
    of_weights: Tensor  # G (P, taps of a sequence)
    inverse: Tensor  # B (TILE, P)


def transforms(taps: int, dtype: torch.dtype) -> Transforms:
    """Matrices for tiles of L = TILE + taps − 1 input frames, L odd.

    Here, `taps` counts the taps of one sequence: ⌈all taps / stride⌉, so 5 for 9 taps and stride 2.

    The frequencies f and L − f of a real signal are conjugate, so f = 0 and one of each pair are enough. Let
    c + i·s = e^(2πifn/L) at frame n. The transform of x is a + i·b = Σ x·(c − i·s). That of the weights is conjugate,
    u + i·v = Σ w·(c + i·s), because PyTorch does not reverse the weights of a convolution. Gauss: (a + i·b)(u + i·v) =
    k1 − k3 + i·(k1 + k2), where k1 = (a + b)·u, k2 = a·(v − u), k3 = b·(u + v).
    """
    length = TILE + taps - 1
    frequency = np.arange(1, length // 2 + 1)[:, None]
    angle = 2 * np.pi / length * (frequency * np.arange(length) % length)
    c, s = np.cos(angle), np.sin(angle)  # (pairs, L)
    one = np.ones((1, length))
    of_input = np.concatenate([one, c - s, c, -s])
    of_weights = np.concatenate([one, c, s - c, c + s])[:, :taps]
    inverse = np.concatenate([one, 2 * (c - s), -2 * s, -2 * c])[:, :TILE].T / length
    return Transforms(*(torch.tensor(matrix, dtype=dtype) for matrix in (of_input, of_weights, inverse)))


@lru_cache(maxsize=64)
def lay_tiles(lengths: tuple[int, ...], frames: int, taps: int, stride: int) -> tuple[Tensor, Tensor]:
    """The frames that the tiles of a batch read and write. No tile covers two clips.

    Args:
        lengths: real frames of each clip.
        frames: T.

    Returns:
        reads: (stride, tiles, L) indices of the input frames of each tile, for each of the `stride` sequences.
        writes: (tiles, TILE) indices of the output frames of each tile.

        The indices count the frames of all clips, one clip after another, with their padding. -1 means no frame.
    """
    phase, frame = np.arange(stride)[:, None, None], np.arange(TILE + math.ceil(taps / stride) - 1)
    reads, writes = [], []
    for n, length in enumerate(lengths):
        length_out = math.ceil(length / stride)
        first = np.arange(0, length_out, TILE)[:, None]
        read = stride * (first + frame) + phase - taps // 2  # (stride, tiles, L)
        write = first + np.arange(TILE)  # (tiles, TILE)
        reads.append(np.where((read >= 0) & (read < length), n * frames + read, -1))
        writes.append(np.where(write < length_out, n * math.ceil(frames / stride) + write, -1))
    return torch.from_numpy(np.concatenate(reads, 1)), torch.from_numpy(np.concatenate(writes))


class _TiledConvolution(torch.autograd.Function):
    """x (N, T, V, C), bias (C_out,), weights (P, C, C_out) of `stride` sequences → (N, ⌈T/stride⌉, V, C_out).

    The padding is not computed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, taps: int, lengths: list[int], *weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, *weights)
        ctx.taps, ctx.lengths = taps, lengths
        stride = len(weights)
        of_input, _, inverse = transforms(math.ceil(taps / stride), x.dtype)
        weights = [weight.to(x.dtype) for weight in weights]
        y = x.new_empty(len(x), math.ceil(x.shape[1] / stride), x.shape[2], len(bias))
        for reads, writes in _groups(x, weights, taps, lengths):
            products = torch.bmm(_transform(x, reads[0], of_input), weights[0])  # (P, m·V, C_out)
            for read, weight in zip(reads[1:], weights[1:], strict=True):
                products.baddbmm_(_transform(x, read, of_input), weight)
            products[0] += of_input.shape[1] * bias  # B divides it by L, so every output frame gets the bias
            rows = (inverse @ products.flatten(1)).view(len(writes), *y.shape[2:])
            real = (writes >= 0).nonzero().squeeze(1)
            y.flatten(0, 1).index_copy_(0, writes[real], rows.index_select(0, real))
        return zero_beyond(y, [math.ceil(length / stride) for length in lengths])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Multiplies by the transposed matrices in reverse order: B, the transformed weights, A."""
        x, *weights = ctx.saved_tensors
        of_input, _, inverse = transforms(math.ceil(ctx.taps / len(weights)), x.dtype)
        grad_weights = [torch.zeros_like(weight) for weight in weights]
        grad_x, grad_bias = torch.zeros_like(x), weights[0].new_zeros(grad.shape[3])
        grad, weights = grad.contiguous(), [weight.to(x.dtype) for weight in weights]
        for reads, writes in _groups(x, weights, ctx.taps, ctx.lengths):
            rows = _read(grad, writes)
            grad_bias += rows.sum((0, 1))
            products = (inverse.T @ rows.view(TILE, -1)).view(len(inverse.T), -1, grad.shape[3])
            for read, weight, grad_weight in zip(reads, weights, grad_weights, strict=True):
                grad_weight += torch.bmm(_transform(x, read, of_input).mT, products)
                grad_read = (of_input.T @ torch.bmm(products, weight.mT).flatten(1)).view(len(read), *x.shape[2:])
                grad_read[(read < 0).nonzero().squeeze(1)] = 0
                grad_x.flatten(0, 1).index_add_(0, read.clamp(min=0), grad_read)
        return grad_x, grad_bias, None, None, *grad_weights


def _groups(x: Tensor, weights: list[Tensor], taps: int, lengths: list[int]) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Split the tiles into groups of limited size (`MAX_CACHED`).

    Yields the frame indices (see `lay_tiles`) of m tiles: a list of the frames read, (L·m,) for each sequence, and the
    frames written, (TILE·m,).
    """
    reads, writes = lay_tiles(tuple(lengths), x.shape[1], taps, len(weights))
    (P, C, C_out), V = weights[0].shape, x.shape[2]
    most = max(1, max(MAX_CACHED, P * C * C_out) // (P * C * V))  # tiles in a group; a tile has P·C·V values
    cuts = np.linspace(0, len(writes), math.ceil(len(writes) / most) + 1).astype(int).tolist()
    for begin, end in pairwise(cuts):
        yield [read[begin:end].T.flatten() for read in reads], writes[begin:end].T.flatten()


def _read(x: Tensor, indices: Tensor) -> Tensor:
    """The frames of x (N, T, V, C) at the indices (n,): (n, V, C). The index -1 gives zeros."""
    frames = x.flatten(0, 1).index_select(0, indices.clamp(min=0))
    frames[(indices < 0).nonzero().squeeze(1)] = 0
    return frames


def _transform(x: Tensor, read: Tensor, of_input: Tensor) -> Tensor:
    """Transform m tiles → (P, m·V, C). `read` (L·m,) has the indices of their input frames in x (N, T, V, C)."""
    return (of_input @ _read(x, read).view(of_input.shape[1], -1)).view(len(of_input), -1, x.shape[3])
