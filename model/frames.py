"""Which frames of a padded batch are real, at every temporal stride: the mask that travels with the tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frames:
    """The real frames of a batch of B clips laid out on T frames each, real ones first.

    lengths: (B,) int64, real frames of each clip.
    mask:    (B, T) bool, true where a frame is real.
    real:    (R,) int64, the places of the real frames in the flattened (B·T,) axis; None when every frame
             counts as real, and then nothing has to be masked.
    """

    lengths: Tensor
    mask: Tensor
    real: Tensor | None

    @classmethod
    def of(cls, mask: Tensor) -> Frames:
        """Read a (B, T) bool mask whose real frames come first in every row."""
        everything = bool(mask.all())
        return cls(mask.sum(1), mask, None if everything else mask.flatten().nonzero().squeeze(1))

    @classmethod
    def all(cls, batch: int, frames: int, device: torch.device) -> Frames:
        """Every one of `batch` × `frames` frames counts, padding too (what the released code does)."""
        return cls.of(torch.ones(batch, frames, dtype=torch.bool, device=device))

    def stride(self, step: int) -> Frames:
        """The frames that a convolution of this stride keeps: 0, step, 2·step, … of each clip."""
        return self if step == 1 else Frames.of(self.mask[:, ::step])

    def repeat(self, times: int) -> Frames:
        """Each clip `times` times in a row: one for each person."""
        return self if times == 1 else Frames.of(self.mask.repeat_interleave(times, dim=0))

    def pack(self, x: Tensor) -> Tensor:
        """Real frames only: (B, T, ...) → (R, ...)."""
        x = x.flatten(0, 1)
        return x if self.real is None else x.index_select(0, self.real)

    def unpack(self, x: Tensor) -> Tensor:
        """Back to their places, zeros in the padding: (R, ...) → (B, T, ...)."""
        B, T = self.mask.shape
        if self.real is not None:
            x = x.new_zeros(B * T, *x.shape[1:]).index_copy(0, self.real, x)
        return x.unflatten(0, (B, T))
