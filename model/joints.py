"""What passes between the joints of each clip, of packed clips (model/frames.py).

On a GPU all clips are worked on at once, padded. On a CPU they are worked on where they lie, some frames at a time, so
that what comes in between stays in the cache; it is not kept for the way back but computed again, which takes no longer
and half the memory (benchmarks/README.md).

Products are in the type of the activations x, sums over a clip or a batch in that of the parameters: where a float32
network computes in bfloat16, the 8 bits of the products would stop a sum of 256 equal parts growing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.frames import Frames, clip_by_clip
from model.shares import in_shares, sharers

CHUNK, FEWEST = 4096, 32  # channels of all frames at a time, but so many frames at the least

Chunk = tuple[int, slice]  # a clip's number and some of its packed frames
Result = TypeVar("Result")


def project(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear map of the channels, (..., C_in) → (..., C_out), in x's type."""
    return F.linear(x, weight.to(x.dtype), bias.to(x.dtype))


def score_joints(x: Tensor, weight: Tensor, bias: Tensor, subsets: int, frames: Frames) -> Tensor:
    """How alike joints move: Σ over a clip's frames of θ(joint v)·φ(joint w), in each of S subsets.

    Args:
        x: (R, V, C).
        weight, bias: (2·S·C', C) and (2·S·C',), the linear maps θ of all subsets, then φ.

    Returns:
        (B, S, V, V).
    """
    if clip_by_clip(x):
        return _ScoreByClip.apply(x, weight, bias, subsets, frames.counts)
    theta, phi = _embed(frames.unpack(project(x, weight, bias)), subsets)  # zeros in the padding add nothing
    return (theta @ phi.transpose(-1, -2)).to(weight.dtype)


def _embed(embedded: Tensor, subsets: int) -> Tensor:
    """θ and φ of every joint over all frames: (B, T, V, 2·S·C') → (2, B, S, V, T·C')."""
    return embedded.unflatten(-1, (2, subsets, -1)).permute(3, 0, 4, 2, 1, 5).flatten(4)


class _ScoreByClip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, subsets: int, counts: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.subsets, ctx.counts = subsets, counts
        shape, dtype = (len(counts), subsets, x.shape[1], x.shape[1]), weight.dtype
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)

        def score(chunks: Sequence[Chunk]) -> Tensor:
            scores = x.new_zeros(shape, dtype=dtype)
            for clip, some in chunks:
                theta, phi = _embed_rows(x[some], weight, bias, subsets)
                add_product(scores[clip], theta.transpose(1, 2), phi)
            return scores

        return sum(_in_shares(x, counts, score))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        grad_x, exact = torch.empty_like(x), weight.dtype
        grad, weight, bias = grad.to(x.dtype), weight.to(x.dtype), bias.to(x.dtype)

        def differentiate(chunks: Sequence[Chunk]) -> tuple[Tensor, Tensor]:
            grad_weight, grad_bias = (torch.zeros_like(factor, dtype=exact) for factor in (weight, bias))
            for clip, some in chunks:
                theta, phi = embedded = _embed_rows(x[some], weight, bias, ctx.subsets)
                of_embedded = torch.empty_like(embedded)
                torch.bmm(phi, grad[clip].transpose(1, 2), out=of_embedded[0])
                torch.bmm(theta, grad[clip], out=of_embedded[1])
                of_rows = of_embedded.view(len(weight), -1)
                torch.mm(of_rows.T, weight, out=grad_x[some].flatten(0, 1))
                add_product(grad_weight, of_rows, x[some].flatten(0, 1))
                grad_bias += of_rows.sum(1)
            return grad_weight, grad_bias

        grad_weight, grad_bias = map(sum, zip(*_in_shares(x, ctx.counts, differentiate), strict=True))
        return grad_x, grad_weight, grad_bias, None, None


def _embed_rows(x: Tensor, weight: Tensor, bias: Tensor, subsets: int) -> Tensor:
    """θ and φ of every joint over some frames, (t, V, C) → (2, S, C'·t, V), so that nothing is copied."""
    embedded = torch.addmm(bias.unsqueeze(1), weight, x.flatten(0, 1).T)  # (2·S·C', t·V)
    return embedded.view(2, subsets, -1, x.shape[1])


