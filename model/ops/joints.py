"""Affinity of joints, and features mixed along the graphs between joints.

Features are (N, C, T, V), mostly channels-last in memory. `affinity` and `mix_joints` each have two implementations:
plain PyTorch for GPUs and torch.compile, and one for CPUs. The code for CPUs works on a chunk of a clip's frames at a
time, so that intermediate results stay in the cache. The backward pass computes these results again. This is as fast as
reading them, and halves the memory.

A long sum in bfloat16 loses small terms. The affinity is a sum over frames and channels. So its parts are added in
float32. On a CPU, a part covers a chunk of frames. On a GPU, it covers one channel and all frames.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.ops.padding import real_lengths, use_cpu_path, zero_beyond

CHUNK, MIN_CHUNK_FRAMES = 4096, 32  # channels × frames in a chunk, and the minimum number of frames


def affinity(x: Tensor, weight: Tensor, bias: Tensor, graphs: int, mask: Tensor | None) -> Tensor:
    """How similar joints v and w of a clip are: softmax over v of Σ_t θ(v)·φ(w) / (C'·real frames) (2s-AGCN).

    Args:
        x: (N, C, T, V), zeros in the padding.
        weight, bias: (2·S·C', C) and (2·S·C',): the S linear maps θ, then the S maps φ, to C' channels each.
        graphs: S.
        mask: (N, T) real frames, or None where all are.

    Returns:
        (N, S, V, V); each column sums to 1.
    """
    size = len(weight) // (2 * graphs)  # C'
    if use_cpu_path(x):
        scores = _ScoreByClip.apply(_channels_last(x), weight, bias, graphs, real_lengths(x, mask))
    else:
        N, _, T, V = x.shape
        channels = x.permute(0, 2, 3, 1).flatten(0, 2).T  # (C, N·T·V)
        embedded = torch.addmm(bias.unsqueeze(1), weight, channels)  # (2·S·C', N·T·V)
        theta, phi = embedded.view(2, graphs, size, N, T, V)  # each (S, C', N, T, V)
        # In a padded frame, θ and φ are their biases. So the frame adds the same number to all scores of a clip and
        # graph, and the softmax ignores this number.
        # One product for each channel: a single sum over channels and frames would use only a small part of a GPU.
        products = theta.mT @ phi  # (S, C', N, V, V)
        scores = products.sum(1, dtype=weight.dtype).transpose(0, 1)  # (N, S, V, V)
    lengths = x.shape[2] if mask is None else mask.sum(1).view(-1, 1, 1, 1)
    return (scores / (size * lengths)).softmax(dim=2)


def mix_joints(x: Tensor, graph: Tensor, weight: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
    """Mix the joints' features along S graphs, then map the channels of each mixture: y = Σ_s W_s x G_s + b.

    Args:
        x: (N, C, T, V), zeros in the padding.
        graph: (N, S, V, V); graph[n, s, v, w] is the weight of joint v in joint w.
        weight, bias: (C_out, S·C) and (C_out,): the maps W_s side by side.
        mask: (N, T) real frames, or None where all are.

    Returns:
        (N, C_out, T, V). Its padding holds no meaningful values.
    """
    graph_rows = graph.permute(0, 3, 1, 2).flatten(1, 2)  # (N, V·S, V); row w·S + s is column w of graph s
    if use_cpu_path(x):
        y = _MixByClip.apply(_channels_last(x), graph_rows, weight, bias, real_lengths(x, mask))
    else:
        mixed = graph_rows.unsqueeze(1) @ x.permute(0, 2, 3, 1)  # (N, T, V·S, C)
        y = F.linear(mixed.view(*mixed.shape[:2], x.shape[3], weight.shape[1]), weight, bias)
    return y.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    """(N, C, T, V) → (N, T, V, C), in bfloat16 under autocast. Autocast itself converts no input of our functions."""
    cast = torch.is_autocast_enabled("cpu") and x.dtype == torch.float32
    return x.permute(0, 2, 3, 1).to(torch.get_autocast_dtype("cpu") if cast else x.dtype)


def _chunks(frames: Tensor, lengths: list[int]) -> Iterator[tuple[int, Tensor, slice]]:
    """Chunks of each clip's real frames: the clip's index, the frames (t, V, C), and where in the clip they lie."""
    size = max(MIN_CHUNK_FRAMES, CHUNK // frames.shape[3])
    for n, length in enumerate(lengths):
        for start in range(0, length, size):
            chunk = slice(start, min(start + size, length))
            yield n, frames[n, chunk], chunk


class _ScoreByClip(torch.autograd.Function):
    """x (N, T, V, C) → the sums over time of θ(v)·φ(w), (N, S, V, V)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, graphs: int, lengths: list[int]) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.graphs, ctx.lengths = graphs, lengths
        scores = weight.new_zeros(len(x), graphs, x.shape[2], x.shape[2])
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
        for n, frames, _ in _chunks(x, lengths):
            theta, phi = _embed(frames, weight, bias, graphs)
            scores[n] += theta.mT @ phi
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        grad_x, grad_weight, grad_bias = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(bias)
        grad, weight, bias = grad.to(x.dtype), weight.to(x.dtype), bias.to(x.dtype)
        for n, frames, chunk in _chunks(x, ctx.lengths):
            theta, phi = _embed(frames, weight, bias, ctx.graphs)
            grad_embedded = theta.new_empty(2, *theta.shape)
            torch.bmm(phi, grad[n].mT, out=grad_embedded[0])
            torch.bmm(theta, grad[n], out=grad_embedded[1])
            grad_channels = grad_embedded.view(len(weight), -1)  # (2·S·C', t·V)
            torch.mm(grad_channels.T, weight, out=grad_x[n, chunk].flatten(0, 1))  # a view, so grad_x is written
            grad_weight += grad_channels @ frames.flatten(0, 1)
            grad_bias += grad_channels.sum(1)
        return zero_beyond(grad_x, ctx.lengths), grad_weight, grad_bias, None, None


