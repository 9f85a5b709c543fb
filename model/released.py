"""Weights under the names of the released code: checkpoints of 2023 load here, and gradients can be compared.

One table says where each released tensor lives in this network. The released code keeps the embeddings of the
three subsets apart; here the three lie side by side in one, so an entry may be a third of a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from model.agcn import SUBSETS, Shortcut
from model.localizer import Localizer
from utils.errors import UserError

UNUSED = "data_bn."  # an input batch norm that the released forward pass never calls
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class Place(NamedTuple):
    """A tensor of this network by its state name, or the given third of it along its first axis."""

    name: str
    third: int | None = None

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Look it up: a view, so that writing to it writes to the network."""
        tensor = tensors[self.name]
        return tensor if self.third is None else tensor.chunk(SUBSETS)[self.third]


def places(model: Localizer) -> dict[str, Place]:
    """Released state name → where that tensor lives in `model`'s state."""
    table: dict[str, Place] = {}

    def conv(released: str, own: str, third: int | None = None) -> None:
        for part in ("weight", "bias"):
            table[f"{released}.{part}"] = Place(f"{own}.{part}", third)

    def batch_norm(released: str, own: str) -> None:
        for part in BATCH_NORM:
            table[f"{released}.{part}"] = Place(f"{own}.{part}")

    def shortcut(module: Shortcut | None, released_conv: str, released_bn: str, own: str) -> None:
        if module is not None:
            conv(released_conv, f"{own}.conv")
            batch_norm(released_bn, f"{own}.bn")

    for i, block in enumerate(model.backbone.blocks):
        released, own = f"l{i + 1}", f"backbone.blocks.{i}"
        table[f"{released}.gcn1.PA"] = Place(f"{own}.gcn.learned")
        for subset in range(SUBSETS):
            conv(f"{released}.gcn1.conv_a.{subset}", f"{own}.gcn.theta", subset)
            conv(f"{released}.gcn1.conv_b.{subset}", f"{own}.gcn.phi", subset)
            conv(f"{released}.gcn1.conv_d.{subset}", f"{own}.gcn.values.{subset}")
        batch_norm(f"{released}.gcn1.bn", f"{own}.gcn.bn")
        shortcut(block.gcn.shortcut, f"{released}.gcn1.down.0", f"{released}.gcn1.down.1", f"{own}.gcn.shortcut")
        conv(f"{released}.tcn1.conv", f"{own}.tcn.conv")
        batch_norm(f"{released}.tcn1.bn", f"{own}.tcn.bn")
        shortcut(block.shortcut, f"{released}.residual.conv", f"{released}.residual.bn", f"{own}.shortcut")
    for view in range(2):
        table[f"classifier_{view + 1}.ac_center"] = Place(f"heads.{view}.prototypes")
    return table


def is_released(state: Mapping[str, object]) -> bool:
    """Whether a state dictionary uses the released names."""
    return any(name.removeprefix("module.").startswith(("l1.gcn1.", "classifier_1.")) for name in state)


def load_released(model: Localizer, state: Mapping[str, Tensor], origin: str) -> None:
    """Copy a released state into `model`; nothing is copied unless everything fits.

    Raises:
        UserError: names the tensors that are missing, unknown or of another shape.
    """
    state = {name.removeprefix("module."): t for name, t in state.items()}  # saved under DataParallel
    state = {name: t for name, t in state.items() if not name.startswith(UNUSED)}
    table = places(model)
    own = model.state_dict()
    problems = [f"missing {name}" for name in table if name not in state]
    problems += [f"unknown {name}" for name in state if name not in table]
    for name in table.keys() & state.keys():
        found, expected = _squeezed(state[name]), _squeezed(table[name].of(own))
        if found.shape != expected.shape:
            problems.append(f"{name} has shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    if problems:
        raise UserError(report_misfit(origin, problems))
    with torch.no_grad():
        for name, place in table.items():
            target = place.of(own)
            target.copy_(state[name].reshape(target.shape))


def report_misfit(origin: str, problems: list[str], shown: int = 12) -> str:
    """The message about weights that do not fit: the first misfits, and what may be the reason."""
    problems = sorted(problems)
    rest = f"\n  … and {len(problems) - shown} more" if len(problems) > shown else ""
    listed = "".join(f"\n  {problem}" for problem in problems[:shown])
    return (
        f"{origin}: these weights do not fit the network:{listed}{rest}\n"
        "Expected a whole checkpoint of this project or of the released code, of the same number of classes "
        "(data.split) and model.width."
    )


def _squeezed(tensor: Tensor) -> Tensor:
    """Without the trailing 1×1 of a pointwise convolution's kernel; a temporal kernel (9, 1) keeps both."""
    return tensor.flatten(1) if tensor.ndim == 4 and tensor.shape[2:] == (1, 1) else tensor
