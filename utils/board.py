"""A run's curves and pictures for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter


class Board:
    """Writes one step an epoch; what an interrupted run wrote beyond `first_epoch` is struck out."""

    def __init__(self, folder: Path, first_epoch: int) -> None:
        self.writer = SummaryWriter(folder, purge_step=first_epoch or None)

    def scalars(self, row: dict[str, Any]) -> None:
        """Every number of an epoch's row, under its keys joined by "/"; `row["epoch"]` is the step."""
        for tag, value in _numbers(row, ""):
            if tag != "epoch":
                self.writer.add_scalar(tag, value, row["epoch"])
        self.writer.flush()

    def picture(self, tag: str, image: np.ndarray, epoch: int) -> None:
        """A picture (H, W, 3) uint8."""
        self.writer.add_image(tag, image, epoch, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        """Finish the files."""
        self.writer.close()


def _numbers(entries: dict[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in entries.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", value
