"""The learning rate of each epoch."""

import math

from utils.config import TrainSettings


def learning_rate(train: TrainSettings, epoch: int) -> float:
    """Adam's learning rate in an epoch, counted from 0. Constant, or half a cosine wave (Loshchilov & Hutter 2017)."""
    if train.schedule == "constant":
        return train.learning_rate
    return train.learning_rate * (1 + math.cos(math.pi * epoch / train.epochs)) / 2
