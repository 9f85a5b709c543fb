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
import mmap
import os
import platform
import random
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils import config
from utils.atomic import append, write_whole
from utils.config import Settings
from utils.errors import UserError, shown

FORMAT = 1  # of checkpoints
NAMES = {int: "a count", float: "a number", str: "a text", list: "a list of texts", dict: "a dictionary"}
CHECKPOINTS = ("next.pt", "last.pt", "previous.pt")  # newest first; next.pt is there for a moment only
WEIGHTS = {"format": int, "settings": dict, "classes": list, "model": dict}  # what a file that is evaluated holds
STATE = {"epoch": int, "best_score": float, "store": str, "clips": int, "optimizer": dict, "pseudo_labels": dict}
MAY_CHANGE = {"data.root", "data.workers", "train.epochs"}  # between a run and its resumption


class Run:
    """An open run folder, new or resumed.

    Args:
        folder: where the run lives.
        settings: its resolved settings.
        resume: go on with what is there; otherwise the folder must be new or empty.

    Attributes:
        resumed: the last good checkpoint, or None for a run that starts.

    Raises:
        UserError: the folder holds a run and `resume` was not asked for, holds none and it was, or its settings
            are others.
    """

    def __init__(self, folder: Path, settings: Settings, resume: bool) -> None:
        self.folder = folder
        self.resumed = None
        if resume:
            self.resumed = self._last_good()
            if self.resumed:
                _refuse_other_settings(self.resumed["settings"], settings, folder)
            self._forget_after(self.resumed["epoch"] if self.resumed else -1)
        elif folder.exists() and not _is_free(folder):
            raise UserError(
                f"{folder}: already holds files, and a run is never overwritten. "
                "Go on with it by --resume, or choose another folder by --work-dir"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "config.yaml", config.to_yaml(settings).encode())

    def log(self, row: dict[str, Any]) -> None:
        """Append an epoch's figures to metrics.jsonl."""
        append(self.folder / "metrics.jsonl", json.dumps(row, allow_nan=False).encode() + b"\n")

    def history(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl (`read_history`)."""
        return read_history(self.folder / "metrics.jsonl")

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Make `checkpoint` the last one; the one before stays as previous.pt.

        At every moment one of the files that `_last_good` looks for is whole and no older than an epoch.
        """
        write_checkpoint(self.folder / CHECKPOINTS[0], checkpoint)
        self._move_up()

    def save_best(self, checkpoint: dict[str, Any]) -> None:
        """Make `checkpoint` the chosen epoch's."""
        write_checkpoint(self.folder / "best.pt", checkpoint)

    def _move_up(self) -> None:
        fresh, last, previous = (self.folder / name for name in CHECKPOINTS)
        if last.exists():
            last.replace(previous)
        fresh.replace(last)

    def _last_good(self) -> dict[str, Any] | None:
        problems = []
        for path in (self.folder / name for name in CHECKPOINTS):
            if not path.exists():
                continue
            try:
                checkpoint = load_checkpoint(path)
                check_contents(checkpoint, WEIGHTS | STATE, path)
                checkpoint["settings"] = config.of_checkpoint(checkpoint["settings"], str(path)).model_dump()
            except UserError as error:
                problems.append(str(error))
                continue
            if problems:
                print(f"warning: {problems[0]}; going on from {path}, one epoch earlier", file=sys.stderr)
            if path.name == CHECKPOINTS[0]:  # a kill came between its writing and its renaming
                self._move_up()
            return checkpoint
        if problems:
            raise UserError("; ".join(problems))
        if not (self.folder / "config.yaml").exists():
            raise UserError(f"{self.folder}: holds no run to resume; start one without --resume")
        print(f"{self.folder}: its run stopped before the first epoch ended; starting from the beginning")
        return None

    def _forget_after(self, epoch: int) -> None:
        rows = self.history()[: epoch + 1]
        if len(rows) <= epoch:
            raise UserError(
                f"{self.folder / 'metrics.jsonl'}: ends before epoch {epoch}, which the checkpoint holds; "
                "put a copy back, or start anew in another --work-dir"
            )
        write_whole(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl, one an epoch, a last line that was cut off left out; none where there is no file.

    Raises UserError when any other line is damaged or missing.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    try:
        rows = [json.loads(line) for line in lines]
        if [row["epoch"] for row in rows] != list(range(len(rows))):
            raise ValueError("its epochs are not 0, 1, 2, … in order")
        if not all(math.isfinite(row["corrected"]["mAP"]) for row in rows if "corrected" in row):
            raise ValueError("an mAP is no number")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: is damaged ({error}); put a copy back, or start anew in another --work-dir") from None
    return rows


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    buffer = io.BytesIO()  # so that a full disk is met by a plain write, which says so
    torch.save({"format": FORMAT, **checkpoint}, buffer)
    write_whole(path, buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this project, or the bare weights of another, without running any code in it.

    Raises:
        UserError: the file is missing, damaged, or holds more than tensors and plain containers.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a checkpoint, such as work_dir/split1/best.pt")
    try:
        _refuse_bombs(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path}: cannot be read as a checkpoint; it is damaged or of another kind ({reason})"
        ) from None
    if not isinstance(checkpoint, dict) or not checkpoint:
        raise UserError(f"{path}: expected a checkpoint's dictionary, found {type(checkpoint).__name__}")
    return checkpoint


def check_contents(checkpoint: dict[str, Any], expected: dict[str, type], path: Path) -> None:
    """Hold a checkpoint of this project against the entries that it must have.

    Raises:
        UserError: one of them is missing, of another type or no possible value.
    """
    for name, kind in expected.items():
        value = checkpoint.get(name)
        possible = isinstance(value, kind) and not isinstance(value, bool)
        if kind is int:
            possible = possible and value >= 0
        if kind is float:
            possible = possible and not math.isnan(value)
        if kind is list:
            possible = possible and all(isinstance(part, str) for part in value)
        if not possible:
            found = shown(value) if name in checkpoint else "missing"
            raise UserError(f"{path}: is damaged: its {name} is {found}, expected {NAMES[kind]}")
    if checkpoint["format"] != FORMAT:
        raise UserError(f"{path}: is of format {checkpoint['format']}, this version reads format {FORMAT}")


def is_own(checkpoint: dict[str, Any]) -> bool:
    """Whether this project wrote the checkpoint, with settings and classes, not bare weights."""
    return {"format", "model", "settings", "classes"} <= checkpoint.keys()


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


def _refuse_bombs(path: Path) -> None:
    """Refuse what `weights_only` lets through: small files that take much memory. torch.save makes neither kind."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"bytearray") >= 0:  # bytearray(10**12) would be called
            raise ValueError("it makes a bytearray")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its entries are compressed")


def _is_free(folder: Path) -> bool:
    """Whether a run can start there: it is empty, or a run was killed in the very moment of its start."""
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
            "Resume with the settings that it was started with, or start anew in another --work-dir"
        )
