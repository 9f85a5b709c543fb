"""Exchange splits with other code.

    python -m prepare.store.interchange export --split split1 --out exported                       # the released code
    python -m prepare.store.interchange export --split split1 --out exported --format activitynet  # true segments
    python -m prepare.store.interchange export --split split1 --out exported --format pyskl        # pyskl, MMAction2
    python -m prepare.store.interchange export --split split1 --out exported --format features --weights last.pt
    python -m prepare.store.interchange import --train a.pkl --val b.pkl --actions actions.json --name theirs

`features` is for ActionFormer and OpenTAD. docs/data.md describes the files.
"""

import argparse
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from prepare.options import DATA_ROOT, next_command
from utils.command_line import argument_parser, check_first, folder

FORMATS = ("released", "activitynet", "pyskl", "features")


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python -m prepare.store.interchange")
    texts = {"description": __doc__, "formatter_class": parser.formatter_class, "allow_abbrev": False}
    commands = parser.add_subparsers(dest="command", required=True)
    splits = {"type": folder, "default": DATA_ROOT, "help": "folder of splits (default: dataset/processed_data)"}
    add = commands.add_parser("export", help="write a split in the layout of other code", **texts).add_argument
    add("--data", **splits)
    add("--split", required=True, help="name of the split, such as split1")
    add("--out", type=folder, required=True, help="folder for the files")
    layouts = "the released code's pickles, ActivityNet's ground truth, pyskl's pickle, or ActionFormer's features"
    text = f"{', '.join(FORMATS)}: {layouts} (default: %(default)s)"
    add("--format", metavar="NAME", choices=FORMATS, default=FORMATS[0], help=text)
    add("--weights", type=Path, metavar="FILE", help="for --format features: a best.pt or last.pt of train.py")
    add = commands.add_parser("import", help="make a split from one pickle per subset", **texts).add_argument
    add("--train", type=Path, required=True, metavar="FILE", help="pickle of the training clips")
    add("--val", type=Path, required=True, metavar="FILE", help="pickle of the validation clips")
    add("--actions", type=Path, required=True, metavar="FILE", help="JSON {class name: index}")
    add("--name", required=True, help="name of the new split")
    add("--out", **splits)
    args = parser.parse_args()
    if args.command == "export" and (args.weights is None) != (args.format != "features"):
        parser.error("--format features and --weights FILE are needed together")
    return args


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np

from prepare.formats.labels import read_actions
from prepare.formats.pickles import as_array, read_pickle
from prepare.store.exports import export_features, export_ground_truth, export_pyskl, export_released
from prepare.store.splits import check_split, print_counts
from reporting.dataset_card import write_card
from utils.errors import UserError, run_command, shown
from utils.lock import lock_folder
from utils.manifest import SUBSETS, Clip, Subset
from utils.skeleton import FPS, NUM_JOINTS
from utils.store import STORE_PREFIX, LabelledClip, Split, write_split, write_store

MAX_FILE_BYTES = 32 << 30
LARGEST = np.finfo(np.float32).max  # the store has floats of 32 bits


