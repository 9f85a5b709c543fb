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
MISFITS_SHOWN = 12
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class Place(NamedTuple):
    """A tensor of this network by its state name, or one of its equal `parts` along `dim`."""

    name: str
    part: int = 0
    parts: int = 1
    dim: int = 0

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Look it up: a view, so that writing to it writes to the network."""
        tensor = tensors[self.name]
        return tensor if self.parts == 1 else tensor.chunk(self.parts, self.dim)[self.part]


def places(model: Localizer) -> dict[str, Place]:
    """Released state name → where that tensor lives in `model`'s state."""
    table: dict[str, Place] = {}

    def conv(released: str, own: str) -> None:
        for kind in ("weight", "bias"):
            table[f"{released}.{kind}"] = Place(f"{own}.{kind}")

    def batch_norm(released: str, own: str) -> None:
        for kind in BATCH_NORM:
            table[f"{released}.{kind}"] = Place(f"{own}.{kind}")

    def shortcut(module: Shortcut | None, released_conv: str, released_bn: str, own: str) -> None:
        if module is not None:
            conv(released_conv, f"{own}.conv")
            batch_norm(released_bn, f"{own}.bn")

    for i, block in enumerate(model.backbone.blocks):
        released, own = f"l{i + 1}", f"backbone.blocks.{i}"
        table[f"{released}.gcn1.PA"] = Place(f"{own}.gcn.learned")
        for subset in range(SUBSETS):
            for kind in ("weight", "bias"):
                embedding, name = f"{own}.gcn.affinity.{kind}", f"{subset}.{kind}"
                table[f"{released}.gcn1.conv_a.{name}"] = Place(embedding, subset, 2 * SUBSETS)
                table[f"{released}.gcn1.conv_b.{name}"] = Place(embedding, SUBSETS + subset, 2 * SUBSETS)
            table[f"{released}.gcn1.conv_d.{subset}.weight"] = Place(f"{own}.gcn.mix.weight", subset, SUBSETS, dim=1)
            table[f"{released}.gcn1.conv_d.{subset}.bias"] = Place(f"{own}.gcn.mix.bias")
        batch_norm(f"{released}.gcn1.bn", f"{own}.gcn.bn")
        shortcut(block.gcn.shortcut, f"{released}.gcn1.down.0", f"{released}.gcn1.down.1", f"{own}.gcn.shortcut")
        conv(f"{released}.tcn1.conv", f"{own}.tcn")
        batch_norm(f"{released}.tcn1.bn", f"{own}.bn")
        shortcut(block.shortcut, f"{released}.residual.conv", f"{released}.residual.bn", f"{own}.shortcut")
    for view in range(2):
        table[f"classifier_{view + 1}.ac_center"] = Place(f"heads.{view}.prototypes")
    return table


def load_released(model: Localizer, state: Mapping[str, Tensor], origin: str) -> None:
    """Copy a released state into `model`; nothing is copied unless everything fits.

    Raises:
        UserError: names the tensors that are missing, unknown or of another shape.
    """
    state = {str(name).removeprefix("module."): t for name, t in state.items()}  # saved under DataParallel
    state = {name: _squeezed(t) for name, t in state.items() if not name.startswith(UNUSED)}
    table = places(model)
    own = model.state_dict()
    refuse_misfit(state, {name: _squeezed(place.of(own)) for name, place in table.items()}, origin)
    with torch.no_grad():
        for place in table.values():
            place.of(own).zero_()
        for name, place in table.items():  # three released biases are added to one tensor here
            target = place.of(own)
            target += state[name].reshape(target.shape)


def of_earlier_version(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights of this project under the names and shapes that they have today.

    Earlier, a graph convolution had layers θ and φ and three value layers, a temporal convolution held its batch norm,
    and 1×1 convolutions were matrices. Incomplete weights come back as they are.
    """
    new = {str(name).replace(".tcn.conv.", ".tcn.").replace(".tcn.bn.", ".bn."): t for name, t in state.items()}
    try:
        for block in {name.partition(".gcn.theta.")[0] for name in new if ".gcn.theta." in name}:
            gcn = f"{block}.gcn"
            for kind in ("weight", "bias"):
                new[f"{gcn}.affinity.{kind}"] = torch.cat(
                    [new.pop(f"{gcn}.{name}.{kind}") for name in ("theta", "phi")]
                )
                maps = [new.pop(f"{gcn}.values.{subset}.{kind}") for subset in range(SUBSETS)]
                new[f"{gcn}.mix.{kind}"] = torch.cat(maps, dim=1) if kind == "weight" else sum(maps)
            for name in (f"{block}.shortcut.conv.weight", f"{gcn}.shortcut.conv.weight"):
                if name in new:
                    new[name] = new[name][..., None, None]
    except (KeyError, TypeError, RuntimeError, IndexError):
        return state
    return new


def refuse_misfit(found: Mapping[str, object], expected: Mapping[str, Tensor], origin: str) -> None:
    """Hold named tensors against the expected ones.

    Raises:
        UserError: lists the first that are missing, unknown or of another shape, and what may be the reason.
    """
    problems = [f"missing {name}" for name in expected.keys() - found.keys()]
    problems += [f"unknown {name}" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        tensor, wanted = found[name], expected[name]
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_complex():
            problems.append(f"{name} is no plain tensor, expected {tuple(wanted.shape)}")
        elif tensor.shape != wanted.shape:
            problems.append(f"{name} has shape {tuple(tensor.shape)}, expected {tuple(wanted.shape)}")
    if problems:
        listed = "".join(f"\n  {problem}" for problem in sorted(problems)[:MISFITS_SHOWN])
        rest = len(problems) - MISFITS_SHOWN
        raise UserError(
            f"{origin}: these weights do not fit the network:{listed}"
            + (f"\n  … and {rest} more" if rest > 0 else "")
            + "\nExpected a whole checkpoint of this project or of the released code, of the same number of "
            "classes (data.split) and model.width."
        )


def _squeezed(tensor: object) -> object:
    """Without the trailing 1×1 of a pointwise convolution's kernel; a temporal kernel (9, 1) keeps both."""
    pointwise = isinstance(tensor, Tensor) and tensor.ndim == 4 and tensor.shape[2:] == (1, 1)
    return tensor.flatten(1) if pointwise else tensor
