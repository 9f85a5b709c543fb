"""Exchange splits with other code.

    python -m prepare.store.interchange export --split split1 --out there                         # the released pickles
    python -m prepare.store.interchange export --split split1 --out there --format activitynet    # true segments
    python -m prepare.store.interchange export --split split1 --out there --format pyskl          # pyskl, MMAction2
    python -m prepare.store.interchange export --split split1 --out there --format features --weights best.pt
    python -m prepare.store.interchange import --train a.pkl --val b.pkl --actions actions.json --name theirs

`features` is for ActionFormer and OpenTAD. docs/data.md describes the files. A released pickle holds one subset:
{"sid": [...], "X": [...], "Y": [...], "L": [...]} with one entry per clip, or a list of {"sid", "X", "Y", "L"}.
X (3, T, 25, 1): joints in metres at 30 fps. Y: class indices of the clip. L (T,): one class index per frame, K for
background.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from prepare.options import STORES
from utils.command_line import argument_parser, check_first

FORMATS = ("released", "activitynet", "pyskl", "features")


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python -m prepare.store.interchange")
    texts = {"description": __doc__, "formatter_class": parser.formatter_class, "allow_abbrev": False}
    commands = parser.add_subparsers(dest="command", required=True)
    folder = {"type": Path, "default": STORES}
    folder["help"] = "folder of splits (default: dataset/processed_data)"
    add = commands.add_parser("export", help="write a split in the layout of other code", **texts).add_argument
    add("--data", **folder)
    add("--split", required=True, help="name of the split, such as split1")
    add("--out", type=Path, required=True, help="folder for the files")
    what = "released pickles, ActivityNet's ground truth, pyskl's pickle, or features for ActionFormer and OpenTAD"
    what = f"{', '.join(FORMATS)}: {what} (default: %(default)s)"
    add("--format", metavar="NAME", choices=FORMATS, default=FORMATS[0], help=what)
    add("--weights", type=Path, metavar="FILE", help="for --format features: a best.pt or last.pt of train.py")
    gaps = "for --format released: frames without annotation become background or are removed (default: background)"
    add("--gaps", choices=("background", "removed"), default="background", help=gaps)
    add = commands.add_parser("import", help="make a split from one pickle per subset", **texts).add_argument
    add("--train", type=Path, required=True, metavar="FILE", help="pickle of the training clips")
    add("--val", type=Path, required=True, metavar="FILE", help="pickle of the validation clips")
    add("--actions", type=Path, required=True, metavar="FILE", help="JSON {class name: index}")
    add("--name", required=True, help="name of the new split")
    add("--out", **folder)
    args = parser.parse_args()
    if args.command == "export" and (args.weights is None) != (args.format != "features"):
        parser.error("--format features and --weights FILE are needed together")
    return args


if __name__ == "__main__":
    check_first(parse_arguments)  # now, because the imports below take seconds

import numpy as np

from feeders.label_policy import LabelPolicy
from prepare.formats.babel import read_actions
from prepare.formats.pickles import Stub, as_array, read_pickle
from prepare.store.exports import export_features, export_ground_truth, export_pyskl
from prepare.store.splits import check_split
from reporting.dataset_card import write_card
from utils.atomic import whole_file
from utils.errors import UserError, run_command, shown
from utils.skeleton import FPS, NUM_JOINTS
from utils.store import STORE_PREFIX, SUBSETS, Clip, Split, write_split, write_store

KEYS = ("sid", "X", "Y", "L")
MAX_FILE_BYTES = 32 << 30


def export_split(split: Split, policy: LabelPolicy, out: Path) -> list[Path]:
    """Write each subset of a split as a released pickle; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for subset in SUBSETS:
        content: dict[str, list[Any]] = {key: [] for key in KEYS}
        for sid in split.clip_ids(subset):
            labels = policy.apply(split.labels(sid), split.annotated(sid))
            if labels is None:
                continue
            joints = np.array(split.store.people(sid)[: len(labels)])
            content["sid"].append(sid)
            content["X"].append(joints.transpose(3, 0, 2, 1))
            content["Y"].append(np.flatnonzero(labels.any(axis=0)).tolist())
            content["L"].append(np.where(labels.any(axis=1), labels.argmax(axis=1), labels.shape[1]))
        path = out / f"{split.name}_{subset}.pkl"
        with whole_file(path) as file:
            pickle.dump(content, file, protocol=4)
        written.append(path)
    return written


