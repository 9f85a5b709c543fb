"""The options of train.py and predict.py, and the checks of them that need no torch, which takes seconds to import."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from prepare.formats.errors import MAX_RATE, MIN_RATE
from prepare.formats.folders import SUFFIXES
from utils import config
from utils.command_line import argument_parser
from utils.config import Settings
from utils.errors import UserError

UPWARD_AXES = ("x", "y", "z")
# Lowest and highest value of options
LIMITS = {"fps": (MIN_RATE, MAX_RATE), "scale": (1e-6, 1e6), "person": (1, math.inf), "window": (30, math.inf)}


def train(doc: str) -> tuple[argparse.Namespace, Settings]:
    """The arguments of train.py and the settings that they make. `doc` is the text of its --help."""
    parser = argument_parser(doc)
    add = parser.add_argument
    add("--config", nargs="+", default=[], metavar="FILE", help="change config/base.yaml; later files win")
    change = "change any setting, as in --set train.epochs=20 model.width=16; wins over all files"
    add("--set", nargs="+", action="extend", default=[], metavar="GROUP.NAME=VALUE", help=change)
    add("--work-dir", metavar="FOLDER", help="folder of the run (default: work_dir/<split>)")
    add("--phase", choices=("train", "test"), default="train", help="train, or evaluate --weights (default: train)")
    add("--weights", metavar="FILE", help="the .pt file for --phase test, from this project or the released code")
    add("--resume", action="store_true", help="continue the run in --work-dir")
    add("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    args = parser.parse_args()
    settings = config.load(args.config, args.set)
    if args.phase == "test" and not args.weights:
        raise UserError("--phase test needs --weights FILE, such as work_dir/split1/best.pt")
    if args.weights:
        _require_weights(Path(args.weights))
    return args, settings


def predict(doc: str) -> argparse.Namespace:
    """The arguments of predict.py. `doc` is the text of its --help."""
    parser = argument_parser(doc)
    add = parser.add_argument
    formats = ", ".join(SUFFIXES)
    add("inputs", nargs="+", type=Path, metavar="INPUT", help=f"a recording ({formats}), or a folder of them")
    add("--weights", type=Path, required=True, metavar="FILE", help="a best.pt or last.pt of train.py")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of results; nothing is written elsewhere")
    body = "for AMASS takes: SMPL-H model (.pkl, .npz), folder with one, or synthetic (default: human_model)"
    add("--body", metavar="FILE", help=body)
    add("--fps", type=float, metavar="N", help="frames per second (default: as in the file; an .npy file needs it)")
    axis = "axis that points up (default: y in .bvh and .skeleton, z in arrays)"
    add("--up", choices=UPWARD_AXES, help=axis)
    add("--scale", type=float, metavar="S", help="metres per unit of the file (default: 0.01 in .bvh, 1 elsewhere)")
    add("--joint-map", type=Path, metavar="FILE", help="for .bvh (default: the one in config/joint_maps that fits)")
    add("--person", type=int, metavar="N", help="only the Nth person of a recording, from 1 (default: all)")
    longest = "frames at 30 fps that are scored at once; longer recordings are scored in overlapping windows"
    add("--window", type=int, metavar="FRAMES", help=f"{longest} (default: the training's data.max_frames)")
    add("--features", action="store_true", help="also write features.npy and scores.npz (default: no)")
    add("--page", action="store_true", help="also write player.html, where motion and detections play (default: no)")
    add("--animate", choices=("gif", "mp4"), help="also write the moving skeleton (default: no)")
    precision = "float32, or bfloat16, which is less exact and faster on some hardware (default: float32)"
    add("--precision", metavar="NAME", choices=("float32", "bfloat16"), default="float32", help=precision)
    add("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: the GPU when there is one)")
    args = parser.parse_args()
    for name, (least, most) in LIMITS.items():
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            expected = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            parser.error(f"--{name} is {value:g}: expected {expected}")
    if args.out.exists() and not args.out.is_dir():
        parser.error(f"--out is {args.out}: expected a folder, this is a file")
    _require_weights(args.weights)
    return args


def _require_weights(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a checkpoint, such as work_dir/split1/best.pt")
