"""Frame-level label refinement: pseudo-labels from the history of the network's own frame probabilities."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from model.change_points import piece_means
from model.similar_pieces import Pieces, propagate, rescaled
from utils import distributed
from utils.config import RefineSettings

MIN_CLASS_MEAN = 1e-6  # smallest mean probability that `balance` divides by


class PseudoLabels:
    """A history of frame probabilities for every training clip. Pseudo-labels are made from their mean.

    The paper's pseudo-label is the mean itself (Yu & Fujiwara 2023). The settings change it further.

    The clips lie one after another on one axis of F frames. What an epoch adds takes effect when the epoch ends.

    Args:
        lengths: (N,) frames of each training clip, in the order of the clips' indices.
        video_labels: (N, K) the classes that each clip is known to contain.
        settings: described in config/base.yaml. `balance` is distribution alignment (ReMixMatch, Berthelot et al. 2020)
            within a clip. Without it, background often has the highest probability, even inside short actions.
            `zero_start`: the mean is over the whole history, as in the released code. The history begins as zeros, and
            a clip that an epoch leaves out keeps its older values. Without `zero_start`, the mean of a clip is over the
            epochs that contained it.
        pieces: P pieces of steady motion (`model.change_points`). All frames of a piece get the mean over the piece, so
            that labels change only between pieces. A piece with neighbours gets their probabilities instead of its own.
            None: no averaging over pieces.
    """

    def __init__(
        self, lengths: Tensor, video_labels: Tensor, settings: RefineSettings, pieces: Pieces | None = None
    ) -> None:
        self.lengths, self.settings, self.pieces = lengths, settings, pieces
        ends = lengths.cumsum(0).tolist()
        self.slices = [slice(end - n, end) for n, end in zip(lengths.tolist(), ends, strict=True)]  # of each clip, in F
        self.allowed = torch.cat([video_labels.bool(), torch.ones(len(lengths), 1, dtype=torch.bool)], dim=1)
        self.history = _lazy_zeros(settings.history, int(lengths.sum()), self.allowed.shape[1])  # (epochs, F, K+1)
        # Which clips each epoch of the history contains
        self.seen = torch.zeros(settings.history, len(lengths), dtype=torch.bool)
        self.by_piece: Tensor | None = None  # (P, K+1) probabilities of the pieces, after an epoch has ended
        self.epochs = 0  # that have ended
        self.added: list[tuple[Tensor, Tensor]] = []

    def add(self, index: Tensor, frame_probs: Tensor) -> None:
        """Keep the frame probabilities (n, T, K+1) of a training batch, on their device. `index` (n,): its clips."""
        self.added.append((index, frame_probs.detach().float()))

    def end_epoch(self) -> None:
        """Replace the oldest epoch of the history with what all ranks added, and update the pieces.

        The values of a clip that was added several times are averaged.
        """
        current, times = _lazy_zeros(*self.history.shape[1:]), torch.zeros_like(self.lengths)
        flat = [frame_probs.flatten(0, 1) for _, frame_probs in self.added]
        on_cpu = torch.cat(flat).cpu().split([len(part) for part in flat])  # one copy, one wait
        for (index, on_device), part in zip(self.added, on_cpu, strict=True):
            for clip, probs in zip(index.tolist(), part.view_as(on_device), strict=True):
                current[self.slices[clip]] += probs[: int(self.lengths[clip])]
                times[clip] += 1
        self.added.clear()
        current, times = distributed.all_reduce(current), distributed.all_reduce(times)
        for clip in (times > 1).nonzero().flatten().tolist():  # your own batches may repeat a clip
            current[self.slices[clip]] /= times[clip]
        seen = times > 0
        slot = self.epochs % len(self.history)
        if self.settings.zero_start:  # clips that are not in this epoch keep their older values
            replaced = seen.repeat_interleave(self.lengths)
            self.history[slot, replaced] = current[replaced]
        else:  # the zeros of clips that are not in this epoch do not count in `_mean`
            self.history[slot] = current
        self.seen[slot] = seen
        self.epochs += 1
        self._update_pieces()

    def labelled(self) -> Tensor:
        """Which clips have pseudo-labels, (N,) bool."""
        return torch.ones_like(self.seen[0]) if self.settings.zero_start else self.seen.any(0)

    def batch(self, index: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Pseudo-labels (n, T, K+1) of the clips `index`, zero-padded to `frames`, and which clips have any (n,)."""
        labels = torch.zeros(len(index), frames, self.history.shape[-1])
        labelled = self.labelled()[index]
        for row, clip in enumerate(index.tolist()):
            if labelled[row]:
                labels[row, : int(self.lengths[clip])] = self._label(clip)
        return labels, labelled

    def confidence(self) -> Tensor:
        """The highest class probability in each frame's pseudo-label, for all frames of the clips that have one."""
        clips = self.labelled().nonzero().flatten().tolist()
        return torch.cat([self._label(clip).amax(-1) for clip in clips])

    def state_dict(self) -> dict[str, Tensor | int]:
        """All that a resumed run needs. Call this only between epochs."""
        return {"history": self.history, "seen": self.seen, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Continue from a `state_dict` of the same clips, classes and length of history."""
        self.history.copy_(state["history"])
        self.seen.copy_(state["seen"])
        self.epochs = int(state["epochs"])
        self._update_pieces()

    def _mean(self, clip: int) -> Tensor:
        """The mean (T, K+1) over the history of a clip that has a pseudo-label."""
        past = self.history[:, self.slices[clip]]
        return past.mean(0) if self.settings.zero_start else past[self.seen[:, clip]].mean(0)

    def _update_pieces(self) -> None:
        """Compute the probabilities of all pieces from the history."""
        if self.pieces is None:
            return
        clips = self.labelled().nonzero().flatten().tolist()
        means = torch.zeros_like(self.history[0])
        for clip in clips:
            means[self.slices[clip]] = self._mean(clip)
        self.by_piece = piece_means(means, self.pieces.of_frame)
        if self.pieces.neighbours.shape[1]:
            self.by_piece = propagate(self.by_piece, self.allowed[self.pieces.clip], self.pieces.neighbours)

    def _label(self, clip: int) -> Tensor:
        """The pseudo-label (T, K+1) of a clip that has one."""
        label = self._mean(clip) if self.pieces is None else self.by_piece[self.pieces.of_frame[self.slices[clip]]]
        if self.settings.mask_absent:
            label = rescaled(label * self.allowed[clip])
        if self.settings.balance:
            label = rescaled(label / label.mean(0).clamp(min=MIN_CLASS_MEAN))
        return label if self.settings.sharpen == 1 else rescaled(label**self.settings.sharpen)


class FrameLabels(PseudoLabels):
    """True frame labels in place of pseudo-labels: the fully-supervised upper bound.

    The history is not used. It is kept so that the checkpoint has the same entries.

    Args:
        labels: (T, K) bool of each training clip. The classes of a frame get equal probabilities.
    """

    def __init__(self, labels: Sequence[Tensor], settings: RefineSettings) -> None:
        lengths = torch.tensor([len(frames) for frames in labels])
        super().__init__(lengths, torch.stack([frames.any(0) for frames in labels]), settings)
        targets = (torch.cat([frames, ~frames.any(1, keepdim=True)], dim=1).float() for frames in labels)
        self.targets = [target / target.sum(1, keepdim=True) for target in targets]

    def labelled(self) -> Tensor:
        """All clips have labels, (N,) bool."""
        return torch.ones_like(self.seen[0])

    def _label(self, clip: int) -> Tensor:
        return self.targets[clip]


def _lazy_zeros(*shape: int) -> Tensor:
    """Zeros that take memory only where they are written to. torch.zeros would take 0.9 GB for BABEL at once."""
    return torch.from_numpy(np.zeros(shape, np.float32))
