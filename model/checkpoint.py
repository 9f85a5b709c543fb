"""A trained localizer from a file: this project's checkpoint, or weights of the released code."""

from __future__ import annotations

from pathlib import Path

from model.localizer import Localizer
from model.released import load_released, refuse_misfit
from utils.config import Settings, from_dict
from utils.errors import UserError
from utils.run import is_own, load_checkpoint

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
    if tuple(checkpoint["classes"]) != tuple(classes):
        raise UserError(
            f"{path}: was trained for {', '.join(checkpoint['classes'])}, the data has {', '.join(classes)}; "
            f"choose its data by --config or --set data.split={checkpoint['settings']['data']['split']}"
        )
    trained = from_dict(checkpoint["settings"], origin=str(path))
    policy = {name: getattr(trained.data, name) for name in POLICY}
    settings = settings.model_copy(
        update={"model": trained.model, "data": settings.data.model_copy(update=policy)},
    )
    model = Localizer(len(classes), settings.model)
    refuse_misfit(checkpoint["model"], model.state_dict(), str(path))
    model.load_state_dict(checkpoint["model"])
    return model, settings
