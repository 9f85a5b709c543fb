"""Score clips and long recordings with a trained network."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from model.change_points import piece_means, piece_numbers
from model.localizer import Localizer
from model.mil_head import interpolate
from utils.config import EvalSettings

OVERLAP = 0.25  # of neighbouring windows, as a fraction of the longest allowed window


def for_inference(model: Localizer) -> Localizer:
    """A copy of a network for evaluation only, with each batch norm merged into the layer before it.

    The class of a module names this layer in `bn_follows`. A module without this attribute stays as it is. So does a
    module whose class inherits it, because its `forward` may differ. In evaluation a batch norm is an affine map of
    each channel, so the scores are the same up to rounding.
    """
    merged = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    for parent in list(merged.modules()):
        if name := vars(type(parent)).get("bn_follows"):
            layer, bn = getattr(parent, name), parent.bn
            layer.weight, layer.bias = fuse_conv_bn_weights(
                layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
            )
            parent.bn = MergedBatchNorm()
    return merged


class MergedBatchNorm(nn.Module):
    """Returns its input, because the layer before it now includes the batch norm."""

    def forward(self, x: Tensor, _: Tensor | None = None) -> Tensor:
        return x


@torch.inference_mode()
def score_clips(
    model: Localizer, batches: Iterable, device: torch.device, change_penalty: float = 0
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Score every clip of `batches`. The scores are those of the first head.

    Yields the clip's index in the data set, and its frame_probs (T, K+1) without padding and video_probs (K+1,).
    With a `change_penalty` above 0, probabilities are averaged over pieces of steady motion (model/change_points.py).
    """
    network = for_inference(model)
    for batch in batches:
        moved = batch.to(device)
        view = network(moved.joints, moved.mask, moved.lengths).views[0]
        frame_probs, video_probs = (probs.float().cpu() for probs in (view.frame_probs, view.video_probs))
        for n, (index, length) in enumerate(zip(batch.index.tolist(), batch.lengths.tolist(), strict=True)):
            probs = over_pieces(frame_probs[n, :length], batch.joints[n, :, :length], change_penalty)
            yield index, (probs.numpy(), video_probs[n].numpy())


def over_pieces(probs: Tensor, joints: Tensor, change_penalty: float) -> Tensor:
    """Probabilities (T, K+1), averaged over pieces of steady motion of joints (C, T, V, M) if the penalty is not 0."""
    if not change_penalty:
        return probs
    numbers = piece_numbers(joints, change_penalty)
    return piece_means(probs, numbers)[numbers]


class Scores(NamedTuple):
    """Scores of a recording."""

    frame_probs: np.ndarray  # (T, K+1), background last
    # frame_probs, but 0 for a class whose video probability in the window is below eval.min_video_score
    gated: np.ndarray
    video_probs: np.ndarray  # (K+1,), the maximum over the windows
    features: np.ndarray | None  # (T, C) of the backbone, interpolated to every frame


def windows(frames: int, longest: int) -> list[tuple[int, int]]:
    """Windows [start, end) of equal length, at most `longest`, that cover `frames`. Only neighbours overlap."""
    if frames <= longest:
        return [(0, frames)]
    overlap = int(OVERLAP * longest)
    count = math.ceil((frames - overlap) / (longest - overlap))
    length = math.ceil((frames + (count - 1) * overlap) / count)
    starts = [i * (frames - length) // (count - 1) for i in range(count)]
    return [(start, start + length) for start in starts]


@torch.inference_mode()
def score_recording(
    model: Localizer,
    read_window: Callable[[int, int], Tensor],
    frames: int,
    longest_window: int,
    settings: EvalSettings,
    device: torch.device,
    frame_step: int = 1,
    features: bool = True,
) -> Scores:
    """Score a recording of any length, window by window. Sets evaluation mode.

    A recording of at most `longest_window` frames is one window and gets the scores that evaluation gives a clip. A
    longer one is cut into windows, and each window is scored as a clip of its own. Where two windows overlap, their
    scores are cross-faded linearly.

    Args:
        read_window: gives the network's input (C, T, V, M) for the frames [start, end).
        settings: two are used. `min_video_score` is explained in `Scores`, `change_penalty` in `score_clips`.
        frame_step: the network sees every frame_step-th frame.
        features: whether to return features.
    """
    model.eval()
    outputs: list[np.ndarray] = []  # of all frames: frame_probs, gated and, if wanted, features
    video_probs, scored = [], 0  # scored: number of frames that have scores so far
    for start, end in windows(frames, longest_window):
        video, *in_window = _score(model, read_window(start, end), settings, device, frame_step, features)
        outputs = outputs or [np.empty((frames, rows.shape[1]), rows.dtype) for rows in in_window]
        overlap = scored - start  # number of frames that the window before has scored, too
        fade = ((np.arange(overlap, dtype=np.float32) + 0.5) / overlap)[:, None]  # empty without an overlap
        for output, rows in zip(outputs, in_window, strict=True):
            output[start:scored] = (1 - fade) * output[start:scored] + fade * rows[:overlap]
            output[scored:end] = rows[overlap:]
        video_probs.append(video)
        scored = end
    frame_probs, gated, *rest = outputs
    return Scores(frame_probs, gated, np.max(video_probs, axis=0), rest[0] if features else None)


def every_frame(rows: np.ndarray, step: int, frames: int) -> np.ndarray:
    """Rows (T', K) of every step-th frame, interpolated linearly to all T frames. The last row is kept to the end."""
    if step == 1:
        return rows
    columns = [np.interp(np.arange(frames) / step, np.arange(len(rows)), column) for column in rows.T]
    return np.stack(columns, axis=1).astype(rows.dtype)


def _score(
    model: Localizer, joints: Tensor, settings: EvalSettings, device: torch.device, step: int, features: bool
) -> tuple[np.ndarray, ...]:
    """video_probs, frame_probs, gated and, if wanted, features of one window (C, T, V, M)."""
    frames = joints.shape[1]
    joints = joints[:, ::step]
    T = joints.shape[1]
    lengths = torch.full((1,), T, device=device)
    output = model(joints.unsqueeze(0).to(device), torch.ones(1, T, dtype=torch.bool, device=device), lengths)
    view = output.views[0]
    frame_probs, video_probs = (probs[0].float().cpu() for probs in (view.frame_probs, view.video_probs))
    frame_probs = over_pieces(frame_probs, joints, settings.change_penalty)
    parts = [frame_probs, frame_probs * (video_probs >= settings.min_video_score)]
    if features:
        own = torch.full_like(lengths, output.features.shape[1])
        parts.append(interpolate(output.features, own, lengths, T)[0].float().cpu())
    return video_probs.numpy(), *(every_frame(part.numpy(), step, frames) for part in parts)
