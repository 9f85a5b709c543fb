"""Make a skeleton store and a split from your own recordings and annotations.

    bash prepare/own_data.sh --recordings motion/ --annotations labels.csv --name mine
    python train.py --config config/own_actions.yaml --set data.split=mine

Recordings are .bvh, .npy, .npz and .skeleton files, in any folders below --recordings. Annotations are a CSV table with
the columns recording,subset,label,start,end (seconds), or ActivityNet's ground-truth JSON. A recording is named by its
path below --recordings, or by its file name if that is unique, with or without suffix. Only training recordings may
have labels without times (video-level labels). A repeated run reads only recordings that are new or changed.
"""

import argparse
import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from prepare.options import TO_RESUME, ReadOptions, add_read_options, add_store_options, next_command
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
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np

from prepare.formats.annotations import read_annotations
from prepare.formats.body_model import body_digest, load_body
from prepare.formats.labels import AnnotatedClip, check_actions, read_actions
from prepare.skeletons.recordings import cached_body_joints, find_inputs, read_recording
from prepare.store.splits import check_split, update_split
from prepare.store.update import TakeSource
from reporting.dataset_card import write_card
from reporting.predictions import PREDICTION
from utils.errors import UserError, composed, run_command, shown
from utils.skeleton import FPS
from utils.store import Split

BACKGROUND_NAMES = ("background", "none", "other", "no action")  # usual names of frames without an action


def prepare_recordings(
    folder_of_recordings: Path,
    annotations: Path,
    name: str,
    out: Path,
    options: ReadOptions,
    classes: list[str] | None = None,
    workers: int = 1,
    replace: bool = False,
) -> Split:
    """Bring the store and the split `name` in `out` up to date, and write the split's card. Returns the split.

    `classes`: class names by index; None: all labels, sorted. `replace`: as in `check_split`.
    Raises UserError when an input is missing or not as expected, or when no recording could be used.
    """
    annotated, test_recordings = read_annotations(annotations)
    labels = sorted({label for recording in annotated for label in recording.names})
    if not labels:
        raise UserError(f"{annotations}: has no label; expected the actions of each recording")
    classes = classes or labels
    check_actions(classes, labels, f"{annotations}: has no label")
    check_split(out, name, classes, replace, ("annotations",))
    if not folder_of_recordings.is_dir():
        raise UserError(f"{folder_of_recordings}: is no folder; name the folder of your recordings by --recordings")
    inputs = find_inputs([folder_of_recordings], out, PREDICTION)
    paths = [file.relative_to(folder_of_recordings).as_posix() for _, file in inputs]
    files = match_files([*annotated, *test_recordings], paths, annotations)

    def read(path: Path, recording: AnnotatedClip) -> tuple[float, np.ndarray]:
        (person,) = read_recording(path, dataclasses.replace(options, person=options.person or 1))
        until_first = np.repeat(person.joints[:1], person.first, axis=0)  # no motion until the person appears
        return FPS, np.concatenate([until_first, person.joints])[: recording.frame_limit()]

    # The store's key contains repr(options). If a field of ReadOptions or JointMap is renamed, all stores are computed
    # again. The key has the hash of the body, so it does not need the path.
    settings = {"name": name, "options": repr(dataclasses.replace(options, body="")), "hands": options.hands}
    settings["body"] = body_digest_of_takes(files.values(), options)
    takes = TakeSource(folder_of_recordings, read, settings, {"imported": {"annotations": annotations.name}})
    background = [label for label in classes if label.casefold() in BACKGROUND_NAMES]
    problems = {
        "recordings without annotation": sorted(set(paths) - set(files.values())),
        "labels that look alike, kept apart": alike(classes),
        "classes that may be background, which needs no label": background,
    }
    split = update_split(out / name, classes, annotated, files, takes, workers, problems)
    if test_recordings:
        print(f"test recordings, not used: {len(test_recordings)}")
    print(f"overview: {write_card(split)}")
    return split


def body_digest_of_takes(files: Collection[str], options: ReadOptions) -> str | None:
    """Hash of the body, so that another body makes another store. None without .npz files, or without a usable body."""
    if not any(file.lower().endswith(".npz") for file in files):
        return None
    try:
        cached_body_joints(options.body, options.hands)  # now, or each worker would load the body
        return body_digest(load_body(options.body))
    except UserError:  # An array of joints needs no body. If a take needs one, reading the take reports the error.
        return None


def match_files(annotated: list[AnnotatedClip], paths: list[str], annotations: Path) -> dict[str, str]:
    """The file of each annotated recording that has one, by its name.

    Raises UserError when a name fits several files, or two names the same file.
    """
    by_name: dict[str, set[str]] = defaultdict(set)
    whole_paths = set(paths)
    for file in paths:
        path = PurePosixPath(file)
        for name in (file, str(path.with_suffix("")), path.name, path.stem):
            by_name[composed(name)].add(file)
    files: dict[str, str] = {}
    for recording in annotated:
        name = recording.sid
        key = composed(name)
        other = by_name.get(key.replace("\\", "/"), set())  # tables made on Windows have backslashes in paths
        fitting = {name} if name in whole_paths else by_name.get(key, other)
        if len(fitting) > 1:
            raise UserError(
                f"{annotations}: {shown(name)} may be {' or '.join(sorted(fitting)[:3])}; give the whole path"
            )
        if fitting:
            (files[name],) = fitting
    for file, count in Counter(files.values()).most_common(1):  # the file with most names, if there is any
        if count > 1:
            names = ", ".join(shown(name) for name in files if files[name] == file)
            raise UserError(f"{annotations}: {names} all name the recording {file}; use one name")
    return files


def alike(labels: list[str]) -> list[str]:
    """Labels that differ only in case, spaces, punctuation or the form of accented letters."""
    groups = defaultdict(list)
    for label in labels:
        groups[re.sub(r"[\W_]+", " ", composed(label).casefold()).strip()].append(label)
    return [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]


def main() -> None:
    args = parse_arguments()
    classes = read_actions(args.actions) if args.actions else None
    choices = {"classes": classes, "workers": args.workers, "replace": args.replace}
    prepare_recordings(args.recordings, args.annotations, args.name, args.out, ReadOptions.of(args), **choices)
    print(next_command("own_actions.yaml", args.out, args.name))


if __name__ == "__main__":
    run_command(main, after_stop=TO_RESUME)
