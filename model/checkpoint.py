"""A trained localizer from a file: this project's checkpoint, or weights of the released code. A training to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.localizer import Localizer
from model.refinement import PseudoLabels
from model.released import load_released, refuse_misfit
from utils.config import Settings, of_weights
from utils.errors import UserError, shown
from utils.run import WEIGHTS, check_contents, is_own, load_checkpoint

POLICY = ("normalization", "overlaps", "gaps", "max_frames", "length_counts")  # of data; travel with the weights


def load_localizer(path: Path, classes: tuple[str, ...], settings: Settings) -> tuple[Localizer, Settings]:
    """The network in `path`, and `settings` with the model and the data policy that it was trained with.

    Released weights carry neither: they take both from `settings` as given.

    Raises:
        UserError: the file is missing or damaged, was trained for other `classes`, or does not fit.
    """
    checkpoint = load_checkpoint(path)
    if not is_own(checkpoint):
        model = Localizer(len(classes), settings.model)
        load_released(model, checkpoint, str(path))
        return model, settings
    check_contents(checkpoint, WEIGHTS, path)
    trained = of_weights(checkpoint["settings"], str(path))
    if tuple(checkpoint["classes"]) != tuple(classes):
        raise UserError(
            f"{path}: was trained for {', '.join(checkpoint['classes'])}, the data has {', '.join(classes)}; "
            f"choose its data by --config or --set data.split={trained.data.split}"
        )
    policy = {name: getattr(trained.data, name) for name in POLICY}
    settings = settings.model_copy(
        update={"model": trained.model, "data": settings.data.model_copy(update=policy)},
    )
    model = Localizer(len(classes), settings.model)
    refuse_misfit(checkpoint["model"], model.state_dict(), str(path))
    model.load_state_dict(checkpoint["model"])
    return model, settings


def load_trained(path: Path) -> tuple[Localizer, Settings, tuple[str, ...]]:
    """The network in a checkpoint of this project, the settings that it was trained with, and its classes.

    Raises:
        UserError: the file is missing or damaged, or holds bare weights.
    """
    checkpoint = load_checkpoint(path)
    if not is_own(checkpoint):
        raise UserError(f"{path}: are bare weights, without classes and settings; expected a best.pt of train.py")
    check_contents(checkpoint, WEIGHTS, path)
    classes = tuple(checkpoint["classes"])
    model, settings = load_localizer(path, classes, of_weights(checkpoint["settings"], str(path)))
    return model, settings, classes


def restore(
    checkpoint: dict[str, Any],
    origin: str,
    model: Localizer,
    adam: torch.optim.Adam,
    pseudo_labels: PseudoLabels,
) -> None:
    """Bring a training to where `checkpoint` was written. What Adam is told by the settings, it keeps.

    Raises:
        UserError: the weights, Adam's moments or the history of pseudo-labels do not fit.
    """
    parameters = [parameter for group in adam.param_groups for parameter in group["params"]]
    moments = {
        i: {"step": torch.tensor(0.0), "exp_avg": parameter, "exp_avg_sq": parameter}
        for i, parameter in enumerate(parameters)
    }
    expected = {
        "model": model.state_dict(),
        "optimizer": {"state": moments},
        "pseudo_labels": {"ring": pseudo_labels.ring, "seen": pseudo_labels.seen},
    }
    found = {name: checkpoint[name] for name in expected}
    found["optimizer"] = {"state": found["optimizer"].get("state")}
    found["pseudo_labels"] = {k: v for k, v in found["pseudo_labels"].items() if k != "epochs"}
    refuse_misfit(_named(found), _named(expected), origin)
    epochs = checkpoint["pseudo_labels"].get("epochs")
    if epochs != checkpoint["epoch"] + 1:
        raise UserError(
            f"{origin}: is damaged: its pseudo-labels are of {shown(epochs)} epochs, "
            f"its weights of {checkpoint['epoch'] + 1}"
        )
    model.load_state_dict(checkpoint["model"])
    adam.load_state_dict({**adam.state_dict(), "state": checkpoint["optimizer"]["state"]})
    pseudo_labels.load_state_dict(checkpoint["pseudo_labels"])


def _named(entries: Any, prefix: str = "") -> dict[str, Tensor]:
    """Nested dictionaries as one, with their keys joined by dots."""
    if not isinstance(entries, dict):
        return {prefix: entries}
    return {
        name: t
        for key, part in entries.items()
        for name, t in _named(part, f"{prefix}.{key}" if prefix else str(key)).items()
    }
