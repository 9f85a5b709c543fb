"""A split: the clips of a store that have one of its classes, and their frame labels.

`write_split_from_store` makes it from a store. `update_split` makes the store too, and reports what did not fit.
"""

import dataclasses
import math
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from prepare.formats.labels import PAPER_SPLITS, AnnotatedClip, dense_labels
from prepare.store.update import TakeSource, read_earlier, update_store
from utils.atomic import write_whole
from utils.errors import UserError, printable, shown
from utils.lock import lock_folder
from utils.manifest import MISSING, SUBSETS, SplitManifest, Subset, plain_name
from utils.skeleton import FPS
from utils.store import STORE_PREFIX, LabelledClip, SkeletonStore, Split, write_split

Problems = dict[str, list[str]]  # messages by heading
PROBLEMS_SHOWN = 5  # messages of a heading that are printed; the report has all
SHORTEST_SEGMENT = 3  # frames; the default of eval.min_length: shorter proposals are dropped
TOLERANCE = 0.1  # seconds; smaller differences of times are not reported
AFTER_END = "segments after the end of their recording, not used"  # a heading


def check_split(root: Path, name: str, classes: list[str], replace: bool, imported: tuple[str, ...] = ()) -> None:
    """Raise UserError unless the split `name` below `root` may be written with these classes.

    `replace`: also accept a split of this name with other classes, or labels from another source. `imported`: where the
    labels come from, as the keys of `imported` in the manifest, such as ("annotations",); () for BABEL.
    """
    folder = root / plain_name(name, "--name")
    if name.lower().startswith(STORE_PREFIX):
        raise UserError(f"--name {name}: names that begin with {STORE_PREFIX!r} are those of stores; choose another")
    if name in PAPER_SPLITS and classes != PAPER_SPLITS[name]:
        its_own = printable(", ".join(PAPER_SPLITS[name]), 100)
        raise UserError(f"--name {name}: is the split of the paper with {its_own}; choose another")
    path = folder / "split.json"
    old = None if replace else read_earlier(path, lambda: SplitManifest.read(path))
    if old and (tuple(old.imported) != imported or old.classes != classes):
        if old.classes == classes:
            found = "has labels of the same classes from another source"
        else:
            before, now = (printable(", ".join(names), 100) for names in (old.classes, classes))
            found = f"has labels of {before}, not of {now}"
        raise UserError(f"{folder}: {found}; choose another --name, or give --replace")


def write_split_from_store(
    folder: Path,
    classes: list[str],
    annotations: list[AnnotatedClip],
    store: SkeletonStore,
    origin: dict[str, Any],
    unlabelled: dict[str, int] | None = None,
) -> Split:
    """Write the split `folder` of these classes, whose clips are in `store`, and print what is in it.

    `origin`: as in `TakeSource`. `unlabelled`: number of clips without frame labels, by subset.
    """
    clips: dict[Subset, list[LabelledClip]] = {subset: [] for subset in SUBSETS}
    untimed: dict[str, list[int]] = {}
    left_out = {subset: Counter({"without frame labels": (unlabelled or {}).get(subset, 0)}) for subset in SUBSETS}
    for clip in annotations:
        if clip.sid not in store.clips:
            left_out[clip.subset]["not in the store"] += 1
            continue
        labels, annotated = dense_labels(clip.labels, classes, store.clips[clip.sid].frames)
        video_level = {name for label in clip.labels if label.start is None for name in label.names}
        indices = [index for index, name in enumerate(classes) if name in video_level]
        if indices:
            untimed[clip.sid] = indices
            annotated[:] = True  # the action may be in any frame
        if labels.any() or indices:
            clips[clip.subset].append((clip.sid, labels, annotated))
        else:
            left_out[clip.subset]["without a chosen class"] += 1
    about = {"name": folder.name, "classes": classes, "skeletons": store.folder.name, "skeletons_digest": store.digest}
    reasons = {subset: dict(sorted(counts.items())) for subset, counts in left_out.items()}
    with suppress(UserError):  # there is no split of this name yet, or it is damaged
        before = SplitManifest.read(folder / "split.json").skeletons
        if before != store.folder.name:
            why = f"made from other data, with other options or by another version than {before}, which stays"
            print(f"{folder.name} now uses {store.folder.name}, {why}")
    write_split(folder, clips, {**about, **origin, "untimed": untimed, "left_out": reasons})
    split = Split.open(folder.parent, folder.name)
    print_counts(split)
    return split


