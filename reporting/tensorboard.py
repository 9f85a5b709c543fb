"""A run for TensorBoard: curves, pictures, distributions, precision by recall, its settings beside its result."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary

from utils import config
from utils.atomic import append
from utils.config import Settings

RESULTS = ("corrected/mAP", "released/mAP", "corrected/classification_mAP", "corrected/frame_accuracy")
NO_HYPER_PARAMETERS = {"data.root", "data.workers"}  # settings that change no result
BINS = np.linspace(0, 1, 41)
ABOUT = {  # the beginning of a tag: what TensorBoard says about it
    "loss": "Mean of this term of the loss over the epoch's batches.",
    "corrected": "Validation clips by the corrected evaluation, in percent; mAP is averaged over the tIoUs.",
    "released": "Validation clips by the released code's evaluation, in percent, to be compared with published tables.",
    "time_line": "A validation clip, the same each epoch: truth (hatched) above detections, then frame probabilities.",
    "confusion": "Percent of each true class's frames in the validation clips, by their most probable class.",
    "precision_recall": "Precision (upwards) by recall (to the right) over thresholds on the frame probability: frames "
    "of the validation clips, this class against the rest.",
    "pseudo-label confidence": "The highest class probability of each training frame's pseudo-label.",
}


class Board:
    """Writes one step an epoch; what an interrupted run wrote from `first_epoch` on is struck out.

    TensorBoard's own writer works in a thread, where a full disk ends in a traceback and is noticed late or never.
    """

    def __init__(self, folder: Path, settings: Settings, first_epoch: int) -> None:
        before = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*")]
        stamp = max([int(time.time()), *(int(text) + 1 for text in before if text.isdecimal())])
        self.path = folder / f"events.out.tfevents.{stamp:010}.{socket.gethostname()}"  # read in order of their names
        strike_out = SessionLog(status=SessionLog.START)
        self._write(Event(file_version="brain.Event:2"), Event(step=first_epoch, session_log=strike_out))
        given, usual = _hyper_parameters(settings), _hyper_parameters(config.load())
        experiment, begin, self._end = summary.hparams(given, dict.fromkeys(RESULTS, 0))
        unusual = {name for name in given if given[name] != usual[name]}
        self._write(Event(summary=_with_first(experiment, unusual)), Event(summary=begin))

    def scalars(self, row: dict[str, Any]) -> None:
        """Every number of an epoch's row, under its keys joined by "/"; `row["epoch"]` is the step."""
        numbers = ((tag, value) for tag, value in _numbers(row, "") if tag != "epoch")
        self._write(*(Event(step=row["epoch"], summary=summary.scalar(tag, value)) for tag, value in numbers))

    def picture(self, tag: str, image: np.ndarray, epoch: int) -> None:
        """A picture (H, W, 3) uint8."""
        self._write(Event(step=epoch, summary=summary.image(tag, image, dataformats="HWC")))

    def distribution(self, tag: str, values: np.ndarray, epoch: int) -> None:
        """A histogram of probabilities (n,); none where there is no value."""
        if len(values):
            self._write(Event(step=epoch, summary=summary.histogram(tag, values, BINS)))

    def precision_recall(self, tag: str, labels: np.ndarray, probs: np.ndarray, epoch: int) -> None:
        """Precision against recall over all thresholds on probabilities (n,) of what labels (n,) bool say."""
        self._write(Event(step=epoch, summary=summary.pr_curve(tag, labels, probs)))

    def close(self) -> None:
        """Note that the run came to its end; its last figures are what its settings are compared by."""
        self._write(Event(summary=self._end))

    def _write(self, *events: Event) -> None:
        buffer = io.BytesIO()
        for event in events:
            event.wall_time = time.time()
            for value in event.summary.value:
                value.metadata.summary_description = ABOUT.get(value.tag.split("/")[0], "")
            RecordWriter(buffer).write(event.SerializeToString())
        append(self.path, buffer.getvalue())


def _numbers(entries: dict[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in entries.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{key}", value


def _hyper_parameters(settings: Settings) -> dict[str, int | float | str]:
    dotted = {f"{group}.{name}": v for group, part in settings.model_dump().items() for name, v in part.items()}
    values = {key: value for key, value in dotted.items() if key not in NO_HYPER_PARAMETERS}
    return {key: str(value).lower() if isinstance(value, bool | list) else value for key, value in values.items()}


def _with_first(experiment: Summary, names: set[str]) -> Summary:
    """The experiment with these settings in TensorBoard's first columns, where those stand that it calls differing."""
    content = metadata.parse_experiment_plugin_data(experiment.value[0].metadata.plugin_data.content)
    for info in content.hparam_infos:
        info.differs = info.name in names
    marked = metadata.create_summary_metadata(HParamsPluginData(experiment=content))
    return Summary(value=[Summary.Value(tag=metadata.EXPERIMENT_TAG, metadata=marked)])
