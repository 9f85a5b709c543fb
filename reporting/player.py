"""Write the player: a page where the motion, true segments and detections of clips play together.

The page needs no other file and no network. report.html, card.html and predict.py --page contain the same player.

    python -m reporting.player --split split1 --clip 4321 --out clip.html
    python -m reporting.player --split split1 --detections work_dir/split1/detections.json --out clips.html
"""

from __future__ import annotations

import argparse
import base64
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation import detections
from evaluation.diagnosis import KINDS, TIOU, kinds
from evaluation.localization import Detections, ground_truth
from evaluation.metrics import match, nan_to_none, ranking
from reporting.skeleton_view import HEAD_RADIUS, SOLE
from reporting.style import COLOURS
from reporting.templates import render
from reporting.time_lines import shown_classes
from utils import config
from utils.atomic import write_whole
from utils.errors import run_command
from utils.skeleton import BONES, FPS, JOINT_NAMES, LEFT_SHOULDER, RIGHT_SHOULDER
from utils.store import Split
from utils.text import printable

PAGE_BYTES = 19_000_000  # of the clips on a page; browsers open larger pages slowly
EXTREMES = 10  # best clips, and worst clips, that are shown even if not all clips fit on the page
QUANTUM = 0.001  # metres; joints are rounded to multiples of it
MAX_NAME = 200  # characters
SIDES = tuple(side if (side := name.split("_")[0]) in ("left", "right") else "trunk" for name in JOINT_NAMES)


@dataclass(frozen=True)
class PlayedClip:
    """A clip as the player shows it. T frames, K classes.

    Attributes:
        joints: (T, 25, 3) metres, z up. The body may travel.
        labels: (T, K) bool, or None if the true segments are unknown.
        found: the clip's detections by each run, in frames of `joints`.
        frame_probs: the class activation sequence (T, K+1), background last, or None.
        ap: the clip's AP in percent of each run; NaN if it is not defined.
        note: shown behind the name.
        first: the number of the first frame, if the recording starts earlier.
    """

    name: str
    joints: np.ndarray
    labels: np.ndarray | None = None
    found: tuple[Detections, ...] = ()
    frame_probs: np.ndarray | None = None
    ap: tuple[float, ...] = ()
    note: str = ""
    first: int = 0


def player_data(
    clips: Sequence[dict[str, Any]],
    classes: Sequence[str],
    runs: Sequence[str] = (),
    truth: bool = True,
    thresholds: Sequence[float] = (),
) -> dict[str, Any]:
    """The data of a page with a player.

    Args:
        clips: from `pack`.
        runs: names of the runs whose detections are shown.
        truth: whether the true segments are known.
        thresholds: of the proposals.
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


def pack(clip: PlayedClip, classes: Sequence[str]) -> dict[str, Any]:
    """A clip as JSON for the player.

    True segments are [class, start, end, score of the detection that takes it by each run, or null]. Detections are
    [class, start, end, score, index of its kind of error, or -1], by run.
    """
    frames, number = len(clip.joints), len(classes)
    labels = np.zeros((frames, number), bool) if clip.labels is None else clip.labels
    truth = ground_truth([labels])
    taken_by: list[list[float | None]] = [[] for _ in range(len(truth))]
    found = []
    for run in clip.found:
        ranked = run.where(ranking(run, number))
        ranked = replace(ranked, clip=np.zeros_like(ranked.clip))
        taken = match(ranked, truth, [TIOU])[0]
        kind = np.full(len(ranked), -1) if clip.labels is None else kinds(ranked, truth, taken)[0]
        scores = ranked.scores.round(4).tolist()
        found.append(_rows(ranked, scores, kind.tolist()))
        by_segment = dict(zip(taken.tolist(), scores, strict=True))
        for segment, taken_with in enumerate(taken_by):
            taken_with.append(by_segment.get(segment))
    shown, _ = shown_classes(labels, Detections.concatenate(clip.found))
    finite = bool(np.isfinite(clip.joints).all())
    quantum = max(QUANTUM, float(np.abs(clip.joints).max()) / 32_000) if finite else QUANTUM
    return {
        "name": printable(clip.name, MAX_NAME),
        "note": printable(clip.note),
        "frames": frames,
        "first": clip.first,
        "quantum": quantum,
        "joints": _pack_joints(clip.joints, quantum) if finite else None,
        "view": _view(clip.joints) if finite else None,
        "classes": ", ".join(
            printable(classes[label], MAX_NAME) for label in shown if clip.labels is None or labels[:, label].any()
        ),
        "shown": shown,
        "curves": None if clip.frame_probs is None else _pack_curves(clip.frame_probs[:, [*shown, number]]),
        "truth": [row[:3] + scores for row, scores in zip(_rows(truth), taken_by, strict=True)],
        "found": found,
        "ap": [nan_to_none(float(value)) for value in clip.ap],
    }


def pack_fitting(
    order: Iterable[int], load: Callable[[int], PlayedClip], classes: Sequence[str]
) -> dict[int, dict[str, Any]]:
    """Pack clips in this order while they fit on a page. Returns them by index; at least one.

    Args:
        load: returns the clip with an index.
    """
    packed: dict[int, dict[str, Any]] = {}
    size = 0
    for index in order:
        clip = pack(load(index), classes)
        size += packed_bytes(clip)
        if size > PAGE_BYTES and packed:
            break
        packed[index] = clip
    return packed


def pack_varied(ap: np.ndarray, load: Callable[[int], PlayedClip], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Pack the clips that fit on a page: the best, the worst, and an even choice by AP (N,). They keep their order."""
    return [clip for _, clip in sorted(pack_fitting(varied_order(ap), load, classes).items(), key=lambda item: item[0])]


