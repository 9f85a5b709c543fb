"""What a preparation prints: how many takes are stored, what is in a split, and what to do next."""

from collections import Counter
from pathlib import Path

import numpy as np

from prepare.formats.amass import download_name
from prepare.formats.flavours import AMASS_PAGE, Flavour
from prepare.formats.labels import AnnotatedClip
from prepare.options import DATA_ROOT
from utils.errors import printable
from utils.store import SUBSETS, SkeletonStore, Split

TAKES_SHOWN = 10  # takes that cannot be used; the store's manifest names all


def print_takes(clips: list[AnnotatedClip], store: SkeletonStore, flavour: Flavour) -> None:
    """Print how many clips of each AMASS folder are stored, missing or unusable, and which download is needed."""
    columns, left_out = ("stored", "missing", "unusable"), store.manifest.left_out
    table: dict[str, Counter[str]] = {}
    for clip in clips:
        if clip.sid in store.clips or clip.sid in left_out:  # the other clips were not chosen, because of --limit
            unstored = "missing" if left_out.get(clip.sid) == "missing" else "unusable"
            parts = clip.take.split("/")
            folder = printable(parts[1], 60) if len(parts) > 2 else "(no folder)"
            table.setdefault(folder, Counter())["stored" if clip.sid in store.clips else unstored] += 1
    width = max(22, *(len(folder) for folder in table))
    print(f"\n{'clips by AMASS folder':<{width}}" + "".join(f"{column:>12}" for column in columns) + "  download")
    for folder, counts in sorted(table.items()):
        name = download_name(folder)
        wanted = f"  {name or 'unknown to this project'}" if counts["missing"] + counts["unusable"] else ""
        print(f"{folder:<{width}}" + "".join(f"{counts[column]:>12,}" for column in columns) + wanted)
    failed = [clip for clip in clips if left_out.get(clip.sid, "missing") != "missing"]
    for clip in failed[:TAKES_SHOWN]:
        print(f"unusable: {printable(clip.take)} {left_out[clip.sid]}")
    if len(failed) > TAKES_SHOWN:
        print(f"… and {len(failed) - TAKES_SHOWN} more; {store.folder / 'store.json'} names all")
    if left_out:
        print(
            f"missing or unusable: download {flavour.download!r} of the data sets in the last column from {AMASS_PAGE}"
        )


def print_counts(split: Split) -> None:
    """Print the clips and frames of each class in each subset, and warn of classes without clips."""
    counts = {subset: _counts(split, subset) for subset in SUBSETS}
    names = [*split.classes, "all"]
    width = max(18, *(len(name) + 2 for name in names))
    print(f"\n{split.name:<{width}}" + "".join(f"{subset + ' clips':>13}{'frames':>12}" for subset in SUBSETS))
    for row, name in enumerate(names):
        cells = [counts[subset][row] for subset in SUBSETS]
        print(f"  {name:<{width - 2}}" + "".join(f"{clips:>13,}{frames:>12,}" for clips, frames in cells))
    for subset in SUBSETS:
        for name, (clips, _) in zip(split.classes, counts[subset][:-1], strict=True):
            if not clips:
                print(f"warning: no {subset} clip of {split.name} has the class {name!r}")


def next_command(config: str, root: Path, split: str | None = None) -> str:
    """A message with the command that trains on prepared data. split: None if `config` names it."""
    changes = [f"data.split={split}"] if split else []
    if root.resolve() != DATA_ROOT.resolve():
        changes.append(f"data.root={root}")
    command = f"next: python train.py --config config/{config}"
    return f"{command} --set {' '.join(changes)}" if changes else command


def _counts(split: Split, subset: str) -> list[tuple[int, int]]:
    """Clips and frames of each class in a subset, and of all."""
    ids, zeros = split.clip_ids(subset), np.zeros(len(split.classes), int)
    clips = sum((split.labels(sid).any(axis=0) | split.untimed(sid) for sid in ids), zeros)
    frames = sum((split.labels(sid).sum(axis=0) for sid in ids), zeros)
    return [*zip(clips, frames, strict=True), (len(ids), sum(len(split.labels(sid)) for sid in ids))]
