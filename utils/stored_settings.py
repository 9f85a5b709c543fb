"""Settings that a run or a checkpoint has stored, compared and combined with other settings."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from utils import config
from utils.config import Settings
from utils.errors import shown

TRAINING = ("loss", "refine", "train")  # groups that a trained network no longer needs
# Data settings that weights depend on
POLICY = ("normalization", "overlaps", "gaps", "max_frames", "length_counts", "frame_step")
OF_MACHINE = {"data.root", "train.timeout"}  # settings that change no result


def of_trained(values: dict[str, Any], origin: str) -> Settings:
    """The settings in the checkpoint `origin` of a trained network. Those of training are replaced by the defaults.

    So a version with other settings of training can use the network. Raises as `from_dict` does.
    """
    defaults = config.load().model_dump()
    return config.from_dict({**values, **{group: defaults[group] for group in TRAINING}}, origin=origin)


def of_weights(settings: Settings, trained: Settings) -> Settings:
    """`settings` with the model and the data policy of `trained`, for weights that were trained with the latter."""
    data = settings.data.model_copy(update={name: getattr(trained.data, name) for name in POLICY})
    return settings.model_copy(update={"model": trained.model, "data": data})


def differences(before: Settings, now: Settings, apart_from: Set[str] = frozenset()) -> list[str]:
    """What differs, such as "model.width was 64 and is 8", apart from the settings of these names."""
    then = before.model_dump()
    return [
        f"{group}.{name} was {shown(then[group][name])} and is {shown(value)}"
        for group, entries in now.model_dump().items()
        for name, value in entries.items()
        if f"{group}.{name}" not in apart_from and then[group][name] != value
    ]
