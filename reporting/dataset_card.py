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
    SubsetStats,
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

Rows = list[list]


def write_card(split: Split) -> Path:
    """Write the card into the split's folder and return its path. The same data give the same bytes."""
    stats = {subset: subset_stats(split, subset) for subset in SUBSETS}
    poses = pose_stats(split)
    max_frames = config.load().data.max_frames
    minutes = {subset: s.frames / FPS / 60 for subset, s in stats.items()}
    seconds = {subset: s.lengths / FPS for subset, s in stats.items()}
    page = render(
        "card.html",
        split=split,
        train=stats["train"],
        val=stats["val"],
        fps=FPS,
        max_frames=max_frames,
        poses=poses,
        warnings=warnings(split, stats, poses),
        class_minutes=class_minutes(split.classes, minutes),
        classes=_class_rows(split, stats),
        clip_lengths=clip_lengths(seconds, max_frames / FPS),
        lengths=[[subset, *_percentiles(values)] for subset, values in seconds.items()],
        overlaps=_overlaps(split, sum(s.overlap for s in stats.values())),
        left_out=_left_out(split),
        reasons=_reasons(split),
        most_reasons=LISTED,
        examples=[_example(split, name, sid) for name, sid in example_clips(split, EXAMPLES)],
    )
    path = split.folder / CARD
    write_whole(path, page.encode())
    return path


def _class_rows(split: Split, stats: dict[str, SubsetStats]) -> Rows:
    """For each class: clips, frames and percentage of frames in each subset."""
    columns = []
    for s in stats.values():
        columns += [s.clips, s.frames, 100 * s.frames / max(1, s.lengths.sum())]
    return [[name, *numbers] for name, *numbers in zip(split.classes, *columns, strict=True)]


def _percentiles(values: np.ndarray) -> list[float]:
    return np.percentile(values if len(values) else np.nan, (0, 5, 50, 95, 100)).tolist()


def _overlaps(split: Split, overlap: np.ndarray) -> dict[str, Any]:
    """The percentage of each class's frames that have another class too, or for many classes the largest overlaps."""
    names, frames = split.classes, overlap.diagonal()
    if len(names) <= MATRIX:
        percent = 100 * overlap / np.where(frames > 0, frames, np.nan)[:, None]
        np.fill_diagonal(percent, np.nan)
        return {"classes": names, "rows": [[name, *row] for name, row in zip(names, percent, strict=True)]}
    pairs = [(overlap[a, b], a, b) for a in range(len(names)) for b in range(a) if overlap[a, b]]
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    rows = [[names[b], names[a], both, 100 * both / min(frames[a], frames[b])] for both, a, b in pairs[:LISTED]]
    return {"classes": None, "rows": rows, "pairs": len(pairs)}


def _left_out(split: Split) -> Rows | None:
    """For each reason: clips of BABEL that are not in the split, by subset. None if the manifest does not say."""
    recorded = split.manifest.left_out
    if not recorded:
        return None
    reasons: dict[str, list[int]] = {}
    for place, subset in enumerate(SUBSETS):
        for reason, clips in recorded.get(subset, {}).items():
            reasons.setdefault(reason, [0, 0])[place] = clips
    return [[reason, *clips] for reason, clips in sorted(reasons.items())]


def _reasons(split: Split) -> Rows:
    """Why clips are not in the store, the most frequent reason first."""
    reasons = split.store.manifest.left_out.values()
    counts = Counter("its take is missing" if reason == "missing" else reason for reason in reasons)
    return [[reason[:200], clips] for reason, clips in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _example(split: Split, name: str, sid: str) -> dict[str, Any]:
    joints = split.store.joints(sid)
    facts = {"name": name, "clip": sid, "seconds": len(joints) / FPS, "file": split.store.clips[sid].feat_p}
    finite = np.isfinite(joints).all()
    return {**facts, "strip": pose_strip(joints, FPS, POSES, clip_texts(split, sid)) if finite else None}


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
