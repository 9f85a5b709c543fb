"""Weights of the released code, and weights that earlier versions of this project wrote.

`places` maps each released tensor to a tensor of this network, or to one of its equal parts: the released code has a
layer for each of the three graphs, and here one tensor holds all three.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from model.agcn import GRAPHS
from model.localizer import Localizer
from utils.errors import UserError

UNUSED = "data_bn."  # an input batch norm that the released forward pass never calls
MISFITS_SHOWN = 12
# Layers of a block. Name in this project: released name
LAYERS = {
    "gcn.bn": "gcn1.bn",
    "gcn.shortcut.conv": "gcn1.down.0",
    "gcn.shortcut.bn": "gcn1.down.1",
    "tcn": "tcn1.conv",
    "bn": "tcn1.bn",
    "shortcut.conv": "residual.conv",
    "shortcut.bn": "residual.bn",
}


class Place(NamedTuple):
    """A tensor of this network by its name in the state_dict, or one of `parts` equal parts of it along `dim`."""

    name: str
    part: int = 0
    parts: int = 1
    dim: int = 0

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The tensor at this place in a state. It is a view, so writing to it changes the network."""
        tensor = tensors[self.name]
        return tensor if self.parts == 1 else tensor.chunk(self.parts, self.dim)[self.part]


def places(model: Localizer) -> dict[str, Place]:
    """Where each released tensor, by its name, is in the state of `model`."""
    table = {f"classifier_{view + 1}.ac_center": Place(f"heads.{view}.prototypes") for view in range(2)}
    for name in model.backbone.blocks.state_dict():
        number, _, entry = name.partition(".")  # such as 3 and gcn.mix.weight
        layer, _, kind = entry.rpartition(".")
        block, own = f"l{int(number) + 1}", f"backbone.blocks.{name}"
        if layer in LAYERS:
            table[f"{block}.{LAYERS[layer]}.{kind}"] = Place(own)
        elif entry == "gcn.learned":
            table[f"{block}.gcn1.PA"] = Place(own)
        for graph in range(GRAPHS):
            if layer == "gcn.affinity":
                table[f"{block}.gcn1.conv_a.{graph}.{kind}"] = Place(own, graph, 2 * GRAPHS)
                table[f"{block}.gcn1.conv_b.{graph}.{kind}"] = Place(own, GRAPHS + graph, 2 * GRAPHS)
            elif layer == "gcn.mix":  # the three released biases are added up
                place = Place(own, graph, GRAPHS, dim=1) if kind == "weight" else Place(own)
                table[f"{block}.gcn1.conv_d.{graph}.{kind}"] = place
    return table


def load_released(model: Localizer, state: Mapping[str, Tensor], origin: str) -> None:
    """Copy a released state into `model`.

    Raises UserError when tensors are missing, unknown or of another shape. Then nothing is copied.
    """
    # DataParallel adds "module." to the names
    state = {str(name).removeprefix("module."): _squeezed(t) for name, t in state.items()}
    state = {name: t for name, t in state.items() if not name.startswith(UNUSED)}
    table = places(model)
    own = model.state_dict()
    refuse_misfit(state, {name: _squeezed(place.of(own)) for name, place in table.items()}, origin)
    with torch.no_grad():
        for place in table.values():
            place.of(own).zero_()
        for name, place in table.items():
            target = place.of(own)
            target += state[name].reshape(target.shape)  # three released biases have the same place


def upgraded(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights that an earlier version wrote, with the present names and shapes.

    In earlier versions, a graph convolution had separate layers for θ, for φ and for each map of `mix`. A temporal
    convolution contained its batch norm. The weights of 1×1 convolutions were matrices. Incomplete weights are returned
    unchanged.
    """
    new = {str(name).replace(".tcn.conv.", ".tcn.").replace(".tcn.bn.", ".bn."): t for name, t in state.items()}
    try:
        for block in {name.partition(".gcn.theta.")[0] for name in new if ".gcn.theta." in name}:
            gcn = f"{block}.gcn"
            for kind in ("weight", "bias"):
                embeddings = [new.pop(f"{gcn}.{name}.{kind}") for name in ("theta", "phi")]
                new[f"{gcn}.affinity.{kind}"] = torch.cat(embeddings)
                maps = [new.pop(f"{gcn}.values.{graph}.{kind}") for graph in range(GRAPHS)]
                new[f"{gcn}.mix.{kind}"] = torch.cat(maps, dim=1) if kind == "weight" else sum(maps)
            for name in (f"{block}.shortcut.conv.weight", f"{gcn}.shortcut.conv.weight"):
                if name in new:
                    new[name] = new[name][..., None, None]
    except (KeyError, TypeError, RuntimeError, IndexError):
        return state
    return new


def refuse_misfit(found: Mapping[str, object], expected: Mapping[str, Tensor], origin: str) -> None:
    """Raise UserError if the tensors `found` differ from those `expected` in names or shapes.

    The message lists those that are missing, unknown or of another shape, and says what fits.
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
        rest = len(problems) - MISFITS_SHOWN
        listed = sorted(problems)[:MISFITS_SHOWN] + ([f"… and {rest} more"] if rest > 0 else [])
        raise UserError(
            "\n  ".join([f"{origin}: its tensors do not fit the network:", *listed])
            + "\nExpected a whole checkpoint of this project or of the released code, with the same classes "
            "(data.split), model.width, model.streams and number of blocks."
        )


def _squeezed(tensor: object) -> object:
    """A 1×1 convolution's weight without its two last dimensions; everything else unchanged."""
    pointwise = isinstance(tensor, Tensor) and tensor.ndim == 4 and tensor.shape[2:] == (1, 1)
    return tensor.flatten(1) if pointwise else tensor
