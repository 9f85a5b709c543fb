"""Write a run for TensorBoard: curves, pictures, histograms, precision-recall curves, and the settings (HParams)."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter, summary

from reporting.figures import SCORES
from utils import config
from utils.atomic import adds_file_name
from utils.config import Settings
from utils.nested import flat
from utils.stored_settings import OF_MACHINE

BINS = np.linspace(0, 1, 41)  # of histograms of probabilities


class TensorBoardWriter:
    """Writes one step per epoch, counted from 1, into a run's folder. Every method raises OSError when it cannot write.

    After a resume, TensorBoard ignores what earlier event files hold from `first_epoch` on.
    """

    def __init__(self, folder: Path, settings: Settings, first_epoch: int) -> None:
        self.files = folder / "events.out.tfevents.*"
        threading.excepthook = _report_thread_error
        with adds_file_name(self.files):
            self.writer = SummaryWriter(str(folder), purge_step=first_epoch)
        values, defaults = _hyper_parameters(settings), _hyper_parameters(config.load())
        experiment, start, self._end = summary.hparams(values, dict.fromkeys(SCORES.values(), 0))
        # Mark the settings that differ from the defaults. TensorBoard shows them in the first columns of its table.
        plugin_data = experiment.value[0].metadata.plugin_data
        content = HParamsPluginData.FromString(plugin_data.content)
        for info in content.experiment.hparam_infos:
            info.differs = values[info.name] != defaults[info.name]
        plugin_data.content = content.SerializeToString()
        self._add(experiment)
        self._add(start)

    def scalars(self, row: dict[str, Any]) -> None:
        """Add every number of an epoch's row. Its tag is the path to it, such as loss/total."""
        for tag, value in flat(row, "/"):
            if tag != "epoch" and isinstance(value, int | float):
                self._add(summary.scalar(tag, value), row["epoch"])

    def picture(self, tag: str, image: np.ndarray, epoch: int) -> None:
        """Add a picture (H, W, 3) uint8."""
        self._add(summary.image(tag, image, dataformats="HWC"), epoch)

    def histogram(self, tag: str, probs: np.ndarray, epoch: int) -> None:
        """Add a histogram of probabilities (n,), unless there are none."""
        if len(probs):
            self._add(summary.histogram(tag, probs, BINS), epoch)

    def precision_recall(self, tag: str, labels: np.ndarray, probs: np.ndarray, epoch: int) -> None:
        """Add the precision-recall curve of probabilities (n,) against labels (n,) bool."""
        self._add(summary.pr_curve(tag, labels, probs), epoch)

    def close(self) -> None:
        """Mark the run as complete and close the file."""
        self._add(self._end)
        self.writer.close()

    def _add(self, what: Summary, epoch: int | None = None) -> None:
        with adds_file_name(self.files):
            self.writer.file_writer.add_summary(what, epoch)
            self.writer.flush()  # so that the file holds every finished epoch, and a full disk raises here


def _hyper_parameters(settings: Settings) -> dict[str, int | float | str]:
    values = {key: value for key, value in flat(settings.model_dump()) if key not in OF_MACHINE}
    return {key: str(value).lower() if isinstance(value, bool | list) else value for key, value in values.items()}


def _report_thread_error(error: threading.ExceptHookArgs) -> None:
    """Print a thread's error, except that of SummaryWriter's thread, which the next `flush` raises again."""
    if not type(error.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(error)