def varied_order(ap: np.ndarray) -> list[int]:
    """All indices: the best and worst clips in turn, then such that every beginning is an even choice by AP."""
    ranked = np.argsort(-ap, kind="stable").tolist()  # NaN last
    ends = [ranked[place] for n in range(min(EXTREMES, len(ranked))) for place in (n, -1 - n)]
    bits = max(1, len(ranked)).bit_length()
    even = sorted(range(len(ranked)), key=lambda place: f"{place:0{bits}b}"[::-1])
    return list(dict.fromkeys([*ends, *(ranked[place] for place in even)]))


def packed_bytes(clip: dict[str, Any]) -> int:
    """About the size of a packed clip on the page."""
    rows = len(clip["truth"]) + sum(map(len, clip["found"]))
    return 200 + 40 * rows + len(clip["joints"] or "") + len(clip["curves"] or "")


def write_player(path: Path, title: str, lead: str, data: dict[str, Any]) -> None:
    """Write a page with nothing but the player."""
    write_whole(path, render("player.html", title=title, lead=lead, player=data).encode())


def _score_range(scores: list[float], segments: int) -> dict[str, Any]:
    """The highest score, and the range of the lowest score that is shown. Its value leaves `segments` detections."""
    ranked = sorted(scores, reverse=True)
    low, high = min([0.0, *scores]), max([0.01, *scores])
    value = ranked[segments - 1] if 0 < segments <= len(ranked) else low
    lower = [math.floor(100 * some) / 100 for some in (low, value)]
    return {"highest": high, "range": {"min": lower[0], "max": math.ceil(100 * high) / 100, "value": lower[1]}}


def _view(joints: np.ndarray) -> dict[str, float]:
    """What the camera needs: the height of the floor, height and radius of the motion, and where the body looks."""
    lowest, highest = joints[..., 2].min(), joints[..., 2].max()
    reach = np.linalg.norm((joints - joints[:, :1])[..., :2], axis=-1).max()
    left = (joints[:, LEFT_SHOULDER] - joints[:, RIGHT_SHOULDER]).mean(axis=0)
    view = {
        "floor": lowest - SOLE,
        "height": highest + HEAD_RADIUS - lowest + SOLE,
        "radius": max(0.6, reach) + 0.25,
        "front": np.arctan2(-left[0], left[1]),  # the angle of the mean direction
    }
    return {name: round(float(value), 4) for name, value in view.items()}


def _rows(segments: Detections, *columns: list) -> list[list]:
    """[class, start, end, ...] of each segment."""
    frames = segments.segments.round(2).tolist()
    return [[k, *ends, *rest] for k, ends, *rest in zip(segments.label.tolist(), frames, *columns, strict=True)]


def _pack_joints(joints: np.ndarray, quantum: float) -> str:
    """Joints as compressed text. Second differences of smooth motion are small: about 47 bytes a frame remain."""
    steps = np.round(joints.reshape(len(joints), -1) / quantum).astype("<i2")
    for _ in range(2):
        steps = np.diff(steps, axis=0, prepend=np.zeros_like(steps[:1]))  # modulo 65536, as the player adds
    codes = (steps << 1) ^ (steps >> 15)  # zigzag: small numbers of both signs have small codes
    return _compress(np.ascontiguousarray(codes.T).reshape(-1, 1).view(np.uint8).T)


def _pack_curves(probs: np.ndarray) -> str:
    """255·√probability as compressed text. The eye cannot tell finer steps apart. NaN becomes 0."""
    levels = np.round(255 * np.sqrt(np.clip(np.nan_to_num(probs), 0, 1))).astype(np.uint8)
    return _compress(np.diff(levels, axis=0, prepend=np.zeros_like(levels[:1])).T)


def _compress(values: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes())).decode("ascii")


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


def parse_arguments() -> argparse.Namespace:
    defaults = config.load().data
    parser = argparse.ArgumentParser(
        prog="python -m reporting.player", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=defaults.root, metavar="ROOT", help="prepared data (default: %(default)s)")
    add("--split", default=defaults.split, metavar="NAME", help="name of the split (default: %(default)s)")
    chosen = "ids of clips (default: the validation clips, or an even choice of them that fits on a page)"
    add("--clip", nargs="+", metavar="ID", help=chosen)
    add("--detections", type=Path, metavar="FILE", help="a run's detections.json, shown below the true segments")
    add("--out", type=Path, default=Path("player.html"), metavar="FILE", help="the page (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main)
