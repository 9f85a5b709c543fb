"""Show clips of a split with true segments and detections: on a page with the player, or one clip as an animation.

python -m reporting.show --split split1 --clip 4321 --out clip.html      # or clip.gif, clip.mp4
python -m reporting.show --split split1 --detections work_dir/split1/detections.json --out clips.html
"""

import argparse
from pathlib import Path

from utils import config
from utils.command_line import argument_parser, check_first, new_file


def parse_arguments() -> argparse.Namespace:
    defaults = config.load().data
    parser = argument_parser(__doc__, "python -m reporting.show")
    add = parser.add_argument
    add("--data", type=Path, default=defaults.root, metavar="ROOT", help="prepared data (default: %(default)s)")
    add("--split", default=defaults.split, metavar="NAME", help="name of the split (default: %(default)s)")
    chosen = "ids of clips (default: the validation clips, or a random sample of them that fits on a page)"
    add("--clip", nargs="+", metavar="ID", help=chosen)
    add("--detections", type=Path, metavar="FILE", help="a run's detections.json, shown below the true segments")
    out = "the page, .html, or the animation of one clip, .gif or .mp4 (default: %(default)s)"
    add("--out", type=new_file, default=Path("player.html"), metavar="FILE", help=out)
    args = parser.parse_args()
    if args.out.suffix.lower() != ".html" and len(args.clip or ()) != 1:
        parser.error(f"--out {args.out}: an animation shows one clip; name it by --clip, or write a page, .html")
    return args


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np

from evaluation import detections
from reporting.animation import animate, clip_texts
from reporting.player import PlayedClip, pack_fitting, player_data, write_player
from utils.errors import run_command
from utils.store import Split


def main() -> None:
    args = parse_arguments()
    split = Split.open(args.data, args.split)
    found = detections.read(args.detections, split.clip_ids(), split.classes) if args.detections else None
    sids = args.clip or split.clip_ids("val")
    places = [split.index(sid) for sid in sids]  # refuses an unknown clip
    of_clips = [() if found is None else (found.of_clip(place),) for place in places]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.out.suffix.lower() == ".html":
        played = [PlayedClip.of_split(split, sid, own) for sid, own in zip(sids, of_clips, strict=True)]
        packed = pack_fitting(played, np.random.default_rng(0).permutation(len(sids)).tolist(), split.classes)
        lead = f"{len(packed)} of {len(sids)} clips" + (f", {args.detections}" if args.detections else "")
        runs = ["found"] if args.detections else []
        write_player(args.out, f"Clips of {split.name}", lead, player_data(packed, split.classes, runs))
    else:
        texts = clip_texts(split, sids[0], *of_clips[0])
        animate(args.out, split.store.joints(sids[0]), texts, f"{split.name}, clip {sids[0]}")
    print(f"written: {args.out}")


if __name__ == "__main__":
    run_command(main)
