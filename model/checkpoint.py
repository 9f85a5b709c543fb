"""Checkpoints: what a file holds, how it is read without trust, and a trained localizer from one.

The only place that reads checkpoints: those of this project, and bare weights of the released code.
"""

from __future__ import annotations

import math
import mmap
import sys
import zipfile
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from model.localizer import Localizer
from model.released import load_released, of_earlier_version, refuse_misfit
from utils import config
from utils.config import Settings
from utils.errors import UserError, shown
from utils.run import CHECKPOINTS, FORMAT, name_newest

POLICY = ("normalization", "overlaps", "gaps", "max_frames", "length_counts")  # settings of data that belong to weights


def _number(value: float) -> float:
    if math.isnan(value):
        raise ValueError("not a number")
    return value


Count = Annotated[int, Field(ge=0, description="a count")]
Dictionary = Annotated[dict, Field(description="a dictionary")]


class Weights(BaseModel):
    """best.pt: a network for evaluation. Other entries are left alone."""

    model_config = ConfigDict(strict=True)

    format: Count  # of this table
    settings: Dictionary  # by group, as in config.yaml
    classes: Annotated[list[str], Field(description="a list of texts")]
    model: Dictionary  # the network's state_dict


class Training(Weights):
    """last.pt and previous.pt: all that --resume needs."""

    epoch: Count  # index of the last finished epoch
    best_score: Annotated[float, AfterValidator(_number), Field(description="a number")]  # that best.pt was chosen by
    store: Annotated[str, Field(description="a text")]  # digest of the skeletons
    clips: Count  # training clips
    optimizer: Dictionary  # Adam's state_dict
    pseudo_labels: (
        Dictionary  # history (epochs, F, K+1) float32, seen (epochs, clips) bool, epochs: how many have ended
    )


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this project, or bare weights, without running any code in the file.

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


