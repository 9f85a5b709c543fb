"""A run's curves and pictures for TensorBoard."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary

from utils.atomic import append


class Board:
    """Writes one step an epoch; what an interrupted run wrote from `first_epoch` on is struck out.

    TensorBoard's own writer works in a thread, where a full disk ends in a traceback and is noticed late or never.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        before = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*")]
        stamp = max([int(time.time()), *(int(text) + 1 for text in before if text.isdecimal())])
        self.path = folder / f"events.out.tfevents.{stamp:010}.{socket.gethostname()}"  # read in order of their names
        strike_out = SessionLog(status=SessionLog.START)
        self._write(Event(file_version="brain.Event:2"), Event(step=first_epoch, session_log=strike_out))

    def scalars(self, row: dict[str, Any]) -> None:
        """Every number of an epoch's row, under its keys joined by "/"; `row["epoch"]` is the step."""
        numbers = ((tag, value) for tag, value in _numbers(row, "") if tag != "epoch")
        self._write(*(Event(step=row["epoch"], summary=summary.scalar(tag, value)) for tag, value in numbers))

    def picture(self, tag: str, image: np.ndarray, epoch: int) -> None:
        """A picture (H, W, 3) uint8."""
        self._write(Event(step=epoch, summary=summary.image(tag, image, dataformats="HWC")))

    def _write(self, *events: Event) -> None:
        buffer = io.BytesIO()
        for event in events:
            event.wall_time = time.time()
            RecordWriter(buffer).write(event.SerializeToString())
        append(self.path, buffer.getvalue())


def _numbers(entries: dict[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in entries.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", value
