"""Frame-level label refinement: pseudo-labels from the history of the network's own frame probabilities."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from utils import distributed

LEAST = 1e-6  # a class whose share of a clip is below it is not scaled up


class PseudoLabels:
    """The last epochs' frame probabilities of every training clip, and their mean (Yu & Fujiwara 2023).

    All clips lie end to end on one axis of F frames. What an epoch records takes effect when the epoch ends.

    Args:
        lengths: (N,) frames of each training clip, in the order of the clips' indices.
        video_labels: (N, K) the classes that each clip is known to contain.
        history: number of epochs averaged.
        mask_absent: keep only a clip's own classes and background, and rescale to a sum of 1.
        balance: divide each of these classes by its mean over the clip first: distribution alignment (ReMixMatch,
            Berthelot et al. 2020) within a clip, towards equal shares of its time. Every action in a clip's list
            occurs in it; without this, background, which is in every clip, takes over.
        sharpen: power that pseudo-labels are raised to before the last rescaling (1: as they are).
        zero_start: as released: always divide by `history`, with zeros for epochs in which a clip was not seen,
            and what lay in the ring before where the ring had come round. Pseudo-labels then may not sum to 1.
    """

    def __init__(
        self,
        lengths: Tensor,
        video_labels: Tensor,
        history: int,
        mask_absent: bool = True,
        zero_start: bool = False,
        balance: bool = False,
        sharpen: float = 1.0,
    ) -> None:
        self.lengths = lengths
        self.start = lengths.cumsum(0) - lengths
        F, classes = int(lengths.sum()), video_labels.shape[1] + 1
        self.allowed = torch.cat([video_labels.bool(), torch.ones(len(lengths), 1, dtype=torch.bool)], dim=1)
        self.mask_absent = mask_absent
        self.zero_start = zero_start
        self.balance, self.sharpen = balance, sharpen
        self.ring = _untouched_zeros(history, F, classes)
        self.seen = torch.zeros(history, len(lengths), dtype=torch.bool)  # slot holds this clip's probabilities
        self.epochs = 0
        self._open_slot()

    def record(self, index: Tensor, frame_probs: Tensor) -> None:
        """Note a training batch's frame probabilities (n, T, K+1) of the clips `index` (n,)."""
        frame_probs = frame_probs.detach().float().cpu()
        for clip, probs in zip(index.tolist(), frame_probs, strict=True):
            length = int(self.lengths[clip])
            self.current[self._place(clip)] = probs[:length]
            self.current_seen[clip] = True

    def end_epoch(self) -> None:
        """Put what was recorded, by any rank, into the ring, in place of the oldest epoch."""
        distributed.add_up(self.current)  # a clip was seen by one rank, its rows are zeros on the others
        self.current_seen = distributed.add_up(self.current_seen.int()).bool()
        slot = self.epochs % len(self.ring)
        if self.zero_start:
            rows = self.current_seen.repeat_interleave(self.lengths)
            self.ring[slot, rows] = self.current[rows]
        else:
            self.ring[slot] = self.current
            self.seen[slot] = self.current_seen
        self.epochs += 1
        self._open_slot()

    def known(self) -> Tensor:
        """Which clips have pseudo-labels, (N,) bool."""
        return torch.ones(len(self.lengths), dtype=torch.bool) if self.zero_start else self.seen.any(0)

    def batch(self, index: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Pseudo-labels (n, T, K+1) of the clips `index`, zero-padded to `frames`, and which clips have any (n,)."""
        labels = torch.zeros(len(index), frames, self.ring.shape[-1])
        known = torch.ones(len(index), dtype=torch.bool)
        for row, clip in enumerate(index.tolist()):
            mean = self._mean(clip)
            known[row] = mean is not None
            if mean is not None:
                labels[row, : len(mean)] = mean
        return labels, known

    def confidence(self) -> Tensor:
        """The highest class probability of every frame's pseudo-label, (F,), of the clips that have one."""
        means = (self._mean(clip) for clip in range(len(self.lengths)))
        return torch.cat([self.ring.new_empty(0), *(mean.amax(-1) for mean in means if mean is not None)])

    def state_dict(self) -> dict[str, Tensor | int]:
        """All that a resumed run needs; taken between epochs."""
        return {"ring": self.ring, "seen": self.seen, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Go on from `state_dict`.

        Raises:
            ValueError: the state is of other clips, classes or history.
        """
        if state["ring"].shape != self.ring.shape or state["seen"].shape != self.seen.shape:
            raise ValueError(
                f"pseudo-label history of shape {tuple(state['ring'].shape)} for {state['seen'].shape[-1]} clips, "
                f"expected {tuple(self.ring.shape)} for {self.seen.shape[-1]}"
            )
        self.ring.copy_(state["ring"])
        self.seen.copy_(state["seen"])
        self.epochs = int(state["epochs"])
        self._open_slot()

    def _open_slot(self) -> None:
        self.current = _untouched_zeros(*self.ring.shape[1:])
        self.current_seen = torch.zeros(len(self.lengths), dtype=torch.bool)

    def _place(self, clip: int) -> slice:
        start = int(self.start[clip])
        return slice(start, start + int(self.lengths[clip]))

    def _mean(self, clip: int) -> Tensor | None:
        """(T, K+1), or None for a clip that no epoch has seen."""
        past = self.ring[:, self._place(clip)]
        if self.zero_start:
            mean = past.mean(0)
        else:
            seen = self.seen[:, clip]
            if not seen.any():
                return None
            mean = past[seen].mean(0)
        if self.mask_absent:
            mean = _shares(mean * self.allowed[clip])
        if self.balance:
            mean = _shares(mean / mean.mean(0).clamp(min=LEAST))
        return mean if self.sharpen == 1 else _shares(mean**self.sharpen)


def _untouched_zeros(*shape: int) -> Tensor:
    """Zeros that take up memory only from when they are written to, unlike PyTorch's; of BABEL it would be 0.7 GB."""
    return torch.from_numpy(np.zeros(shape, np.float32))


def _shares(weights: Tensor) -> Tensor:
    """(T, K+1) rescaled to a sum of 1 over classes."""
    return weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)


class FrameLabels(PseudoLabels):
    """True frame labels in place of pseudo-labels: the fully-supervised upper bound. The history is kept beside them.

    Args:
        labels: (T, K) bool of each training clip; a frame under several classes is shared between them.
    """

    def __init__(self, labels: list[Tensor], history: int) -> None:
        lengths = torch.tensor([len(frames) for frames in labels])
        video_labels = torch.stack([frames.any(0) for frames in labels])
        super().__init__(lengths, video_labels, history)
        targets = (torch.cat([frames, ~frames.any(1, keepdim=True)], dim=1).float() for frames in labels)
        self.targets = [target / target.sum(1, keepdim=True) for target in targets]

    def known(self) -> Tensor:
        """All clips have labels, (N,) bool."""
        return torch.ones(len(self.lengths), dtype=torch.bool)

    def _mean(self, clip: int) -> Tensor:
        return self.targets[clip]
