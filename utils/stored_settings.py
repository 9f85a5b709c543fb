"""Settings that a run or a checkpoint has stored: read under their present names, and compared with other settings."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

from utils import config
from utils.config import Settings
from utils.errors import shown

# Checkpoints of earlier versions lack these settings. The defaults do what those versions did, apart from bucketing.
ADDED = {
    "data.bucket_mix",
    "data.frame_step",
    "model.streams",
    "model.stride",
    "refine.change_penalty",
    "refine.neighbours",
    "train.matrix_precision",
    "train.cuda_graphs",
    "train.compile",
    "train.timeout",
    "eval.change_penalty",
    "eval.suppression_sigma",
}
TRAINING = ("loss", "refine", "train")  # groups that only training needs
# Data settings that weights depend on; the last four are the label policy
DATA_OF_WEIGHTS = ("normalization", "frame_step", "overlaps", "gaps", "max_frames", "length_counts")
OF_MACHINE = {"data.root", "train.cuda_graphs", "train.timeout"}  # settings that change no result


def of_checkpoint(values: dict[str, Any], origin: str, trained: bool = False) -> Settings:
    """The settings in the checkpoint `origin`, written by this version or an earlier one. Raises as `from_dict` does.

    If the network is `trained` and not trained further, missing settings of training get their defaults, and unknown
    ones are dropped.
    """
    groups = dict(values)
    for group, defaults in config.read_groups(config.BASE).items():
        entries = values.get(group)
        if not isinstance(entries, dict):
            continue
        if trained and group in TRAINING:
            groups[group] = {name: entries.get(name, default) for name, default in defaults.items()}
        else:
            added = {name: default for name, default in defaults.items() if f"{group}.{name}" in ADDED}
            groups[group] = added | {name: v for name, v in entries.items() if f"{group}.{name}" not in config.FORMER}
    return config.from_dict(groups, origin=origin)


def of_weights(settings: Settings, trained: Settings) -> Settings:
    """`settings`, but with the model settings and DATA_OF_WEIGHTS of `trained`, with which the weights were trained."""
    data = settings.data.model_copy(update={name: getattr(trained.data, name) for name in DATA_OF_WEIGHTS})
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


def read_resolved(path: Path) -> Settings:
    """The settings in a run's config.yaml, of any version. Raises UserError when it cannot be read or holds none."""
    return of_checkpoint(config.read_groups(path), str(path))