def gather_joints(x: Tensor, graph: Tensor, frames: Frames, weight: Tensor, bias: Tensor) -> Tensor:
    """Every joint collects from the others along S graphs, and a linear map takes what came: y = Σ_i W_i x G_i + b.

    Args:
        x: (R, V, C).
        graph: (B, S, V, V); graph[b, i, v, w] is how much of joint v comes to joint w.
        weight, bias: (C_out, S·C), the maps W_i side by side, and (C_out,).

    Returns:
        (R, V, C_out).
    """
    rows = graph.permute(0, 3, 1, 2).flatten(1, 2)  # (B, V·S, V): what one joint collects lies together, (S·C)
    if clip_by_clip(x):
        return _GatherByClip.apply(x, rows, weight, bias, frames.counts)
    gathered = frames.pack(rows.to(x.dtype).unsqueeze(1) @ frames.unpack(x))
    return project(gathered.reshape(*x.shape[:2], -1), weight, bias)


class _GatherByClip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, weight: Tensor, bias: Tensor, counts: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(x, rows, weight)
        ctx.counts = counts
        rows, weight, bias = (factor.to(x.dtype) for factor in (rows, weight, bias))
        y = x.new_empty(*x.shape[:2], len(weight))

        def gather(chunks: Sequence[Chunk]) -> None:
            for clip, some in chunks:
                gathered = _to_frames(rows[clip], x[some]).view(-1, weight.shape[1])
                torch.addmm(bias, gathered, weight.T, out=y[some].flatten(0, 1))

        _in_shares(x, counts, gather)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, rows, weight = ctx.saved_tensors
        grad, grad_x, exact = grad.contiguous(), torch.empty_like(x), weight.dtype
        rows, weight = rows.to(x.dtype), weight.to(x.dtype)

        def differentiate(chunks: Sequence[Chunk]) -> tuple[Tensor, Tensor]:
            grad_rows, grad_weight = (torch.zeros_like(factor, dtype=exact) for factor in (rows, weight))
            for clip, some in chunks:
                given, frames = grad[some].flatten(0, 1), x[some]
                gathered = _to_frames(rows[clip], frames).view(-1, weight.shape[1])
                add_product(grad_weight, given.T, gathered)
                torch.mm(given, weight, out=gathered)  # in its place: the gradient of what was gathered
                of_gathered = gathered.view(len(frames), -1, x.shape[2])
                torch.bmm(rows[clip].T.expand(len(frames), -1, -1), of_gathered, out=grad_x[some])
                grad_rows[clip] += torch.bmm(of_gathered, frames.transpose(1, 2)).sum(0)
            return grad_rows, grad_weight

        grad_rows, grad_weight = map(sum, zip(*_in_shares(x, ctx.counts, differentiate), strict=True))
        return grad_x, grad_rows, grad_weight, grad.sum((0, 1)).to(exact), None


def _to_frames(matrix: Tensor, frames: Tensor) -> Tensor:
    """matrix @ frame of each frame; `@` would lay frames and result out anew."""
    return torch.bmm(matrix.expand(len(frames), -1, -1), frames)


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a @ b, of matrices or batches of them, added up in total's type, which may be finer."""
    if total.dtype != a.dtype:
        total += a @ b
    elif total.ndim == 2:
        total.addmm_(a, b)
    else:
        total.baddbmm_(a, b)


def _in_shares(x: Tensor, counts: tuple[int, ...], task: Callable[[Sequence[Chunk]], Result]) -> list[Result]:
    """What `task` gives for shares of the clips' frames, each clip in equal chunks that fit the cache.

    How a clip is cut is its own affair: its rounding errors do not depend on the others in its batch.
    """
    threads, chunks, start = sharers(), [], 0
    for clip, count in enumerate(counts):
        size = max(FEWEST, min(CHUNK // x.shape[2], math.ceil(count / threads)))
        cuts = np.linspace(start, start + count, math.ceil(count / size) + 1).astype(int).tolist()
        chunks += [(clip, slice(begin, end)) for begin, end in pairwise(cuts)]
        start += count
    return in_shares(chunks, [some.stop - some.start for _, some in chunks], task)
