"""The options that several commands share: how recordings are read, and where splits are written."""

from __future__ import annotations

import argparse
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from prepare.formats.flavours import HANDS
from prepare.formats.frames import MAX_RATE, MIN_RATE
from prepare.skeletons.joint_map import JointMap, read_map
from utils.command_line import folder, number

ROOT = Path(__file__).parents[1]
BODY = ROOT / "human_model"
DATA_ROOT = ROOT / "dataset" / "processed_data"  # data.root of config/base.yaml
TO_RESUME = "; run the same command again to resume"


@dataclass(frozen=True)
class ReadOptions:
    """The user's options. AMASS takes use only `body`, `hands` and `person`.

    fps, up and scale may be None. Then the file's own value is used, or else the usual one of its format. Arrays have
    no usual fps: without one, they are refused.
    """

    body: str  # as in `load_body`
    fps: float | None = None
    up: str | None = None  # the axis that points up
    scale: float | None = None  # metres in a unit of the file
    joint_map: JointMap | None = None  # for BVH files and arrays; None: the one that fits, if one is needed
    person: int | None = None  # number of the only person to read, from 1; None: all
    hands: str = "as-is"  # one of HANDS

    @classmethod
    def of(cls, args: argparse.Namespace) -> ReadOptions:
        """The options in a command's arguments. Raises UserError when the joint map has an error."""
        joint_map = read_map(args.joint_map) if args.joint_map else None
        body, hands = args.body or str(BODY), args.hands or "as-is"
        return cls(body, args.fps, args.up, args.scale, joint_map, args.person, hands)


def add_body_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for AMASS takes to a command's parser."""
    add = parser.add_argument
    body = "for AMASS takes: SMPL-H or SMPL-X model (.pkl, .npz), folder with one, or synthetic (default: human_model)"
    add("--body", metavar="FILE", help=body)
    hands = "hand poses of AMASS takes: as-is, or released, which adds the mean hand pose as the released code does"
    default = "default: as-is; in prediction: as in the data of the training"
    add("--hands", metavar="NAME", choices=HANDS, help=f"{hands} ({default})")


def add_read_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ReadOptions` to a command's parser."""
    add_body_options(parser)
    add = parser.add_argument
    fps = "frames per second (default: as in the file, 30 in .skeleton; needed where the file has none)"
    add("--fps", type=number(MIN_RATE, MAX_RATE), metavar="N", help=fps)
    up = "axis that points up, such as z, or --up=-y if y points down (default: y in .bvh and .skeleton, z in arrays)"
    add("--up", choices=("x", "y", "z", "-x", "-y", "-z"), metavar="AXIS", help=up)
    add("--scale", type=number(1e-6, 1e6), metavar="S", help="metres per unit (default: 0.01 in .bvh, 1 elsewhere)")
    joint_map = "for .bvh and arrays (default: the one in config/joint_maps that fits)"
    add("--joint-map", type=Path, metavar="FILE", help=joint_map)
    person = "only the Nth person, from 1 (default: all in prediction, else the first)"
    add("--person", type=number(1), metavar="N", help=person)


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that writes a split and its store."""
    add = parser.add_argument
    replace = "replace a split of this name that has other classes, or labels from another source"
    add("--replace", action="store_true", help=replace)
    out = "where the store and the splits go (default: dataset/processed_data)"
    add("--out", type=folder, default=DATA_ROOT, metavar="DIR", help=out)
    workers = "number of recordings read at the same time (default: %(default)s)"
    add("--workers", type=number(1), default=os.cpu_count() or 1, help=workers)


def next_command(config: str, root: Path, split: str | None = None) -> str:
    """A message with the command that trains on prepared data. split: None if `config` names it."""
    changes = [f"data.split={split}"] if split else []
    if root.resolve() != DATA_ROOT.resolve():
        changes.append(f"data.root={root}")
    command = f"next: python train.py --config config/{config}"
    return f"{command} --set {shlex.join(changes)}" if changes else command