def import_split(files: dict[str, Path], classes: list[str], name: str, out: Path) -> Path:
    """Make a split, with a store of its own, from one pickle per subset; returns the split's folder.

    Raises UserError when the split exists, or when a file holds anything but plain containers and numpy arrays or does
    not have the released layout.
    """
    check_split(out, name, classes, replace=True)
    if (out / name).exists():
        raise UserError(f"{out / name}: is there already; choose another --name")
    clips: list[Clip] = []
    joints, labels = [], []
    start = 0
    for subset in SUBSETS:
        for sid, clip_joints, clip_labels in read_clips(files[subset], len(classes)):
            frames = len(clip_joints)
            facts = {"feat_p": f"{subset}/{sid}", "fps": FPS, "duration": frames / FPS, "source": {}}
            clips.append(Clip(sid=sid, subset=subset, start=start, frames=frames, **facts))
            joints.append(clip_joints)
            labels.append(clip_labels)
            start += frames
    repeated = len(clips) - len({clip.sid for clip in clips})
    if repeated:
        raise UserError(f"{files['train']}, {files['val']}: {repeated} clip ids come twice; each needs its own")
    key = sha256(b"".join(sha256(files[subset].read_bytes()).digest() for subset in SUBSETS)).hexdigest()[:8]
    store = out / f"{STORE_PREFIX}{key}"
    store.mkdir(parents=True, exist_ok=True)
    origin = {subset: files[subset].name for subset in SUBSETS}
    write_store(store, clips, joints, {"imported": origin})
    of_subset = {s: [(clip.sid, clip.frames) for clip in clips if clip.subset == s] for s in SUBSETS}
    annotated = [np.ones(len(part), bool) for part in labels]
    facts = {"name": name, "classes": classes, "skeletons": store.name, "imported": origin}
    write_split(out / name, of_subset, labels, annotated, facts)
    return out / name


def read_clips(path: Path, classes: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Id, joints (T, 25, 3) float32 metres and labels (T, K) bool of each clip. Raises UserError as `import_split`."""
    for number, entry in enumerate(_entries(path)):
        sid, x, frame_labels = str(entry["sid"]), as_array(entry["X"]), as_array(entry["L"])
        where = f"{path}: clip {number} ({shown(sid)})"
        shape = None if x is None else x.shape
        if x is None or x.dtype.kind != "f" or x.ndim != 4 or shape != (3, x.shape[1], NUM_JOINTS, 1) or not x.size:
            raise UserError(f"{where} has X of shape {shape}, expected (3, T, {NUM_JOINTS}, 1) floats")
        if not np.isfinite(x).all():
            raise UserError(f"{where} has joints that are not finite")
        if frame_labels is None or frame_labels.shape != (x.shape[1],) or frame_labels.dtype.kind not in "iu":
            found = None if frame_labels is None else frame_labels.shape
            raise UserError(f"{where} has L of shape {found}, expected ({x.shape[1]},) class indices")
        if not ((frame_labels >= 0) & (frame_labels <= classes)).all():
            raise UserError(
                f"{where} has labels from {frame_labels.min()} to {frame_labels.max()}, expected 0 to {classes} "
                f"with {classes} for background; does --actions name all its classes?"
            )
        labels = frame_labels[:, None] == np.arange(classes)
        if _indices(entry["Y"]) != np.flatnonzero(labels.any(axis=0)).tolist():
            raise UserError(f"{where} has classes Y that are not those of its L")
        yield sid, x[..., 0].transpose(1, 2, 0).astype(np.float32), labels


def _entries(path: Path) -> list[dict[str, Any]]:
    """The clips of a pickle in either layout, each with all of KEYS."""
    content = read_pickle(path, "a released split pickle", MAX_FILE_BYTES)
    if isinstance(content, dict) and set(KEYS) <= content.keys():
        columns = {key: _column(content[key]) for key in KEYS}
        if len({len(column) for column in columns.values()}) > 1:
            lengths = ", ".join(f"{len(column)} {key}" for key, column in columns.items())
            raise UserError(f"{path}: holds {lengths}; expected one of each a clip")
        return [dict(zip(KEYS, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if isinstance(content, list) and all(isinstance(e, dict) and set(KEYS) <= e.keys() for e in content):
        return content
    raise UserError(f"{path}: holds a {type(content).__name__} without sid, X, Y, L; expected a released split pickle")


def _column(value: Any) -> list[Any]:
    array = as_array(value)
    if isinstance(value, list | tuple):
        return list(value)
    return [] if array is None or array.ndim == 0 else array.tolist()


def _indices(value: Any) -> list[int] | None:
    """Class indices in rising order; None when an entry is no whole number."""
    entries = [as_array(entry) if isinstance(entry, Stub) else entry for entry in _column(value)]
    numbers = [entry.item() if isinstance(entry, np.ndarray) and entry.ndim == 0 else entry for entry in entries]
    return sorted(numbers) if all(type(number) is int for number in numbers) else None


def main() -> int:
    args = parse_arguments()
    if args.command == "export":
        split = Split.open(args.data, args.split)
        if args.format == "features":
            written = export_features(split, args.weights, args.out)
        elif args.format == "activitynet":
            written = export_ground_truth(split, args.out)
        elif args.format == "pyskl":
            written = export_pyskl(split, args.out)
        else:
            policy = LabelPolicy("lowest", args.gaps, max_frames=1000, length_counts="clip")
            written = export_split(split, policy, args.out)
        for path in written:
            print(f"written: {path}")
        return 0
    folder = import_split({"train": args.train, "val": args.val}, read_actions(args.actions), args.name, args.out)
    print(f"written: {folder}; to train on it, give train.py --set data.root={args.out} data.split={args.name}")
    print(f"look: {write_card(Split.open(args.out, args.name))}")
    return 0


if __name__ == "__main__":
    run_command(main)
