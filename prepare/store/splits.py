"""A label set over a store: which clips it takes, their frame labels, and what its manifest says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from prepare.formats.babel import Babel, dense_labels
from utils.store import SUBSETS, SkeletonStore, write_split

BENCHMARK_FRAMES = 1000  # data.max_frames by default; such clips are counted here and left out on loading


def write_label_set(folder: Path, classes: list[str], babel: Babel, store: SkeletonStore) -> None:
    """Write the split `folder` of these classes over the clips of `store`, and print what is in it."""
    clips: dict[str, list[tuple[str, int]]] = {subset: [] for subset in SUBSETS}
    labels: list[np.ndarray] = []
    annotated: list[np.ndarray] = []
    left_out = {subset: Counter({"without frame labels": babel.unlabelled[subset]}) for subset in SUBSETS}
    for clip in babel.clips:
        if clip.sid not in store.clips:
            left_out[clip.subset]["not in the store"] += 1
            continue
        frames = store.clips[clip.sid].frames
        clip_labels, clip_annotated = dense_labels(clip.segments, classes, frames)
        if not clip_labels.any():
            left_out[clip.subset]["without a chosen class"] += 1
            continue
        clips[clip.subset].append((clip.sid, frames))
        labels.append(clip_labels)
        annotated.append(clip_annotated)
    counts = _counts(clips, labels, annotated, classes)
    facts = {
        "name": folder.name,
        "classes": classes,
        "skeletons": store.folder.name,
        "skeletons_digest": store.digest,
        "babel": babel.hashes,
        "counts": counts,
        "left_out": {subset: dict(sorted(left_out[subset].items())) for subset in SUBSETS},
    }
    write_split(folder, clips, labels, annotated, facts)
    _print(folder.name, classes, counts)


def _counts(
    clips: dict[str, list[tuple[str, int]]], labels: list[np.ndarray], annotated: list[np.ndarray], classes: list[str]
) -> dict[str, Any]:
    counts, first = {}, 0
    for subset in SUBSETS:
        own = labels[first : first + len(clips[subset])]
        seen = annotated[first : first + len(clips[subset])]
        first += len(own)
        present = np.array([part.any(axis=0) for part in own]).reshape(-1, len(classes)).sum(axis=0)
        frames = np.array([part.sum(axis=0) for part in own]).reshape(-1, len(classes)).sum(axis=0)
        counts[subset] = {
            "clips": len(own),
            "frames": sum(len(part) for part in own),
            "un-annotated frames": sum(int((~part).sum()) for part in seen),
            "frames under several classes": sum(int((part.sum(axis=1) > 1).sum()) for part in own),
            f"clips over {BENCHMARK_FRAMES} frames": sum(len(part) > BENCHMARK_FRAMES for part in own),
            "clips by class": dict(zip(classes, present.tolist(), strict=True)),
            "frames by class": dict(zip(classes, frames.tolist(), strict=True)),
        }
    return counts


def _print(name: str, classes: list[str], counts: dict[str, Any]) -> None:
    width = max(18, *(len(label) for label in classes))
    print(f"\n{name:<{width}}" + "".join(f"{subset + ' clips':>13}{'frames':>12}" for subset in SUBSETS))
    for label in classes:
        cells = [(counts[s]["clips by class"][label], counts[s]["frames by class"][label]) for s in SUBSETS]
        print(f"  {label:<{width - 2}}" + "".join(f"{clips:>13,}{frames:>12,}" for clips, frames in cells))
    cells = [(counts[s]["clips"], counts[s]["frames"]) for s in SUBSETS]
    print(f"  {'all':<{width - 2}}" + "".join(f"{clips:>13,}{frames:>12,}" for clips, frames in cells))
    for subset in SUBSETS:
        for label, clips in counts[subset]["clips by class"].items():
            if not clips:
                print(f"warning: no {subset} clip of {name} has the class {label!r}")
