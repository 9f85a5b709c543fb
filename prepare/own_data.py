"""Make a skeleton store and a split from your own recordings and annotations.

    bash prepare/own_data.sh --recordings motion/ --annotations labels.csv --name mine
    python train.py --config config/own_actions.yaml --set data.split=mine

Recordings are .bvh, .npy, .npz and .skeleton files, in any folders below --recordings. Annotations are a CSV table with
the columns recording,subset,label,start,end (seconds), or ActivityNet's ground-truth JSON. A recording is named by its
path below --recordings, or by its file name if that is unique, with or without suffix. A label without times is a
video-level label; only training recordings may have them. A repeated run reads only recordings that are new or changed.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from prepare.options import ReadOptions, add_read_options, add_store_options, check_limits
from utils.command_line import argument_parser, check_first


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "bash prepare/own_data.sh")
    add = parser.add_argument
    add("--recordings", type=Path, required=True, metavar="DIR", help="folder of the recordings")
    add("--annotations", type=Path, required=True, metavar="FILE", help="a .csv table, or ActivityNet's .json")
    add("--name", required=True, help="name of the split")
    add("--actions", type=Path, metavar="FILE", help="JSON {label: index}: the classes (default: all labels, sorted)")
    add_store_options(parser)
    add_read_options(parser)
    args = parser.parse_args()
    check_limits(parser, args)
    return args


if __name__ == "__main__":
    check_first(parse_arguments)  # now, because the imports below take seconds

import numpy as np

from prepare.formats.annotations import Recording, read_annotations
from prepare.formats.babel import Annotation, Segment, read_actions
from prepare.formats.body_model import body_digest, load_body
from prepare.skeletons.recordings import find_inputs, read_recording
from prepare.store.splits import check_split, write_label_set
from prepare.store.summary import Findings, next_command, write_findings
from prepare.store.update import Takes, update_store
from prepare.store.workers import Job
from reporting.dataset_card import write_card
from reporting.predictions import PREDICTION
from utils.errors import UserError, nearest, run_command, shown
from utils.lock import lock_folder
from utils.skeleton import FPS
from utils.store import SkeletonStore, Split

SHORTEST = 3  # frames; the default of eval.min_length: shorter proposals are dropped
TOLERANCE = 0.1  # seconds; smaller differences of times are not reported


def prepare(
    folder_of_recordings: Path,
    annotations: Path,
    name: str,
    out: Path,
    options: ReadOptions,
    classes: list[str] | None = None,
    workers: int = 1,
    replace: bool = False,
) -> Path:
    """Bring the store and the split `name` in `out` up to date, and write the split's card. Returns the split's folder.

    Args:
        options: how recordings are read.
        classes: class names by index. None: all labels, in alphabetical order.
        replace: a split that exists with other classes is replaced.

    Raises UserError when an input is missing or not as expected, or when no recording could be used.
    """
    annotated, tests = read_annotations(annotations)
    labels = sorted({label.name for recording in annotated for label in recording.labels})
    unknown = [name for name in classes or () if name not in labels]
    if unknown:
        raise UserError(f"{annotations}: has no label {unknown[0]!r}; {nearest(unknown[0], labels)}")
    check_split(out, name, classes or labels, replace, ("annotations",))
    if not folder_of_recordings.is_dir():
        raise UserError(f"{folder_of_recordings}: is no folder; name the folder of your recordings by --recordings")
    inputs = find_inputs([folder_of_recordings], out, PREDICTION)
    files = [file.relative_to(folder_of_recordings).as_posix() for _, file in inputs]
    places = match(annotated, files, annotations)
    clips = [as_clip(recording) for recording in annotated]

    def read(path: Path, job: Job) -> tuple[float, np.ndarray]:
        person = read_recording(path, options)[0]
        still = np.repeat(person.joints[:1], person.first, axis=0)  # until the person appears
        return FPS, np.concatenate([still, person.joints])[: job.limit]

    out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out, "preparation", "choose another --out"):
        settings = {"name": name, "options": repr(options), "hands": options.hands}
        settings["body"] = body_of_takes(places.values(), options)
        takes = Takes(folder_of_recordings, read, settings, {"imported": {"annotations": annotations.name}})
        store, left_out = update_store(out, takes, clips, places, workers)
        report = check_times(annotated, store, annotations)
        folder = out / name
        write_label_set(folder, classes or labels, clips, store, takes.origin)
        report |= {
            "annotated recordings without a file": [sid for sid, why in left_out.items() if why == "missing"],
            "recordings that cannot be used": [f"{sid} {why}" for sid, why in left_out.items() if why != "missing"],
            "recordings without annotation": sorted(set(files) - set(places.values())),
            "labels that look alike, kept apart": alike(classes or labels),
        }
    print(f"\n{len(store.clips)} of {len(annotated)} recordings are stored; test recordings, not used: {tests}")
    write_findings(folder / "report.txt", report)
    print(f"look: {write_card(Split.open(out, name))}")
    return folder


def body_of_takes(files: Collection[str], options: ReadOptions) -> str | None:
    """The hash of the body for AMASS takes, so that another body makes another store. None without takes or body."""
    if not any(file.lower().endswith(".npz") for file in files):
        return None
    try:
        return body_digest(load_body(options.body))
    except UserError:  # arrays of joints need no body; reading a take says what is wrong with it
        return None


def match(annotated: list[Recording], files: list[str], annotations: Path) -> dict[str, str]:
    """The file of each annotated recording that has one, by its name.

    Raises UserError when a name fits several files, or two names the same file.
    """
    by_name: dict[str, set[str]] = defaultdict(set)
    for file in files:
        path = PurePosixPath(file)
        for name in (file, str(path.with_suffix("")), path.name, path.stem):
            by_name[name].add(file)
    places: dict[str, str] = {}
    for name in (recording.name for recording in annotated):
        fitting = {name} if name in files else by_name.get(name, set())
        if len(fitting) > 1:
            raise UserError(
                f"{annotations}: {shown(name)} may be {' or '.join(sorted(fitting)[:3])}; give the whole path"
            )
        if fitting:
            (places[name],) = fitting
    for file, count in Counter(places.values()).most_common(1):
        if count > 1:
            names = ", ".join(shown(name) for name in places if places[name] == file)
            raise UserError(f"{annotations}: {names} are all the recording {file}; use one name")
    return places


def as_clip(recording: Recording) -> Annotation:
    """A recording's annotations as those of a BABEL clip."""
    timed = [Segment(start_t=x.start, end_t=x.end, act_cat=[x.name]) for x in recording.labels if x.start is not None]
    untimed = tuple({label.name for label in recording.labels if label.start is None})
    return Annotation(recording.name, recording.subset, recording.name, None, timed, untimed)


