"""Settings that a run or a checkpoint has stored: read under their present names, and compared with other settings."""

from collections.abc import Set
from typing import Any

from utils import config
from utils.config import Settings
from utils.errors import shown
from utils.nested import flat

# Checkpoints of earlier versions lack these settings. The defaults reproduce those versions, except data.bucket_mix.
ADDED = {
    "data": ["mirror", "scale", "bucket_mix", "frame_step"],
    "model": ["streams", "stride"],
    "refine": ["change_penalty", "neighbours"],
    "train": ["matrix_precision", "cuda_graphs", "compile", "timeout"],
    "eval": ["change_penalty", "suppression_sigma"],
}
TRAINING = ("loss", "refine", "train")  # groups that only training needs
# Data settings that weights depend on; the last four are the label policy
DATA_OF_WEIGHTS = ("normalization", "frame_step", "overlaps", "gaps", "max_frames", "length_counts")
OF_MACHINE = {"data.root", "train.cuda_graphs", "train.timeout"}  # they change results by rounding at most


def read_stored(values: dict[str, Any], origin: str, for_inference: bool = False) -> Settings:
    """The settings stored in the file `origin`: a checkpoint, config.yaml or results.json. Raises as `from_dict` does.

    This version or an earlier one wrote the file. With `for_inference`, the network is only used and not trained
    further. Then missing settings of training get their defaults, and unknown ones are dropped.
    """
    groups = dict(values)
    for group, defaults in config.read_groups(config.BASE).items():
        entries = values.get(group)
        if not isinstance(entries, dict):
            continue
        if for_inference and group in TRAINING:
            groups[group] = {name: entries.get(name, default) for name, default in defaults.items()}
        else:
            added = {name: defaults[name] for name in ADDED.get(group, []) if name in defaults}
            groups[group] = added | {name: v for name, v in entries.items() if f"{group}.{name}" not in config.FORMER}
    return config.from_dict(groups, origin=origin)


def with_settings_of_weights(settings: Settings, trained: Settings) -> Settings:
    """`settings`, but with the model settings and DATA_OF_WEIGHTS of `trained`, with which the weights were trained."""
    data = settings.data.model_copy(update={name: getattr(trained.data, name) for name in DATA_OF_WEIGHTS})
    return settings.model_copy(update={"model": trained.model, "data": data})


def differences(before: Settings, now: Settings, apart_from: Set[str] = frozenset()) -> list[str]:
    """The settings that differ, such as "model.width was 64 and is 8". Those named in `apart_from` are ignored."""
    then = dict(flat(before.model_dump()))
    return [
        f"{name} was {shown(then[name])} and is {shown(value)}"
        for name, value in flat(now.model_dump())
        if name not in apart_from and then[name] != value
    ]
