"""A split: the clips of a store that have a class of one label set, and their frame labels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from prepare.formats.babel import LABEL_SETS, Annotation, dense_labels
from utils.errors import UserError, shown
from utils.manifest import SplitManifest, plain_name, read_manifest
from utils.store import STORE_PREFIX, SUBSETS, SkeletonStore, Split, write_split


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
) -> Split:
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
    facts = {
        "name": folder.name,
        "classes": classes,
        "skeletons": store.folder.name,
        "skeletons_digest": store.digest,
        **origin,
        "untimed": untimed,
        "left_out": {subset: dict(sorted(left_out[subset].items())) for subset in SUBSETS},
    }
    ids = {subset: [(sid, len(labels)) for sid, (labels, _) in clips[subset].items()] for subset in SUBSETS}
    labels, annotated = ([arrays[i] for s in SUBSETS for arrays in clips[s].values()] for i in range(2))
    write_split(folder, ids, labels, annotated, facts)
    split = Split.open(folder.parent, folder.name)
    _print(split)
    return split


def _listed(classes: list[str]) -> str:
    return shown(", ".join(classes))[1:-1]


def _print(split: Split) -> None:
    counts = {subset: _counts(split, subset) for subset in SUBSETS}
    names = [*split.classes, "all"]
    width = max(18, *(len(name) + 2 for name in names))
    print(f"\n{split.name:<{width}}" + "".join(f"{subset + ' clips':>13}{'frames':>12}" for subset in SUBSETS))
    for row, name in enumerate(names):
        cells = [counts[subset][row] for subset in SUBSETS]
        print(f"  {name:<{width - 2}}" + "".join(f"{clips:>13,}{frames:>12,}" for clips, frames in cells))
    for subset in SUBSETS:
        for name, (clips, _) in zip(split.classes, counts[subset], strict=False):
            if not clips:
                print(f"warning: no {subset} clip of {split.name} has the class {name!r}")


def _counts(split: Split, subset: str) -> list[tuple[int, int]]:
    """Clips and frames of each class in a subset, and of all."""
    ids, none = split.clip_ids(subset), np.zeros(len(split.classes), int)
    clips = sum((split.labels(sid).any(axis=0) | split.untimed(sid) for sid in ids), none)
    frames = sum((split.labels(sid).sum(axis=0) for sid in ids), none)
    return [*zip(clips, frames, strict=True), (len(ids), sum(len(split.labels(sid)) for sid in ids))]
