"""Which frames of a padded batch are real, at every temporal stride.

Two layouts of a batch of B clips: padded, (B, T, ...), real frames first in every row; and packed, (R, ...), the real
frames of one clip after the other and no padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Frames:
    """The real frames of B clips.

    mask:   (B, T) bool, true where a frame is real.
    counts: real frames of each clip; they add up to R.
    """

    mask: Tensor
    counts: tuple[int, ...]

    @classmethod
    def of(cls, mask: Tensor) -> Frames:
        """Read a (B, T) bool mask whose real frames come first in every row."""
        return cls(mask, tuple(mask.sum(1).tolist()))

    @classmethod
    def all(cls, batch: int, frames: int, device: torch.device) -> Frames:
        """Every one of `batch` × `frames` frames counts, padding too (what the released code does)."""
        return cls(torch.ones(batch, frames, dtype=torch.bool, device=device), (frames,) * batch)

    @cached_property
    def lengths(self) -> Tensor:
        """(B,) int64: the counts, on the mask's device."""
        return torch.tensor(self.counts, dtype=torch.int64, device=self.mask.device)  # of no clip too

    @cached_property
    def _places(self) -> Tensor | None:
        """(R,) places of the real frames among the B·T; None when all are real."""
        everything = sum(self.counts) == self.mask.numel()
        return None if everything else self.mask.flatten().nonzero().squeeze(1)

    def stride(self, step: int) -> Frames:
        """The frames that a convolution of this stride keeps: 0, step, 2·step, … of each clip."""
        if step == 1:
            return self
        return Frames(self.mask[:, ::step], tuple(-(-count // step) for count in self.counts))

    def repeat(self, times: int) -> Frames:
        """Each clip `times` times in a row: one for each person."""
        if times == 1:
            return self
        counts = tuple(count for count in self.counts for _ in range(times))
        return Frames(self.mask.repeat_interleave(times, dim=0), counts)

    def pack(self, x: Tensor) -> Tensor:
        """Real frames only: (B, T, ...) → (R, ...)."""
        x = x.flatten(0, 1)
        return x if self._places is None else x.index_select(0, self._places)

    def unpack(self, x: Tensor) -> Tensor:
        """Back to their places, zeros in the padding: (R, ...) → (B, T, ...)."""
        B, T = self.mask.shape
        if self._places is not None:
            x = x.new_zeros(B * T, *x.shape[1:]).index_copy(0, self._places, x)
        return x.unflatten(0, (B, T))

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Packed frames clip by clip: (R, ...) → B views (count, ...)."""
        return x.split(self.counts)

    def keep(self, x: Tensor, step: int) -> Tensor:
        """Packed frames 0, step, 2·step, … of each clip: (R, ...) → (R', ...)."""
        return x if step == 1 else torch.cat([x[:0], *(clip[::step] for clip in self.split(x))])  # a rank may have none


def clip_by_clip(x: Tensor) -> bool:
    """Whether packed clips are worked on one by one where they lie: on a CPU; a GPU takes them at once, padded."""
    return x.device.type == "cpu"