def last_good(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint of a run that is whole, its settings under today's names; None if no epoch has ended.

    Raises:
        UserError: the folder holds no run, or no whole checkpoint among those that it has.
    """
    problems = []
    for path in (folder / name for name in CHECKPOINTS):
        if not path.exists():
            continue
        try:
            checkpoint = load_checkpoint(path)
            check_contents(checkpoint, Training, path)
            history = checkpoint["pseudo_labels"]
            if "ring" in history:  # its name in earlier versions
                history["history"] = history.pop("ring")
            checkpoint["settings"] = config.of_checkpoint(checkpoint["settings"], str(path)).model_dump()
        except UserError as error:
            problems.append(str(error))
            continue
        if problems:
            print(f"warning: {problems[0]}; resuming from {path}, one epoch earlier", file=sys.stderr)
        if path.name == CHECKPOINTS[0]:  # the run was killed after writing the file and before naming it
            name_newest(folder)
        return checkpoint
    if problems:
        raise UserError("; ".join(problems))
    if not (folder / "config.yaml").exists():
        raise UserError(f"{folder}: holds no run to resume; start one without --resume")
    print(f"{folder}: its run stopped before the first epoch ended; starting from the beginning")
    return None


def load_localizer(path: Path, classes: tuple[str, ...], settings: Settings) -> tuple[Localizer, Settings]:
    """The network in `path`, and `settings` with the model and the data policy that it was trained with.

    Released weights carry neither; they take both from `settings` as given.

    Raises:
        UserError: the file is missing or damaged, was trained for other `classes`, or does not fit.
    """
    checkpoint = load_checkpoint(path)
    if not _is_own(checkpoint):
        model = Localizer(len(classes), settings.model)
        load_released(model, checkpoint, str(path))
        return model, settings
    model, trained, own_classes = _network(checkpoint, path)
    if own_classes != tuple(classes):
        raise UserError(
            f"{path}: was trained for {', '.join(own_classes)}, the data has {', '.join(classes)}; "
            f"choose its data by --config or --set data.split={trained.data.split}"
        )
    data = settings.data.model_copy(update={name: getattr(trained.data, name) for name in POLICY})
    return model, settings.model_copy(update={"model": trained.model, "data": data})


def load_trained(path: Path) -> tuple[Localizer, Settings, tuple[str, ...]]:
    """The network in a checkpoint of this project, the settings that it was trained with, and its classes.

    Raises:
        UserError: the file is missing or damaged, or holds bare weights.
    """
    checkpoint = load_checkpoint(path)
    if not _is_own(checkpoint):
        raise UserError(f"{path}: holds bare weights, without classes and settings; expected a best.pt of train.py")
    return _network(checkpoint, path)


def check_contents(checkpoint: dict[str, Any], expected: type[BaseModel], path: Path) -> None:
    """Compare the entries of a checkpoint of this project with the table of its format.

    Raises:
        UserError: an entry is missing, of another type or has an impossible value.
    """
    try:
        expected.model_validate(checkpoint)
    except ValidationError as error:
        name = error.errors()[0]["loc"][0]
        found = shown(checkpoint[name]) if name in checkpoint else "missing"
        wanted = expected.model_fields[name].description
        raise UserError(f"{path}: is damaged: its {name} is {found}, expected {wanted}") from None
    if checkpoint["format"] != FORMAT:
        raise UserError(f"{path}: is of format {checkpoint['format']}, this version reads format {FORMAT}")


def check_state(checkpoint: dict[str, Any], expected: dict[str, Any], parameters: list[Tensor], origin: str) -> None:
    """Compare what a training continues from with the `expected` state of one that has not begun.

    Args:
        checkpoint, expected: with the entries model, optimizer and pseudo_labels.
        parameters: of the optimizer, whose moments have their shapes; they do not exist before the first step.

    Raises:
        UserError: the weights, Adam's moments or the history of pseudo-labels do not fit.
    """
    moments = {i: {"step": torch.tensor(0.0), "exp_avg": p, "exp_avg_sq": p} for i, p in enumerate(parameters)}
    wanted = {**expected, "optimizer": {"state": moments}}
    found = {name: dict(checkpoint[name]) for name in wanted}
    found["optimizer"] = {"state": found["optimizer"].get("state")}  # learning rates come from the settings
    epochs = found["pseudo_labels"].pop("epochs", None)
    wanted["pseudo_labels"] = {k: v for k, v in wanted["pseudo_labels"].items() if k != "epochs"}
    refuse_misfit(_flat(found), _flat(wanted), origin)
    if epochs != checkpoint["epoch"] + 1:
        raise UserError(
            f"{origin}: is damaged: its pseudo-labels are of {shown(epochs)} epochs, "
            f"its weights of {checkpoint['epoch'] + 1}"
        )


def _network(checkpoint: dict[str, Any], path: Path) -> tuple[Localizer, Settings, tuple[str, ...]]:
    check_contents(checkpoint, Weights, path)
    settings = config.of_checkpoint(checkpoint["settings"], str(path), trained=True)
    classes = tuple(checkpoint["classes"])
    model = Localizer(len(classes), settings.model)
    weights = of_earlier_version(checkpoint["model"])
    refuse_misfit(weights, model.state_dict(), str(path))
    model.load_state_dict(weights)
    return model, settings, classes


def _is_own(checkpoint: dict[str, Any]) -> bool:
    """Whether this project wrote the checkpoint, with settings and classes."""
    return {"format", "model", "settings", "classes"} <= checkpoint.keys()


def _flat(entries: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, their keys joined by dots."""
    if not isinstance(entries, dict):
        return {prefix: entries}
    return {
        name: leaf
        for key, part in entries.items()
        for name, leaf in _flat(part, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _refuse_bombs(path: Path) -> None:
    """Refuse small files that take much memory, which `weights_only` does not. torch.save writes no such file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"bytearray") >= 0:  # bytearray(10**12) would be called
            raise ValueError("it makes a bytearray")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its entries are compressed")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its entries are larger than the file")
