"""Settings: their types and ranges, and how config files are combined. `config/base.yaml` holds every default."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from utils.errors import UserError, describe_problem, nearest, shown
from utils.files import StrictModel, parse_yaml, read_yaml

ROOT = Path(__file__).parents[1]  # the project's folder
BASE = ROOT / "config" / "base.yaml"

MAX_NUMBER = 1_000_000  # larger numbers are most likely typos
PROBLEMS_SHOWN = 12

# Settings of earlier versions, and what became of them. In checkpoints they are allowed, and their values are ignored.
FORMER = {
    "data.bucket_noise": "is now data.bucket_mix; see its comment in base.yaml",
    "data.workers": "is no longer a setting: a thread of the main process loads the clips. Remove it",
}

Share = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=MAX_NUMBER)]
NonNegative = Annotated[float, Field(ge=0, le=MAX_NUMBER)]
Count = Annotated[int, Field(ge=1, le=MAX_NUMBER)]


def _rising(values: list[float]) -> list[float]:
    if sorted(set(values)) != values:
        raise ValueError(f"expected different numbers in rising order, found {shown(values)}")
    return values


def _different(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError(f"expected different values, found {shown(values)}")
    return values


Item = TypeVar("Item")
RisingList = Annotated[list[Item], Field(min_length=1, max_length=100), AfterValidator(_rising)]


class DataSettings(StrictModel):
    """The clips, their labels, and how they are batched."""

    root: Annotated[str, Field(min_length=1)]
    split: str  # `Split.open` checks it
    normalization: Literal["upright", "released"]
    overlaps: Literal["all", "lowest"]
    gaps: Literal["background", "removed"]
    max_frames: Count
    length_counts: Literal["clip", "annotated"]
    frame_step: Annotated[int, Field(ge=1, le=30)]
    mirror: Probability
    scale: Share
    holdout: Share
    bucketing: bool
    bucket_mix: Probability
    drop_last: bool


class ModelSettings(StrictModel):
    """The network, and two switches that bring back faults of the released code."""

    streams: Annotated[list[Literal["joints", "bones", "motion"]], Field(min_length=1), AfterValidator(_different)]
    width: Annotated[int, Field(ge=4, le=1024, multiple_of=4)]
    stride: Literal[2, 4, 8]
    cosine_scale: Positive
    temperatures: RisingList[Positive]
    mask_padding: bool
    detach_second_view: bool


class LossSettings(StrictModel):
    """The terms of the loss."""

    multi_view: NonNegative
    multi_view_share: PositiveShare
    detach_multi_view: bool
    mil_when_refining: NonNegative


class RefineSettings(StrictModel):
    """Frame-level label refinement."""

    start: Count  # pseudo-labels need an earlier epoch
    history: Annotated[int, Field(ge=1, le=1000)]
    mask_absent: bool
    change_penalty: NonNegative
    neighbours: Annotated[int, Field(ge=0, le=1000)]
    balance: bool
    sharpen: Annotated[float, Field(gt=0, le=20)]  # higher powers of small probabilities become 0 in float32
    zero_start: bool

    @field_validator("neighbours")
    @classmethod
    def _needs_pieces(cls, neighbours: int, others: ValidationInfo) -> int:
        if neighbours and others.data.get("change_penalty") == 0:
            raise ValueError(f"it is {neighbours}, but clips are not cut into pieces; set refine.change_penalty, too")
        return neighbours


class TrainSettings(StrictModel):
    """Optimizer and training loop."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    epochs: Count
    supervised: bool
    batch_size: Count
    accumulate: Count
    sync_batch_norm: bool
    precision: Literal["float32", "bfloat16", "float64"]
    matrix_precision: Literal["highest", "high"]
    cuda_graphs: bool
    compile: bool
    learning_rate: Positive
    schedule: Literal["constant", "cosine"]
    weight_decay: NonNegative
    timeout: Positive


class EvalSettings(StrictModel):
    """From frame probabilities to detections, and their evaluation."""

    every: Count
    batch_size: Count
    change_penalty: NonNegative
    thresholds: RisingList[Share]
    min_video_score: Probability
    min_length: Count
    outer_share: NonNegative
    outer_weight: NonNegative
    suppression_overlap: Literal["shorter", "union", "lower"]
    suppression_threshold: Probability
    suppression_sigma: Annotated[float, Field(ge=0, le=100)]
    tious: RisingList[PositiveShare]


class Settings(StrictModel):
    """All groups of settings. `load` builds them."""

    data: DataSettings
    model: ModelSettings
    loss: LossSettings
    refine: RefineSettings
    train: TrainSettings
    eval: EvalSettings