def _embed(frames: Tensor, weight: Tensor, bias: Tensor, graphs: int) -> Tensor:
    """θ and φ of every joint in the frames (t, V, C): → (2, S, C'·t, V)."""
    embedded = torch.addmm(bias.unsqueeze(1), weight, frames.flatten(0, 1).T)  # (2·S·C', t·V)
    return embedded.view(2, graphs, -1, frames.shape[1])


class _MixByClip(torch.autograd.Function):
    """x (N, T, V, C), graph_rows (N, V·S, V) as in `mix_joints` → y (N, T, V, C_out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, graph_rows: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
        ctx.save_for_backward(x, graph_rows, weight)
        ctx.lengths = lengths
        graph_rows, weight, bias = (factor.to(x.dtype) for factor in (graph_rows, weight, bias))
        y = x.new_empty(*x.shape[:3], len(weight))
        for n, frames, chunk in _chunks(x, lengths):
            torch.addmm(bias, _mix(graph_rows[n], frames), weight.T, out=y[n, chunk].flatten(0, 1))
        return zero_beyond(y, lengths)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, graph_rows, weight = ctx.saved_tensors
        grad, grad_x = grad.contiguous(), torch.empty_like(x)
        grad_graph, grad_weight = torch.zeros_like(graph_rows), torch.zeros_like(weight)
        graph_rows, weight = graph_rows.to(x.dtype), weight.to(x.dtype)
        for n, frames, chunk in _chunks(x, ctx.lengths):
            grad_y, mixed = grad[n, chunk].flatten(0, 1), _mix(graph_rows[n], frames)
            grad_weight += grad_y.T @ mixed
            torch.mm(grad_y, weight, out=mixed)  # the gradient of `mixed`, in its memory
            grad_mixed = mixed.view(len(frames), -1, x.shape[3])
            torch.bmm(graph_rows[n].T.expand(len(frames), -1, -1), grad_mixed, out=grad_x[n, chunk])
            grad_graph[n] += torch.bmm(grad_mixed, frames.mT).sum(0)
        grad_bias = grad.sum((0, 1, 2)).to(grad_weight.dtype)
        return zero_beyond(grad_x, ctx.lengths), grad_graph, grad_weight, grad_bias, None


def _mix(graph_rows: Tensor, frames: Tensor) -> Tensor:
    """graph_rows (V·S, V) @ each of the frames (t, V, C) → (t·V, S·C). Unlike `@`, bmm copies nothing."""
    graphs = len(graph_rows) // frames.shape[1]
    return torch.bmm(graph_rows.expand(len(frames), -1, -1), frames).view(-1, graphs * frames.shape[2])
