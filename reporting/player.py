"""Write the player: a page where the motion, true segments and detections of clips play together.

The page needs no other file and no network. report.html, card.html and predict.py --page contain the same player.

    python -m reporting.player --split split1 --clip 4321 --out clip.html
    python -m reporting.player --split split1 --detections work_dir/split1/detections.json --out clips.html
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils import config
from utils.command_line import argument_parser, check_first


def parse_arguments() -> argparse.Namespace:
    defaults = config.load().data
    parser = argument_parser(__doc__, "python -m reporting.player")
    add = parser.add_argument
    add("--data", type=Path, default=defaults.root, metavar="ROOT", help="prepared data (default: %(default)s)")
    add("--split", default=defaults.split, metavar="NAME", help="name of the split (default: %(default)s)")
    chosen = "ids of clips (default: the validation clips, or an even sample of them that fits on a page)"
    add("--clip", nargs="+", metavar="ID", help=chosen)
    add("--detections", type=Path, metavar="FILE", help="a run's detections.json, shown below the true segments")
    add("--out", type=Path, default=Path("player.html"), metavar="FILE", help="the page (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # now, because the imports below take seconds

import numpy as np

from evaluation import detections
from evaluation.diagnosis import KINDS
from reporting import packed_clips
from reporting.packed_clips import MAX_NAME, PlayedClip, pack_varied
from reporting.skeleton_view import SIDES
from reporting.style import COLOURS
from reporting.templates import render
from utils.atomic import write_whole
from utils.errors import UserError, run_command
from utils.skeleton import BONES, FPS
from utils.store import Split
from utils.text import printable


def player_data(
    clips: Sequence[dict[str, Any]],
    classes: Sequence[str],
    runs: Sequence[str] = (),
    truth: bool = True,
    thresholds: Sequence[float] = (),
) -> dict[str, Any]:
    """The data of a page with a player: packed clips, and the names of the runs whose detections are shown.

    `truth` says whether the true segments are known. `thresholds` are those of the proposals.
    """
    segments = sum(len(clip["truth"]) for clip in clips)
    return {
        "fps": FPS,
        "bones": BONES,
        "sides": SIDES,
        "kinds": KINDS,
        "colours": COLOURS,
        "classes": [printable(name, MAX_NAME) for name in classes],
        "runs": [printable(name, MAX_NAME) for name in runs],
        "truth": truth,
        "scored": any(value is not None for clip in clips for value in clip["ap"]),
        "thresholds": sorted(set(thresholds)),
        **_score_range([row[3] for clip in clips for run in clip["found"] for row in run], segments * len(runs)),
        "clips": clips,
    }


def write_player(path: Path, title: str, lead: str, data: dict[str, Any]) -> None:
    """Write a page with nothing but the player."""
    write_whole(path, render("player.html", title=title, lead=lead, player=data).encode())


def write_pages(folder: Path, files: Sequence[Path], classes: Sequence[str], thresholds: Sequence[float]) -> list[Path]:
    """Write player.html, player2.html, ... with as many predicted clips each as fit on a page, and return the paths.

    Each of the `files` has a packed clip as JSON. Raises UserError when one is damaged. Further pages of an earlier
    call are deleted.
    """
    groups: list[list[Path]] = []
    size = math.inf
    for file in files:
        size += file.stat().st_size
        if size > packed_clips.PAGE_BYTES:
            groups.append([])
            size = file.stat().st_size
        groups[-1].append(file)
    pages = [folder / f"player{number if number > 1 else ''}.html" for number in range(1, len(groups) + 1)]
    for page, group in zip(pages, groups, strict=True):
        lead = f"{len(group)} recordings of {folder.resolve().name}"
        if len(pages) > 1:
            lead = f"{lead}. All recordings: {', '.join(other.name for other in pages)}"
        data = player_data([_read(file) for file in group], classes, ["found"], False, thresholds)
        write_player(page, "Actions found", lead, data)
    number = max(2, len(pages) + 1)
    while (old := folder / f"player{number}.html").exists():
        old.unlink()
        number += 1
    return pages


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); delete {path.parent} and run the command again") from None


def _score_range(scores: list[float], segments: int) -> dict[str, Any]:
    """The highest score, and the range and first value of the slider for the lowest score that is shown.

    At the first value, as many detections are shown as there are true `segments`.
    """
    ranked = sorted(scores, reverse=True)
    low, high = min([0.0, *scores]), max([0.01, *scores])
    value = ranked[segments - 1] if 0 < segments <= len(ranked) else low
    lower = [math.floor(100 * some) / 100 for some in (low, value)]
    return {"highest": high, "range": {"min": lower[0], "max": math.ceil(100 * high) / 100, "value": lower[1]}}


def main() -> None:
    args = parse_arguments()
    split = Split.open(args.data, args.split)
    ids = split.clip_ids()
    found = detections.read(args.detections, ids, split.classes) if args.detections else None
    places = [split.index(sid) for sid in args.clip or split.clip_ids("val")]

    def load(number: int) -> PlayedClip:
        sid, own = ids[places[number]], () if found is None else (found.of_clip(places[number]),)
        return PlayedClip(sid, split.store.joints(sid), split.labels(sid), own, note=split.store.clips[sid].feat_p)

    packed = pack_varied(np.full(len(places), np.nan), load, split.classes)
    lead = f"{len(packed)} of {len(places)} clips" + (f", {args.detections}" if args.detections else "")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    data = player_data(packed, split.classes, ["found"] if args.detections else [])
    write_player(args.out, f"Clips of {split.name}", lead, data)
    print(f"written: {args.out}, {lead}")


if __name__ == "__main__":
    run_command(main)
