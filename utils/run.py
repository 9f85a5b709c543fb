"""A run's folder: what it holds, and that nothing in it is lost.

config.yaml      the resolved settings           best.pt          weights of the chosen epoch
metrics.jsonl    one line per epoch              last.pt          all that --resume needs
results.json     the final figures               previous.pt      the same, one epoch before
detections.json  ActivityNet's format            time_line.png    one validation clip
report.html      all of it on one page           diagnosis.*      kinds of errors
                                                 events.out.*     TensorBoard
"""

from __future__ import annotations

import io
import json
import math
import os
import platform
import random
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils import config
from utils.atomic import append, write_whole
from utils.config import Settings
from utils.errors import UserError

FORMAT = 1  # of checkpoints
CHECKPOINTS = ("next.pt", "last.pt", "previous.pt")  # newest first; next.pt exists for a moment only
MAY_CHANGE = {"data.root", "data.workers", "train.epochs", "train.timeout"}  # between a run and its resumption


class Run:
    """An open run folder, new or resumed.

    Args:
        folder: where the run lives.
        settings: its resolved settings.
        data: what identifies its data, kept in every checkpoint: classes, store, clips.
        resume: continue what is there; otherwise the folder must be new or empty.
        resumed: the checkpoint to continue from (`model.checkpoint.last_good`); None if no epoch has ended.

    Raises:
        UserError: the folder holds a run and `resume` is false, or the run has other settings or other data.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        data: dict[str, Any],
        resume: bool,
        resumed: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.settings, self.data = folder, settings, data
        self.best_score = resumed["best_score"] if resumed else -math.inf
        if resume:
            if resumed:
                _refuse_other_settings(resumed["settings"], settings, folder)
                _refuse_other_data(resumed, data, folder)
            self._forget_after(resumed["epoch"] if resumed else -1)
        elif folder.exists() and not _is_free(folder):
            raise UserError(
                f"{folder}: already holds files, and a run is never overwritten. "
                "Continue it by --resume, or choose another folder by --work-dir"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "config.yaml", config.to_yaml(settings).encode())

    def record(self, row: dict[str, Any], state: dict[str, Any], score: float) -> None:
        """Keep a finished epoch: its figures, its weights if its score is the best, and what --resume needs.

        Args:
            row: figures for metrics.jsonl.
            state: state_dicts of model, optimizer and pseudo_labels.
            score: the higher the better; -inf for an epoch that was not scored.
        """
        append(self.folder / "metrics.jsonl", json.dumps(row, allow_nan=False).encode() + b"\n")
        about = {"settings": self.settings.model_dump(), "epoch": row["epoch"], **self.data}
        if score > self.best_score:
            self.best_score = score
            write_checkpoint(self.folder / "best.pt", {"model": state["model"], **about})
        self.save({**state, **about, "best_score": self.best_score})

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Make `checkpoint` the last one; the one before stays as previous.pt.

        At every moment one of CHECKPOINTS is whole and no older than an epoch.
        """
        write_checkpoint(self.folder / CHECKPOINTS[0], checkpoint)
        name_newest(self.folder)

    def history(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl (`read_history`)."""
        return read_history(self.folder / "metrics.jsonl")

    def _forget_after(self, epoch: int) -> None:
        rows = self.history()[: epoch + 1]
        if len(rows) <= epoch:
            raise UserError(
                f"{self.folder / 'metrics.jsonl'}: ends before epoch {epoch}, which the checkpoint holds; "
                "put a copy back, or start a new run in another --work-dir"
            )
        write_whole(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all; `model.checkpoint` says what it holds."""
    buffer = io.BytesIO()  # so that a full disk is met by a plain write, whose error says so
    torch.save({"format": FORMAT, **checkpoint}, buffer)
    write_whole(path, buffer.getbuffer())


def name_newest(folder: Path) -> None:
    """Give the checkpoint that was written last its name, and keep the one before."""
    newest, last, previous = (folder / name for name in CHECKPOINTS)
    if last.exists():
        last.replace(previous)
    newest.replace(last)


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl, one per epoch, without a last line that was cut off; none if there is no file.

    Raises:
        UserError: another line is damaged or missing.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    try:
        rows = [json.loads(line) for line in lines]
        if [row["epoch"] for row in rows] != list(range(len(rows))):
            raise ValueError("its epochs are not 0, 1, 2, … in order")
        if not all(math.isfinite(row["corrected"]["mAP"]) for row in rows if "corrected" in row):
            raise ValueError("an mAP is no number")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(
            f"{path}: is damaged ({error}); put a copy back, or start a new run in another --work-dir"
        ) from None
    return rows


def provenance() -> dict[str, Any]:
    """What a result was made with: commit, versions, machine."""
    git = ["git", "-C", str(config.BASE.parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = "unknown"
    packages = ("torch", "numpy", "scipy", "scikit-learn", "smplx")
    return {
        "commit": commit,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def seed_everything(seed: int) -> None:
    """Seed every generator that initialisation or loading might use."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for libraries that use the global generator
    torch.manual_seed(seed)


def _is_free(folder: Path) -> bool:
    """Whether a run can start there: the folder is empty, or a run was killed before it wrote anything."""
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= {"config.yaml.tmp"}


def _refuse_other_settings(before: dict[str, dict[str, Any]], now: Settings, folder: Path) -> None:
    changed = [
        f"{group}.{name} was {before.get(group, {}).get(name)!r} and is {value!r}"
        for group, entries in now.model_dump().items()
        for name, value in entries.items()
        if f"{group}.{name}" not in MAY_CHANGE and before.get(group, {}).get(name) != value
    ]
    if changed:
        raise UserError(
            f"{folder}: its run has other settings: {'; '.join(changed)}. "
            "Resume with the settings that it was started with, or start a new run in another --work-dir"
        )


def _refuse_other_data(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    for name, value in now.items():
        if before[name] != value:
            raise UserError(
                f"{folder}: was trained on data whose {name} were {before[name]!r}, now {value!r}; "
                "restore that data, or start a new run in another --work-dir"
            )
