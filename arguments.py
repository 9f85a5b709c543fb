"""The options of train.py and predict.py, and their first checks. Nothing here imports torch, which takes seconds."""

import argparse
from pathlib import Path

from prepare.formats.files import SUFFIXES
from prepare.options import add_read_options
from utils import config
from utils.command_line import argument_parser, folder, number
from utils.config import Settings
from utils.errors import UserError
from utils.stored_settings import read_stored


def train(doc: str) -> tuple[argparse.Namespace, Settings]:
    """The arguments of train.py, and the settings. `doc`: the text of --help. Raises UserError if any is wrong."""
    parser = argument_parser(doc)
    add = parser.add_argument
    files = "files that override config/base.yaml; later files win"
    add("--config", nargs="+", action="extend", default=[], metavar="FILE", help=files)
    change = "override any setting, as in --set train.epochs=20 model.width=16; wins over all files"
    add("--set", nargs="+", action="extend", default=[], metavar="GROUP.NAME=VALUE", help=change)
    work_dir = "folder of the run (default: work_dir/<split>; with --phase test: eval/ beside the weights)"
    add("--work-dir", type=folder, metavar="FOLDER", help=work_dir)
    add("--phase", choices=("train", "test"), default="train", help="train, or evaluate --weights (default: train)")
    add("--weights", metavar="FILE", help="the .pt file for --phase test, from this project or the released code")
    resume = "continue a run; with --work-dir and without --config, its own settings are used"
    add("--resume", action="store_true", help=resume)
    add("--resume-or-start", action="store_true", help="continue the run in --work-dir, or start it if none has begun")
    add("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    args = parser.parse_args()
    if args.phase == "test" and args.resume:  # --resume-or-start may stay: the script of a job adds it to all commands
        raise UserError("--phase test has nothing to resume; leave out --resume")
    of_run = args.work_dir / "config.yaml" if args.resume and args.work_dir and not args.config else None
    if of_run and not of_run.exists():
        remedy = "copy the whole folder of the run, or give its --config; to start a new run, leave out --resume"
        raise UserError(f"{args.work_dir}: holds no run to resume: it has no config.yaml; {remedy}")
    start = read_stored(config.read_groups(of_run), str(of_run)).model_dump() if of_run else None
    settings = config.load(args.config, args.set, start)
    if args.phase == "test" and not args.weights:
        raise UserError("--phase test needs --weights FILE, such as work_dir/split1/last.pt")
    if args.weights and args.phase != "test":
        raise UserError("--weights is for --phase test; a training starts from random weights")
    return args, settings


def predict(doc: str) -> argparse.Namespace:
    """Parse and check the arguments of predict.py. `doc` is the text of its --help."""
    parser = argument_parser(doc)
    add = parser.add_argument
    formats = ", ".join(SUFFIXES)
    add("inputs", nargs="+", type=Path, metavar="INPUT", help=f"a recording ({formats}), or a folder of them")
    add("--weights", type=Path, required=True, metavar="FILE", help="a last.pt or best.pt of train.py")
    add("--out", type=folder, required=True, metavar="DIR", help="folder of results; nothing is written elsewhere")
    add_read_options(parser)
    longest = "frames at 30 fps that are scored at once; longer recordings are scored in overlapping windows"
    add("--window", type=number(30), metavar="FRAMES", help=f"{longest} (default: the training's data.max_frames)")
    add("--features", action="store_true", help="also write features.npy and scores.npz (default: no)")
    add("--page", action="store_true", help="also write player.html, where motion and detections play (default: no)")
    add("--animate", choices=("gif", "mp4"), help="also write the moving skeleton (default: no)")
    precision = "float32, or bfloat16, which is less exact and faster on some hardware (default: float32)"
    add("--precision", metavar="NAME", choices=("float32", "bfloat16"), default="float32", help=precision)
    add("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    return parser.parse_args()