def import_split(files: dict[str, Path], classes: list[str], name: str, out: Path) -> Split:
    """Make a split, with a store of its own, from one pickle of the released code per subset.

    Raises UserError when the split exists, when another command writes to `out`, or when a file holds anything but
    plain containers and numpy arrays or does not have the released layout.
    """
    check_split(out, name, classes, replace=True)  # an existing split is refused below
    out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out, "preparation", "choose another --out"):
        if (out / name).exists():
            raise UserError(f"{out / name}: is there already; choose another --name")
        clips: list[Clip] = []
        labelled: dict[Subset, list[LabelledClip]] = {subset: [] for subset in SUBSETS}
        all_joints = []
        start = 0
        for subset in SUBSETS:
            for sid, joints, labels in read_clips(files[subset], len(classes)):
                frames = len(joints)
                about = {"feat_p": f"{subset}/{sid}", "fps": FPS, "duration": frames / FPS, "source": {}}
                clips.append(Clip(sid=sid, subset=subset, start=start, frames=frames, **about))
                labelled[subset].append((sid, labels, np.ones(frames, bool)))
                all_joints.append(joints)
                start += frames
        where = f"{files['train']}, {files['val']}"
        if not clips:
            raise UserError(f"{where}: hold no clip")
        if repeated := len(clips) - len({clip.sid for clip in clips}):
            raise UserError(f"{where}: {repeated} clip ids occur twice; every clip needs its own id")
        store = out / f"{STORE_PREFIX}{sha256(name.encode()).hexdigest()[:8]}"
        store.mkdir(exist_ok=True)
        origin = {"imported": {subset: files[subset].name for subset in SUBSETS}}
        write_store(store, clips, all_joints, origin)
        facts = {"name": name, "classes": classes, "skeletons": store.name, **origin}
        write_split(out / name, labelled, facts)
    return Split.open(out, name)


def read_clips(path: Path, classes: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Id, joints (T, 25, 3) float32 metres and labels (T, K) bool of each clip. Raises UserError as `import_split`."""
    content = read_pickle(path, "a released split pickle", MAX_FILE_BYTES)
    columns = [content.get(key) for key in ("sid", "X", "L")] if isinstance(content, dict) else []
    if not columns or not all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        raise UserError(f"{path}: expected lists sid, X and L with one entry per clip, as in a released split pickle")
    for number, (sid, x, frame_labels) in enumerate(zip(*columns, strict=True)):
        where = f"{path}: clip {number} ({shown(sid)})"
        if not isinstance(sid, str | int):
            raise UserError(f"{where} has an id that is neither text nor a whole number")
        x, frame_labels = as_array(x), as_array(frame_labels)
        shape = None if x is None else x.shape
        fits = x is not None and x.ndim == 4 and (shape[0], *shape[2:]) == (3, NUM_JOINTS, 1) and x.size
        # Comparisons with NaN are false, so this refuses NaN too.
        if not fits or x.dtype.kind != "f" or not np.abs(x).max() <= LARGEST:
            expected = f"(3, T, {NUM_JOINTS}, 1) finite floats up to {LARGEST:g}"
            found = None if x is None else f"{shape} and type {x.dtype}"
            if fits and x.dtype.kind == "f":
                found += " with values that are not finite or too large"
            raise UserError(f"{where} has X of shape {found}, expected {expected}")
        if frame_labels is None or frame_labels.shape != (x.shape[1],) or frame_labels.dtype.kind not in "iu":
            found = None if frame_labels is None else f"{frame_labels.shape} and type {frame_labels.dtype}"
            raise UserError(f"{where} has L of shape {found}, expected ({x.shape[1]},) whole numbers: class indices")
        if not ((frame_labels >= 0) & (frame_labels <= classes)).all():
            raise UserError(
                f"{where} has labels from {frame_labels.min()} to {frame_labels.max()}, expected 0 to {classes} "
                f"with {classes} for background; does --actions name all classes of this file?"
            )
        yield str(sid), x[..., 0].transpose(1, 2, 0).astype(np.float32), frame_labels[:, None] == np.arange(classes)


def main() -> None:
    args = parse_arguments()
    if args.command == "import":
        files = {"train": args.train, "val": args.val}
        split = import_split(files, read_actions(args.actions), args.name, args.out)
        print_counts(split)
        print(f"overview: {write_card(split)}")
        print(next_command("own_actions.yaml", args.out, args.name))
        return
    split = Split.open(args.data, args.split)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.format == "features":
        written = export_features(split, args.weights, args.out)
    else:
        exports = {"released": export_released, "activitynet": export_ground_truth, "pyskl": export_pyskl}
        written = exports[args.format](split, args.out)
    for path in written:
        print(f"written: {path}")


if __name__ == "__main__":
    run_command(main)
