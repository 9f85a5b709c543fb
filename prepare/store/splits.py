"""A split: the clips of a store that have a class of one label set, their frame labels, and counts of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from prepare.formats.babel import LABEL_SETS, Annotation, dense_labels
from utils.errors import UserError, shown
from utils.manifest import SplitManifest, plain_name, read_manifest
from utils.store import STORE_PREFIX, SUBSETS, SkeletonStore, write_split

BENCHMARK_FRAMES = 1000  # default of data.max_frames; longer clips are stored and left out when data are loaded


def check_split(root: Path, name: str, classes: list[str], replace: bool, origin: tuple[str, ...] = ()) -> None:
    """Raise UserError unless the split `name` below `root` may be written with these classes.

    It may not have the name of a store or, with other classes, that of a split of the paper. A split that exists with
    other classes, or with labels from elsewhere, may be written only with `replace`.

    origin: the keys of the manifest's `imported`; empty for BABEL's labels.
    """
    folder = root / plain_name(name, "--name")
    if name.lower().startswith(STORE_PREFIX):
        raise UserError(f"--name {name}: names that begin with {STORE_PREFIX!r} are those of stores; choose another")
    if LABEL_SETS.get(name, classes) != classes:
        raise UserError(f"--name {name}: is the split of the paper with {_listed(LABEL_SETS[name])}; choose another")
    if replace or not (folder / "split.json").exists():
        return
    try:
        old = read_manifest(folder / "split.json", SplitManifest)
    except UserError as error:
        print(f"made anew: {error}")
        return
    if tuple(old.imported) != origin or old.classes != classes:
        labels = "imported labels of" if old.imported else "labels of"
        raise UserError(f"{folder}: has {labels} {_listed(old.classes)}; choose another --name, or give --replace")


def write_label_set(
    folder: Path,
    classes: list[str],
    annotations: list[Annotation],
    store: SkeletonStore,
    origin: dict[str, Any],
    unlabelled: dict[str, int] | None = None,
) -> None:
    """Write the split `folder` of these classes over the clips of `store`, and print what is in it.

    Args:
        origin: entries of the manifest that say where the annotations come from.
        unlabelled: number of clips without frame labels, by subset; None: there are none.
    """
    clips: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {subset: {} for subset in SUBSETS}
    untimed: dict[str, list[int]] = {}
    left_out = {subset: Counter({"without frame labels": (unlabelled or {}).get(subset, 0)}) for subset in SUBSETS}
    for clip in annotations:
        if clip.sid not in store.clips:
            left_out[clip.subset]["not in the store"] += 1
            continue
        labels, annotated = dense_labels(clip.segments, classes, store.clips[clip.sid].frames)
        indices = [index for index, name in enumerate(classes) if name in clip.untimed]
        if indices:
            untimed[clip.sid] = indices
            annotated[:] = True  # the action may be in any frame
        if labels.any() or indices:
            clips[clip.subset][clip.sid] = labels, annotated
        else:
            left_out[clip.subset]["without a chosen class"] += 1
    counts = {subset: _counts(clips[subset], classes, untimed) for subset in SUBSETS}
    facts = {
        "name": folder.name,
        "classes": classes,
        "skeletons": store.folder.name,
        "skeletons_digest": store.digest,
        **origin,
        "untimed": untimed,
        "counts": counts,
        "left_out": {subset: dict(sorted(left_out[subset].items())) for subset in SUBSETS},
    }
    ids = {subset: [(sid, len(labels)) for sid, (labels, _) in clips[subset].items()] for subset in SUBSETS}
    labels, annotated = ([arrays[i] for s in SUBSETS for arrays in clips[s].values()] for i in range(2))
    write_split(folder, ids, labels, annotated, facts)
    _print(folder.name, classes, counts)


def _counts(
    by_id: dict[str, tuple[np.ndarray, np.ndarray]], classes: list[str], untimed: dict[str, list[int]]
) -> dict[str, Any]:
    """Clips and frames of one subset, given (T, K) labels and (T,) annotated frames of each clip."""
    clips, none = list(by_id.values()), np.zeros(len(classes), int)
    present = none.copy()
    for sid, (labels, _) in by_id.items():
        present += labels.any(axis=0) | np.isin(np.arange(len(classes)), untimed.get(sid, []))
    frames = sum((labels.sum(axis=0) for labels, _ in clips), none)
    return {
        "clips": len(clips),
        "frames": sum(len(labels) for labels, _ in clips),
        "un-annotated frames": sum(int((~annotated).sum()) for _, annotated in clips),
        "frames under several classes": sum(int((labels.sum(axis=1) > 1).sum()) for labels, _ in clips),
        f"clips over {BENCHMARK_FRAMES} frames": sum(len(labels) > BENCHMARK_FRAMES for labels, _ in clips),
        "clips by class": dict(zip(classes, present.tolist(), strict=True)),
        "frames by class": dict(zip(classes, frames.tolist(), strict=True)),
    }


def _listed(classes: list[str]) -> str:
    return shown(", ".join(classes))[1:-1]


def _print(name: str, classes: list[str], counts: dict[str, Any]) -> None:
    width = max(18, *(len(label) + 2 for label in classes))
    print(f"\n{name:<{width}}" + "".join(f"{subset + ' clips':>13}{'frames':>12}" for subset in SUBSETS))
    rows = {
        label: [(counts[s]["clips by class"][label], counts[s]["frames by class"][label]) for s in SUBSETS]
        for label in classes
    }
    rows = [*rows.items(), ("all", [(counts[s]["clips"], counts[s]["frames"]) for s in SUBSETS])]
    for label, cells in rows:
        print(f"  {label:<{width - 2}}" + "".join(f"{clips:>13,}{frames:>12,}" for clips, frames in cells))
    for subset in SUBSETS:
        for label, clips in counts[subset]["clips by class"].items():
            if not clips:
                print(f"warning: no {subset} clip of {name} has the class {label!r}")