def load(
    paths: list[str | Path] = (), assignments: list[str] = (), start: dict[str, dict[str, Any]] | None = None
) -> Settings:
    """Settings of base.yaml, changed by the config files `paths`, then by assignments such as "train.epochs=20".

    Later files and assignments win. `start`: the settings to begin with, by group; None: those of base.yaml.
    Raises UserError when a file is missing or is no YAML mapping, a key is unknown, or a value has a wrong type or
    range.
    """
    merged = start or read_groups(BASE)
    source = {}  # "group.name": where its value came from
    for given in paths:
        for path, layer in _layers(Path(given)):
            _merge(merged, layer, str(path), source)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or key.count(".") != 1:
            raise UserError(f"--set {assignment}: expected GROUP.NAME=VALUE, as in --set train.epochs=20")
        group, name = key.strip().split(".")
        _merge(merged, {group: {name: parse_yaml(text, f"--set {assignment}")}}, f"--set {assignment}", source)
    return from_dict(merged, source)


def from_dict(
    values: dict[str, Any], source: dict[str, str] | None = None, origin: str = "config/base.yaml"
) -> Settings:
    """Check a dictionary of all settings. Messages name where a setting came from: its `source`, or else `origin`.

    Raises UserError when a setting is missing or unknown, or its value has a wrong type or range.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines, kinds = [], set()  # kinds: of the problems with settings of another version
        for problem in error.errors()[:PROBLEMS_SHOWN]:
            where = (source or {}).get(".".join(map(str, problem["loc"][:2])), origin)
            lines.append(f"{where}: {describe_problem(problem)}")
            if problem["type"] in ("missing", "extra_forbidden"):
                if origin == "config/base.yaml":  # not stored settings
                    lines[-1] += ". A setting needs an entry in config/base.yaml and a type in utils/config.py"
                else:
                    kinds.add(problem["type"])
        if kinds:
            lines[-1] += ". These settings were written by another version of this project"
        if "missing" in kinds:
            lines[-1] += ". If you added one to the project, name it in ADDED of utils/stored_settings.py, too"
        raise UserError("\n       ".join(lines)) from None


def to_yaml(settings: Settings) -> str:
    """The settings as a config file, from which `load` reads equal settings."""
    return yaml.safe_dump(settings.model_dump(), sort_keys=False)


def _layers(path: Path, parents: tuple[Path, ...] = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A config file and, before it, the files that its key `layers` names, relative to its folder."""
    groups, parents = read_groups(path), (*parents, path.resolve())
    for name in groups.pop("layers", []):
        layer = path.parent / name
        if layer.resolve() in parents:
            raise UserError(f"{path}: its layers lead back to {layer}; remove one of them")
        if not layer.is_file():
            raise UserError(f"{path}: its layers name {name}, but there is no file {layer}")
        yield from _layers(layer, parents)
    yield path, groups


def read_groups(path: Path) -> dict[str, Any]:
    """The groups of settings in a config file, unchecked. Raises UserError if it is no YAML mapping of groups."""
    shipped = ", ".join(sorted(f"config/{p.name}" for p in BASE.parent.glob("*.yaml")))
    values = read_yaml(path, f"a config file, such as {shipped}")
    if values is None:
        return {}
    if isinstance(values, dict):
        groups = values.items()
        wrong = [f"{shown(k)} is {shown(v)}" for k, v in groups if k != "layers" and not isinstance(v, dict | None)]
    else:
        wrong = [f"it is {shown(values)}"]
    if wrong:
        raise UserError(f"{path}: {wrong[0]}; expected groups of settings, as in 'train: {{epochs: 20}}'")
    layers = values.get("layers", [])
    if not isinstance(layers, list) or not all(isinstance(name, str) for name in layers):
        raise UserError(f"{path}: layers is {shown(layers)}; expected file names, as in [train_split1.yaml]")
    return {group: entries or {} for group, entries in values.items()}


def _merge(merged: dict, layer: dict, origin: str, source: dict[str, str]) -> None:
    known = [f"{group}.{name}" for group in merged for name in merged[group]]
    for group, entries in layer.items():
        if group not in merged:
            raise UserError(f"{origin}: unknown group {shown(group)}; {nearest(str(group)[:100], list(merged))}")
        for name, value in entries.items():
            key = f"{group}.{name}"[:100]
            if key in FORMER:
                raise UserError(f"{origin}: {key} {FORMER[key]}")
            if name not in merged[group]:
                raise UserError(f"{origin}: unknown setting {key!r}; {nearest(key, known)}")
            merged[group][name] = value
            source[key] = origin
