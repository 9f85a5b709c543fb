"""Write the dataset card of a split: a page with its statistics, its classes, what was left out, and a few clips.

    python -m reporting.dataset_card --data dataset/processed_data --split split1

Preparation writes it as card.html beside the split's split.json. The page needs no other file.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from reporting.animation import clip_texts
from reporting.dataset_figures import class_minutes, clip_lengths
from reporting.dataset_stats import (
    PoseStats,
    SubsetStats,
    clips_not_stored,
    example_clips,
    pose_stats,
    subset_stats,
    warnings,
)
from reporting.skeleton_view import pose_strip
from reporting.templates import render
from utils import config
from utils.atomic import write_whole
from utils.errors import run_command
from utils.skeleton import FPS
from utils.store import SUBSETS, Split

CARD = "card.html"
EXAMPLES, POSES = 8, 8  # clips shown, and poses of each
MATRIX = 12  # classes whose overlaps are shown as a matrix; of more classes the largest overlaps are listed
LISTED = 20  # rows of a list

Stats = dict[str, SubsetStats]  # by subset
Rows = list[list]


def write_card(split: Split) -> Path:
    """Write the card into the split's folder and return its path. The same data give the same bytes."""
    stats = {subset: subset_stats(split, subset) for subset in SUBSETS}
    poses = pose_stats(split)
    max_frames = config.load().data.max_frames
    minutes = {subset: stats[subset].frames / FPS / 60 for subset in SUBSETS}
    seconds = {subset: stats[subset].lengths / FPS for subset in SUBSETS}
    missing = Counter(
        "its take is missing" if why == "missing" else str(why) for why in clips_not_stored(split).values()
    )
    reasons = [[why[:200], clips] for why, clips in sorted(missing.items(), key=lambda cause: (-cause[1], cause[0]))]
    page = render(
        "card.html",
        title=f"Dataset card: {split.name}",
        lead=f"{len(split.classes)} classes over {split.store.folder.name}: "
        f"joints in metres, z up, {FPS} frames per second.",
        subsets=SUBSETS,
        tiles=_tiles(split, stats, poses),
        warnings=warnings(split, stats, poses),
        quantities=_quantities(stats, max_frames),
        class_minutes=class_minutes(split.classes, minutes),
        classes=_classes(split, stats),
        clip_lengths=clip_lengths(seconds, max_frames / FPS),
        lengths=[[subset, *_percentiles(values)] for subset, values in seconds.items()],
        overlaps=_overlaps(split, sum(s.overlap for s in stats.values())),
        left_out=_left_out(split),
        reasons=reasons[:LISTED],
        more_reasons=len(reasons[LISTED:]),
        examples=[_example(split, name, sid) for name, sid in example_clips(split, EXAMPLES)],
        origin=_origin(split),
    )
    path = split.folder / CARD
    write_whole(path, page.encode())
    return path


def _tiles(split: Split, stats: Stats, poses: PoseStats) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = []
    for subset in SUBSETS:
        minutes = stats[subset].lengths.sum() / FPS / 60
        duration = f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
        facts += [(f"{subset} clips", len(stats[subset].lengths)), (f"of {subset}", duration)]
    facts.append(("classes", len(split.classes)))
    if not np.isnan(poses.upright):
        facts += [("of bodies upright", f"{poses.upright:.0%}"), ("foot to head, median", f"{poses.height:.2f} m")]
    return facts


def _quantities(stats: Stats, max_frames: int) -> Rows:
    long = f"clips over {max_frames:,} frames, which are not loaded by default"
    rows = {
        "clips": [len(s.lengths) for s in stats.values()],
        long: [(s.lengths > max_frames).sum() for s in stats.values()],
        "frames": [s.lengths.sum() for s in stats.values()],
        "frames that no annotation covers": [s.unannotated for s in stats.values()],
        "frames with several classes": [s.several for s in stats.values()],
    }
    return [[name, *values] for name, values in rows.items()]


def _classes(split: Split, stats: Stats) -> Rows:
    """For each class: clips, frames and percentage of frames in each subset."""
    rows: Rows = [[name] for name in split.classes]
    for s in stats.values():
        for row, clips, frames in zip(rows, s.clips, s.frames, strict=True):
            row += [clips, frames, _percent(frames, s.lengths.sum())]
    return rows


def _percentiles(values: np.ndarray) -> list[float | None]:
    return np.percentile(values, (0, 5, 50, 95, 100)).tolist() if len(values) else 5 * [None]


def _overlaps(split: Split, overlap: np.ndarray) -> dict[str, Any]:
    """The percentage of each class's frames that have another class too, or for many classes the largest overlaps."""
    names, frames = split.classes, overlap.diagonal()
    if len(names) <= MATRIX:
        rows = [
            [name, *(None if a == b else _percent(overlap[a, b], frames[a]) for b in range(len(names)))]
            for a, name in enumerate(names)
        ]
        return {"classes": names, "rows": rows}
    pairs = [(overlap[a, b], a, b) for a in range(len(names)) for b in range(a) if overlap[a, b]]
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    rows = [[names[b], names[a], both, _percent(both, min(frames[a], frames[b]))] for both, a, b in pairs[:LISTED]]
    return {"classes": None, "rows": rows, "pairs": len(pairs)}


def _left_out(split: Split) -> Rows | None:
    """For each reason: clips of BABEL that are not in the split, by subset. None if the manifest does not say."""
    recorded = split.manifest.get("left_out")
    if not isinstance(recorded, dict):
        return None
    reasons: dict[str, list[int]] = {}
    for place, subset in enumerate(SUBSETS):
        entries = recorded.get(subset)
        for reason, clips in entries.items() if isinstance(entries, dict) else ():
            reasons.setdefault(str(reason), [0, 0])[place] = clips if isinstance(clips, int) else 0
    return [[reason, *clips] for reason, clips in sorted(reasons.items())]


def _reasons(split: Split) -> Rows:
    """Why clips are not in the store, the most frequent reason first."""
    reasons = clips_not_stored(split).values()
    counts = Counter("its take is missing" if reason == "missing" else str(reason) for reason in reasons)
    return [[reason[:200], clips] for reason, clips in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _example(split: Split, name: str, sid: str) -> dict[str, Any]:
    joints = split.store.joints(sid)
    facts = {"name": name, "clip": sid, "seconds": len(joints) / FPS, "file": split.store.clips[sid].feat_p}
    finite = np.isfinite(joints).all()
    return {**facts, "strip": pose_strip(joints, FPS, POSES, clip_texts(split, sid)) if finite else None}


def _origin(split: Split) -> Rows:
    files = split.manifest.get("babel")
    return [
        ["split", split.folder.name],
        ["store", split.store.folder.name],
        ["joints, SHA-256", split.store.digest],
        *([f"BABEL's {n}, SHA-256", str(d)] for n, d in (files.items() if isinstance(files, dict) else ())),
    ]


def _percent(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole else None


def main() -> None:
    defaults = config.load().data
    parser = argparse.ArgumentParser(
        prog="python -m reporting.dataset_card",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, default=defaults.root, metavar="ROOT", help="prepared data (default: %(default)s)")
    add("--split", default=defaults.split, metavar="NAME", help="name of the split (default: %(default)s)")
    args = parser.parse_args()
    print(f"written: {write_card(Split.open(args.data, args.split))}")


if __name__ == "__main__":
    run_command(main)
