"""A run's folder (its files: docs/train.md). A run never overwrites another one."""

import io
import json
import math
import os
import platform
import subprocess
import sys
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from utils import config, lock
from utils.atomic import sync, whole_file, write_whole
from utils.config import Settings
from utils.errors import UserError, printable, shown
from utils.files import sha256
from utils.stored_settings import OF_MACHINE, differences, read_stored

FORMAT = 1  # of checkpoints
CHECKPOINTS = ("last.pt", "previous.pt")  # newest first
REMAINS = {lock.NAME, "config.yaml.tmp"}  # files of a command that was killed before its run had begun
NEW_RUN = "start a new run in another --work-dir"  # the end of messages about a run that cannot be resumed


class Run:
    """The folder of a new or resumed run, which exists and is locked (`lock_run`).

    Args:
        data: what identifies the data (`SkeletonClips.identity`); stored in every checkpoint.
        checkpoint: the checkpoint to continue from (`model.training_state.last_good`); None if no epoch has ended.

    Raises UserError when the resumed run has other settings, other data or another script, or has finished more epochs
    than train.epochs, or when its config.yaml was edited.
    """

    def __init__(
        self, folder: Path, settings: Settings, data: dict[str, Any], resume: bool, checkpoint: dict[str, Any] | None
    ) -> None:
        self.folder, self.settings, self.data = folder, settings, data
        self.rows: list[dict[str, Any]] = []  # of metrics.jsonl
        self.best_score = checkpoint["best_score"] if checkpoint else -math.inf
        if resume:
            self._refuse_other_settings(checkpoint)
            self._refuse_other_data(checkpoint or {})
            self._refuse_other_script(checkpoint or {})
            self._keep_rows(checkpoint["epoch"] + 1 if checkpoint else 0)
            if not checkpoint:
                print(f"{folder}: its run stopped before its first checkpoint; starting from the beginning")
        write_whole(folder / "config.yaml", config.to_yaml(settings).encode())

    def record(self, row: dict[str, Any], state: dict[str, Any]) -> None:
        """Save a finished epoch: its row of metrics.jsonl, last.pt and, if its score is the highest so far, best.pt.

        The score is the classification mAP of held-out clips if there are any, or else the validation mAP, if this was
        evaluated. At every moment one of CHECKPOINTS is whole and at most one epoch old.

        Args:
            row: figures of the epoch; "epoch" counts from 1.
            state: state_dicts of model, optimizer and pseudo_labels.
        """
        validation_map = row["corrected"]["mAP"] if "corrected" in row else -math.inf
        score = row.get("held_out_classification_mAP", validation_map)
        self._write_rows([*self.rows, row])
        about = {"settings": self.settings.model_dump(), "script": script_path().name}
        about |= {"epoch": row["epoch"] - 1, **self.data}
        if score > self.best_score:
            self.best_score = score
            write_checkpoint(self.folder / "best.pt", {"model": state["model"], **about})
        last, previous = (self.folder / name for name in CHECKPOINTS)
        write_checkpoint(last, {**state, **about, "best_score": self.best_score}, previous)

    def _write_rows(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        write_whole(self.folder / "metrics.jsonl", lines.encode())

    def _keep_rows(self, done: int) -> None:
        """Keep the rows of the first `done` epochs. Later epochs are trained again."""
        rows = read_history(self.folder)
        if len(rows) < done:
            what = f"ends before epoch {done}, which the checkpoint holds"
            raise UserError(f"{self.folder / 'metrics.jsonl'}: {what}; put a copy back, or {NEW_RUN}")
        self._write_rows(rows[:done])

    def _refuse_other_settings(self, checkpoint: dict[str, Any] | None) -> None:
        path = self.folder / "config.yaml"
        # Along a cosine, the learning rate of every epoch depends on train.epochs
        may_change = OF_MACHINE | ({"train.epochs"} if self.settings.train.schedule == "constant" else set())
        in_file = read_stored(config.read_groups(path), str(path)) if path.exists() else None
        started_with = Settings.model_validate(checkpoint["settings"]) if checkpoint else in_file
        if in_file and (edited := differences(started_with, in_file, may_change)):
            raise UserError(
                f"{path}: was edited: {'; '.join(edited)}. A run keeps the settings that it was started with: undo the "
                f"edit, or start a new run with it: --config {path} --work-dir ANOTHER"
            )
        if changed := differences(started_with, self.settings, may_change):
            raise UserError(
                f"{self.folder}: its run has other settings: {'; '.join(changed)}. "
                f"Resume with the settings that it was started with, or {NEW_RUN}"
            )
        if checkpoint and self.settings.train.epochs <= checkpoint["epoch"]:
            done = checkpoint["epoch"] + 1
            wanted = f"train.epochs is {self.settings.train.epochs}; give {done} or more, or {NEW_RUN}"
            raise UserError(f"{self.folder}: its run has done {done} epochs, {wanted}")

    def _refuse_other_data(self, checkpoint: dict[str, Any]) -> None:
        # Their values would tell a user nothing
        digests = {"store": "joints", "labels": "labels", "untimed": "labels without times"}
        for name, value in self.data.items():
            before = checkpoint.get(name, value)
            if before != value:
                found = f"{name} were {shown(before)} and are {shown(value)}"
                what = f"{digests[name]} have changed" if name in digests else found
                raise UserError(f"{self.folder}: its run has other data: {what}; restore the data, or {NEW_RUN}")

    def _refuse_other_script(self, checkpoint: dict[str, Any]) -> None:
        script = script_path().name  # another one may have another loss
        began = printable(checkpoint.get("script", script))
        if began != script:
            raise UserError(f"{self.folder}: {began} began the run, not {script}; resume it by {began}, or {NEW_RUN}")


def lock_run(folder: Path, resume: bool) -> AbstractContextManager[None]:
    """The lock of a run's folder. The folder of a new run is created.

    Raises UserError when there is no run to resume, or the folder for a new run holds files. Entering the lock raises
    UserError when another process trains in the folder.
    """
    if not resume:
        folder.mkdir(parents=True, exist_ok=True)
        if not {path.name for path in folder.iterdir()} <= REMAINS:  # before the lock puts its own file there
            raise UserError(
                f"{folder}: already holds files, and a run is never overwritten. "
                "Continue it by --resume, or choose another folder by --work-dir"
            )
    elif not holds_run(folder):
        raise UserError(f"{folder}: holds no run to resume; start one without --resume")
    return lock.lock_folder(folder, "training", "choose another --work-dir")


def holds_run(folder: Path) -> bool:
    """Whether a training has begun in the folder."""
    return any((folder / name).exists() for name in ("config.yaml", *CHECKPOINTS))


def write_checkpoint(path: Path, checkpoint: dict[str, Any], previous: Path | None = None) -> None:
    """Write a checkpoint whole or not at all. `model.checkpoint` describes its entries.

    The file that was at `path` becomes `previous`, if that is given.
    """
    buffer = io.BytesIO()  # torch.save into a file hides the reason when the disk is full
    torch.save({"format": FORMAT, **checkpoint}, buffer)
    with whole_file(path) as file:
        file.write(buffer.getbuffer())
        sync(file)  # before the old file is renamed
        if previous and path.exists():
            path.replace(previous)


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, one per epoch; none without the file.

    Earlier versions counted epochs from 0, here they count from 1. An incomplete last line is ignored: a kill of an
    earlier version could leave one. Raises UserError when another line is damaged or missing.
    """
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    try:
        rows = [json.loads(line) for line in lines]
        if rows and rows[0]["epoch"] == 0:
            rows = [{**row, "epoch": row["epoch"] + 1} for row in rows]
        if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
            raise ValueError("its epochs are not 1, 2, 3, … in order")
        if not all(math.isfinite(row["corrected"]["mAP"]) for row in rows if "corrected" in row):
            raise ValueError("an mAP is no number")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: is damaged ({error}); put a copy back, or {NEW_RUN}") from None
    return rows


def script_path() -> Path:
    """The file that Python runs: train.py, or a script of your own."""
    return Path(sys.argv[0])


def provenance(device: torch.device) -> dict[str, Any]:
    """Where a result that was computed on `device` comes from: script, commit, versions, machine."""
    script = script_path()
    git = ["git", "-C", str(config.ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = "unknown"
    packages = ("torch", "numpy", "scipy", "scikit-learn", "smplx")
    return {
        "script": {"name": script.name, "sha256": sha256(script) if script.is_file() else None},
        "commit": commit,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    }