def update_split(
    folder: Path,
    classes: list[str],
    recordings: list[AnnotatedClip],
    files: dict[str, str],
    takes: TakeSource,
    workers: int,
    problems: Problems,
    needed: str = "file",
) -> Split:
    """Bring the split `folder`, and its store beside it, up to date. Write and print a report of what did not fit.

    `files`: file below `takes.folder`, by recording. `problems`: those that the caller has found, for the report.
    `needed`: what the report calls the files, such as "skeleton or label file".
    Raises UserError when no recording could be used, or when most segments begin after the end of their recording.
    """
    out = folder.parent
    out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out, "preparation", "choose another --out"):
        # The split decides the subset, not the store. An annotated duration does not shorten a recording.
        # `_check_times` only reports a difference.
        shared = [dataclasses.replace(recording, subset=None, duration=None) for recording in recordings]
        store = update_store(out, takes, shared, files, workers, files.keys())
        left_out = store.manifest.left_out
        found = _check_times(recordings, store, takes.folder)
        split = write_split_from_store(folder, classes, recordings, store, takes.origin)
        same: dict[str, list[str]] = defaultdict(list)  # recordings by the hash of their file
        for name, clip in store.clips.items():
            same[clip.source["sha256"]].append(name)
        found |= {
            "recordings with the same content": [" and ".join(map(shown, n)) for n in same.values() if len(n) > 1],
            f"recordings without a {needed}": [name for name, why in left_out.items() if why == MISSING],
            "recordings without a label of the classes, not used": sorted(store.clips.keys() - set(split.clip_ids())),
            f"recordings whose {needed} is gone, the stored joints are used": sorted(store.clips.keys() - files.keys()),
            "recordings that cannot be used": [f"{files[n]} {why}" for n, why in left_out.items() if why != MISSING],
        }
        several = sum(clip.people > 1 for clip in store.clips.values())
        people = f", {several} of them with several people" if several else ""
        print(f"\n{len(store.clips)} of {len(recordings)} recordings are stored{people}")
        _write_report(folder / "report.txt", problems | found)
    return split


def print_counts(split: Split) -> None:
    """Print the clips and frames of each class in each subset, and warn of subsets and classes without clips."""
    names = [*split.classes, "all"]
    counts = {subset: np.zeros((len(names), 2), int) for subset in SUBSETS}  # clips and frames
    for subset in SUBSETS:
        for sid in split.clip_ids(subset):
            labels = split.labels(sid)
            counts[subset][:, 0] += [*split.present(sid), True]
            counts[subset][:, 1] += [*labels.sum(axis=0), len(labels)]
    names = [printable(name) for name in names]
    width = max(18, *(len(name) + 2 for name in names))
    print(f"\n{split.name:<{width}}" + "".join(f"{subset + ' clips':>13}{'frames':>12}" for subset in SUBSETS))
    for k, name in enumerate(names):
        cells = "".join("{:>13,}{:>12,}".format(*counts[subset][k]) for subset in SUBSETS)
        print(f"  {name:<{width - 2}}{cells}")
    for subset in SUBSETS:
        if not split.clip_ids(subset):
            print(f"warning: {subset} has no clip; train.py needs clips in both subsets, train and val")
            continue
        if untimed := sum(split.untimed(sid).any() for sid in split.clip_ids(subset)):
            print(f"{subset} clips with labels without times, which count in no frame: {untimed}")
        for k, name in enumerate(split.classes):
            if not counts[subset][k, 0]:
                print(f"warning: no {subset} clip of {split.name} has the class {name!r}")


def _check_times(recordings: list[AnnotatedClip], store: SkeletonStore, folder: Path) -> Problems:
    """Where annotations do not fit: segments outside their recording, too short ones, joined ones, and other durations.

    Raises UserError when most segments begin after the end of their recording.
    """
    problems: Problems = defaultdict(list)
    segments = 0
    for recording in recordings:
        if recording.sid not in store.clips:
            continue
        seconds = store.clips[recording.sid].frames / FPS
        if recording.duration and abs(recording.duration - seconds) > TOLERANCE:
            text = f"{shown(recording.sid)}: {seconds:.2f} s, not {recording.duration:g}"
            problems["recordings that do not last as long as annotated"].append(text)
        timed = [label for label in recording.labels if label.start is not None]
        segments += len(timed)
        end_frame: dict[tuple[str, ...], int] = {}  # of the earlier segments of a class
        for label in sorted(timed, key=lambda label: label.start):
            text = f"{label.where} ({shown(label.names[0])}, {label.start:g} to {label.end:g} of {seconds:.2f} s)"
            if label.start >= seconds:
                problems[AFTER_END].append(text)
                continue
            if label.end > seconds + TOLERANCE:
                problems["segments that end after their recording, cut off there"].append(text)
            if label.start * FPS - 1e-6 <= end_frame.get(label.names, -1):
                problems["segments that touch or overlap one of the same class, counted as one"].append(text)
            end_frame[label.names] = max(end_frame.get(label.names, -1), math.ceil(label.end * FPS - 1e-6))
            if (min(label.end, seconds) - label.start) * FPS < SHORTEST_SEGMENT:
                problems[f"segments of less than {SHORTEST_SEGMENT} frames, too short to be detected"].append(text)
    outside = problems[AFTER_END]
    if 2 * len(outside) > segments:
        raise UserError(
            f"annotations of {folder}: most segments begin after the end of their recording, such as {outside[0]}. "
            "If the times are frames, divide them by the frame rate; if recordings are cut off, get them again"
        )
    return problems


def _write_report(path: Path, problems: Problems) -> None:
    """Write all problems to `path`, and print the beginning of each list."""
    lines = []
    for heading, messages in sorted(problems.items()):
        messages = [printable(message) for message in messages]
        lines += [f"{heading} ({len(messages)}): {message}\n" for message in messages]
        more = f"; and {len(messages) - PROBLEMS_SHOWN} more in {path}" if len(messages) > PROBLEMS_SHOWN else ""
        if messages:
            print(f"{heading} ({len(messages)}): {'; '.join(messages[:PROBLEMS_SHOWN])}{more}")
    write_whole(path, "".join(lines).encode())
