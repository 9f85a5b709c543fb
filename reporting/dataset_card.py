"""A page about a split: how much it holds, of which classes, what was left out, and how a few clips look.

    python -m reporting.dataset_card --data dataset/processed_data --split split1

Preparation writes it by itself, as card.html beside the split's split.json. Nothing else is needed to look at it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from prepare.store.splits import BENCHMARK_FRAMES
from reporting.animation import clip_texts
from reporting.dataset_figures import class_minutes, clip_lengths
from reporting.dataset_stats import Amounts, Bodies, absent_clips, chosen_clips, count, look_at_bodies, warnings
from reporting.skeleton_view import pose_strip
from reporting.templates import Section, figure_html, heading_html, page, table_html, text_html, tiles_html
from utils import config
from utils.atomic import write_whole
from utils.errors import run_command
from utils.skeleton import FPS
from utils.store import SUBSETS, Split

CARD = "card.html"
STRIPS, POSES = 8, 8  # clips shown, and poses of each
MATRIX = 12  # classes whose overlaps are shown as a matrix; of more, the largest overlaps are listed
LISTED = 20


def write_card(split: Split) -> Path:
    """Write the split's page into its folder, whole, the same for the same data; returns its path."""
    amounts = {subset: count(split, subset) for subset in SUBSETS}
    bodies = look_at_bodies(split)
    sections = [
        Section("At a glance", _glance(split, amounts, bodies)),
        Section("Classes", _classes(split, amounts)),
        Section("Lengths", _lengths(amounts)),
        Section("Overlaps", _overlaps(split, amounts)),
        Section("What was left out", _left_out(split)),
        Section("Clips", _strips(split)),
        Section("Made from", _origin(split)),
    ]
    lead = (
        f"{len(split.classes)} classes over {split.store.folder.name}: joints in metres, z up, {FPS} frames a second."
    )
    path = split.folder / CARD
    write_whole(path, page(f"Data set card: {split.name}", sections, lead).encode())
    return path


def _glance(split: Split, amounts: dict[str, Amounts], bodies: Bodies) -> str:
    facts = []
    for subset in SUBSETS:
        frames = int(amounts[subset].lengths.sum())
        facts += [(f"{subset} clips", f"{len(amounts[subset].lengths):,}"), (f"of {subset}", _duration(frames))]
    facts += [("classes", f"{len(split.classes):,}")]
    if not np.isnan(bodies.upright):
        facts += [("of bodies upright", f"{bodies.upright:.0%}"), ("foot to head, median", f"{bodies.height:.2f} m")]
    found = warnings(split, amounts, bodies)
    said = "".join(text_html(warning, "warning") for warning in found) or text_html("Nothing looks wrong.")
    rows = [[name, *(value(amounts[subset]) for subset in SUBSETS)] for name, value in QUANTITIES.items()]
    return tiles_html(facts) + said + table_html(["", *SUBSETS], rows)


QUANTITIES = {
    "clips": lambda a: len(a.lengths),
    f"clips over {BENCHMARK_FRAMES:,} frames, left out on loading by default": lambda a: int(
        (a.lengths > BENCHMARK_FRAMES).sum()
    ),
    "frames": lambda a: int(a.lengths.sum()),
    "frames that no annotation covers": lambda a: a.unannotated,
    "frames under several classes": lambda a: a.several,
}


def _classes(split: Split, amounts: dict[str, Amounts]) -> str:
    head = ["class", *(f"{subset} {what}" for subset in SUBSETS for what in ("clips", "frames", "% of frames"))]
    rows = []
    for label, name in enumerate(split.classes):
        cells = [
            (int(a.clips[label]), int(a.frames[label]), _percent(a.frames[label], a.lengths.sum()))
            for a in amounts.values()
        ]
        rows.append([name, *(cell for subset in cells for cell in subset)])
    minutes = {subset: amounts[subset].frames / FPS / 60 for subset in SUBSETS}
    picture = class_minutes(split.classes, minutes)
    return figure_html(picture, "Bars: minutes of each class in train and val") + table_html(head, rows)