def check_times(annotated: list[Recording], store: SkeletonStore, annotations: Path) -> Findings:
    """Segments that are outside their recording, too short or doubled, as lists of where they are.

    Raises UserError when most segments begin after the end of their recording: their times are not seconds.
    """
    found: Findings = defaultdict(list)
    segments = 0
    for recording in annotated:
        if recording.name not in store.clips:
            continue
        seconds = store.clips[recording.name].frames / FPS
        if recording.duration and abs(recording.duration - seconds) > TOLERANCE:
            text = f"{shown(recording.name)}: {seconds:.2f} s, not {recording.duration:g}"
            found["recordings that do not last as long as annotated"].append(text)
        timed = [label for label in recording.labels if label.start is not None]
        segments += len(timed)
        for label in timed:
            text = f"{label.place} ({shown(label.name)}, {label.start:g} to {label.end:g} of {seconds:.2f} s)"
            if label.start >= seconds:
                found["segments after the end of their recording, not used"].append(text)
                continue
            if label.end > seconds + TOLERANCE:
                found["segments that end after their recording, cut off there"].append(text)
            if (min(label.end, seconds) - label.start) * FPS < SHORTEST:
                found[f"segments of less than {SHORTEST} frames, too short to be detected"].append(text)
        for (name, start, end), count in Counter((x.name, x.start, x.end) for x in timed).items():
            if count > 1:
                text = f"{shown(recording.name)}: {shown(name)}, {start:g} to {end:g} s, {count} times"
                found["segments that are there more than once, used once"].append(text)
    outside = found["segments after the end of their recording, not used"]
    if 2 * len(outside) > segments:
        raise UserError(
            f"{annotations}: most segments begin after the end of their recording, such as {outside[0]}. If the times "
            "are frames, divide them by the frame rate"
        )
    return found


def alike(labels: list[str]) -> list[str]:
    """Labels that differ only in case, spaces or punctuation."""
    groups = defaultdict(list)
    for label in labels:
        groups[re.sub(r"[\W_]+", " ", label.casefold()).strip()].append(label)
    return [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]


def main() -> int:
    args = parse_arguments()
    classes = read_actions(args.actions) if args.actions else None
    options = ReadOptions.of(args)
    prepare(args.recordings, args.annotations, args.name, args.out, options, classes, args.workers, args.replace)
    print(next_command("own_actions.yaml", args.out, args.name))
    return 0


if __name__ == "__main__":
    run_command(main)
