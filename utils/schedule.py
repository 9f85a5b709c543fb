"""The learning rate of each epoch, and a warning when a resumed run changes it."""

from __future__ import annotations

import math

from utils.config import TrainSettings


def learning_rate(train: TrainSettings, epoch: int) -> float:
    """Adam's learning rate in an epoch, from 0: constant, or along half a cosine (Loshchilov & Hutter 2017)."""
    if train.schedule == "constant":
        return train.learning_rate
    return train.learning_rate * (1 + math.cos(math.pi * epoch / train.epochs)) / 2


def warn_of_new_schedule(before: int, train: TrainSettings, epoch: int) -> None:
    """Warn that the learning rate of a resumed run jumps, because train.epochs was `before` and has changed.

    `epoch` is the next one, from 0. Nothing is printed if the rate does not jump or no epoch is left.
    """
    if train.schedule == "constant" or train.epochs == before or train.epochs == epoch:
        return
    old = learning_rate(train.model_copy(update={"epochs": before}), epoch - 1)
    print(
        f"warning: train.epochs was {before} and is {train.epochs}: the cosine schedule moves the learning rate from "
        f"{old:.3g} in epoch {epoch} to {learning_rate(train, epoch):.3g} in epoch {epoch + 1}. "
        f"The result differs from that of a run that had {train.epochs} epochs from its start"
    )