def _lengths(amounts: dict[str, Amounts]) -> str:
    seconds = {subset: amounts[subset].lengths / FPS for subset in SUBSETS}
    rows = [
        [subset, *(float(np.percentile(values, part)) for part in (0, 5, 50, 95, 100))]
        if len(values)
        else [subset, *5 * [None]]
        for subset, values in seconds.items()
    ]
    picture = figure_html(clip_lengths(seconds, BENCHMARK_FRAMES / FPS), "Histogram of the clips' lengths in seconds")
    return picture + table_html(["seconds", "shortest", "5 %", "median", "95 %", "longest"], rows)


def _overlaps(split: Split, amounts: dict[str, Amounts]) -> str:
    overlap = sum(a.overlap for a in amounts.values())
    own = overlap.diagonal()
    if len(split.classes) <= MATRIX:
        said = text_html("Of the frames of the class on the left, the share (%) that also has the class above.")
        rows = [
            [name, *(None if a == b else _percent(overlap[a, b], own[a]) for b in range(len(own)))]
            for a, name in enumerate(split.classes)
        ]
        return said + table_html(["", *split.classes], rows)
    pairs = [(int(overlap[a, b]), a, b) for a in range(len(own)) for b in range(a) if overlap[a, b]]
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    rows = [
        [split.classes[b], split.classes[a], frames, _percent(frames, min(own[a], own[b]))]
        for frames, a, b in pairs[:LISTED]
    ]
    said = text_html(f"{len(pairs):,} pairs of classes share frames; those that share most:")
    return said + table_html(["class", "class", "frames of both", "% of the rarer one"], rows)


def _left_out(split: Split) -> str:
    recorded = split.manifest.left_out
    if not recorded:
        return text_html("Not recorded: this split was not made from BABEL's annotations.")
    reasons: dict[str, list[int]] = {}
    for place, subset in enumerate(SUBSETS):
        for reason, clips in recorded.get(subset, {}).items():
            reasons.setdefault(reason, [0, 0])[place] = clips
    content = table_html(["clips of BABEL", *SUBSETS], [[reason, *clips] for reason, clips in sorted(reasons.items())])
    absent = absent_clips(split)
    if absent:
        causes = Counter("its take is missing" if why == "missing" else why for why in absent.values())
        rows = [[why[:200], clips] for why, clips in sorted(causes.items(), key=lambda cause: (-cause[1], cause[0]))]
        content += heading_html("Why clips are not in the store") + table_html(["reason", "clips"], rows[:LISTED])
        if len(rows) > LISTED:
            content += text_html(f"and {len(rows) - LISTED:,} more reasons, in store.json", "note")
    return content


def _strips(split: Split) -> str:
    content = text_html(
        "Of each class the training clip of middle length, in its own time; blue is the body's left, orange its right. "
        "Feet belong down, and what bodies do should be what is written below them."
    )
    for name, sid in chosen_clips(split, STRIPS):
        joints = split.store.joints(sid)
        where = f"{name}: clip {sid}, {len(joints) / FPS:.1f} s"
        if not np.isfinite(joints).all():
            content += text_html(f"{where}: has joints that are no numbers", "warning")
            continue
        strip = pose_strip(joints, FPS, POSES, clip_texts(split, sid))
        content += figure_html(strip, f"Poses of clip {sid}", f"{where} ({split.store.clips[sid].feat_p})")
    return content


def _origin(split: Split) -> str:
    rows = [
        ["split", str(split.folder.name)],
        ["store", split.store.folder.name],
        ["joints, SHA-256", split.store.digest],
    ]
    rows += [[f"BABEL's {name}, SHA-256", digest] for name, digest in split.manifest.babel.items()]
    return table_html(["what", "which"], rows)


def _percent(part: float, whole: float) -> float | None:
    return float(100 * part / whole) if whole else None


def _duration(frames: int) -> str:
    minutes = frames / FPS / 60
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def main() -> None:
    defaults = config.load().data
    parser = argparse.ArgumentParser(
        prog="python -m reporting.dataset_card",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, default=defaults.root, metavar="ROOT", help="prepared data (default: %(default)s)"
    )
    parser.add_argument(
        "--split", default=defaults.split, metavar="NAME", help="name of the split (default: %(default)s)"
    )
    args = parser.parse_args()
    print(f"written: {write_card(Split.open(args.data, args.split))}")


if __name__ == "__main__":
    run_command(main)
