"""Make the skeleton store and its splits from AMASS motion, BABEL labels and an SMPL-H or SMPL-X body.

    bash prepare/generate_dataset.sh                                         # splits 1, 2, 3 of the paper
    bash prepare/generate_dataset.sh --actions my.json --name mine           # your own classes, {"walk": 0, "wave": 1}
    bash prepare/generate_dataset.sh --limit 50                              # a first try: 50 clips of train and of val

Joints are computed once and shared by all splits, so a further split takes seconds. A repeated run resumes after a stop
and computes only what has changed.
"""

import argparse
from collections import Counter, defaultdict
from pathlib import Path

from prepare.options import BODY, ROOT, TO_RESUME, add_body_options, add_store_options, next_command
from utils.command_line import argument_parser, check_first, number


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "bash prepare/generate_dataset.sh")
    add = parser.add_argument
    amass = "AMASS, as <Folder>/<subject>/<take>_poses.npz or _stageii.npz (default: dataset/amass)"
    add("--amass", type=Path, default=ROOT / "dataset" / "amass", metavar="DIR", help=amass)
    babel = "BABEL's train.json and val.json (default: dataset/babel_v1.0_release)"
    add("--babel", type=Path, default=ROOT / "dataset" / "babel_v1.0_release", metavar="DIR", help=babel)
    add_body_options(parser)
    add("--actions", type=Path, metavar="FILE", help="JSON {name: index}: the classes of your own split")
    add("--name", help="name of your own split")
    add_store_options(parser)
    add("--limit", type=number(1), metavar="N", help="only N clips of train and N of val")
    args = parser.parse_args()
    if (args.actions is None) != (args.name is None):
        parser.error("--actions and --name are needed together: the classes and the name of your own split")
    return args


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np

from prepare.formats.amass import download_name, find_takes, read_poses
from prepare.formats.babel import read_babel
from prepare.formats.body_model import body_digest, load_body
from prepare.formats.flavours import AMASS_PAGE, Flavour
from prepare.formats.labels import PAPER_SPLITS, AnnotatedClip, check_actions, read_actions
from prepare.skeletons.body_joints import BodyJoints
from prepare.store.splits import check_split, write_split_from_store
from prepare.store.update import TakeSource, update_store
from reporting.dataset_card import write_card
from utils.errors import printable, run_command
from utils.lock import lock_folder
from utils.manifest import MISSING, SUBSETS
from utils.store import SkeletonStore, Split

STATES = ("stored", MISSING, "unusable")  # of clips
TAKES_SHOWN = 10  # takes that cannot be used; the store's manifest names all


def build(
    amass: Path,
    babel_folder: Path,
    body_file: str,
    out: Path,
    splits: dict[str, list[str]],
    workers: int = 1,
    limit: int | None = None,
    replace: bool = False,
    hands: str = "as-is",
) -> list[Split]:
    """Bring the store and the splits in `out` up to date. Returns the splits.

    `body_file`: as in `load_body`; it decides which flavour of AMASS is used. `splits`: class names by index, by the
    name of the split. `limit`: as in `choose_clips`. `replace`: as in `check_split`. `hands`: one of flavours.HANDS.
    Raises UserError when an input is missing or not as expected, or when no take could be used.
    """
    babel = read_babel(babel_folder)
    known = sorted({name for clip in babel.clips for name in clip.names})
    for name, classes in splits.items():
        check_split(out, name, classes, replace)
        check_actions(classes, known, f"classes of the split {name!r}: no clip has the action")
    body = load_body(body_file)
    body_joints = BodyJoints(body, hands)
    flavour = body_joints.flavour
    found = find_takes(amass, flavour, (clip.take for clip in babel.clips))
    files = {clip.sid: found[clip.take] for clip in babel.clips if clip.take in found}
    wanted_classes = {name for classes in splits.values() for name in classes}
    wanted = choose_clips(babel.clips, files, wanted_classes, limit)

    def read(path: Path, clip: AnnotatedClip) -> tuple[float, np.ndarray]:
        fps, poses = read_poses(path, flavour, clip.duration)
        return fps, body_joints(poses[: clip.frame_limit()])

    settings = {"model": flavour.model, "body": body_digest(body), "hands": hands}
    takes = TakeSource(amass, read, settings, {"babel": babel.hashes})
    out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out, "preparation", "choose another --out"):
        store = update_store(out, takes, babel.clips, files, workers, wanted)
        print_takes(babel.clips, store, flavour)
        written = [
            write_split_from_store(out / name, classes, babel.clips, store, takes.origin, babel.unlabelled)
            for name, classes in splits.items()
        ]
    print(f"\nwritten to {out} ({flavour.model}, hands {hands})")
    return written


def choose_clips(clips: list[AnnotatedClip], files: dict[str, str], classes: set[str], limit: int | None) -> set[str]:
    """Ids of at most `limit` clips (None: all) of each subset that have a take, those with one of `classes` first."""
    available = [clip for clip in clips if clip.sid in files]
    available.sort(key=lambda clip: classes.isdisjoint(clip.names))  # False sorts first: clips with one of the classes
    chosen = [[clip.sid for clip in available if clip.subset == subset][:limit] for subset in SUBSETS]
    return set().union(*chosen)


def print_takes(clips: list[AnnotatedClip], store: SkeletonStore, flavour: Flavour) -> None:
    """Print how many clips of each AMASS folder are stored, missing or unusable, and which download is needed."""
    left_out = store.manifest.left_out
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        if clip.sid in store.clips or clip.sid in left_out:  # the other clips were not chosen, because of --limit
            state = left_out.get(clip.sid, "stored")
            parts = clip.take.split("/")
            folder = printable(parts[1], 60) if len(parts) > 2 else "(no folder)"
            table[folder][state if state in STATES else "unusable"] += 1
    width = max(22, *map(len, table))
    print(f"\n{'clips by AMASS folder':<{width}}" + "".join(f"{state:>12}" for state in STATES) + "  download")
    for folder, counts in sorted(table.items()):
        name = download_name(folder) or "look for it on the page"
        wanted = f"  {name}" if counts[MISSING] + counts["unusable"] else ""
        print(f"{folder:<{width}}" + "".join(f"{counts[state]:>12,}" for state in STATES) + wanted)
    failed = [clip for clip in clips if left_out.get(clip.sid, MISSING) != MISSING]
    for clip in failed[:TAKES_SHOWN]:
        print(f"unusable: {printable(clip.take)} {left_out[clip.sid]}")
    if len(failed) > TAKES_SHOWN:
        print(f"… and {len(failed) - TAKES_SHOWN} more; {store.folder / 'store.json'} names all")
    if left_out:
        print(
            f"missing or unusable: download {flavour.download!r} of the data sets in the last column from {AMASS_PAGE}"
        )


def main() -> None:
    args = parse_arguments()
    splits = {args.name: read_actions(args.actions)} if args.actions else PAPER_SPLITS
    body, hands = args.body or str(BODY), args.hands or "as-is"
    options = {"workers": args.workers, "limit": args.limit, "replace": args.replace, "hands": hands}
    for split in build(args.amass, args.babel, body, args.out, splits, **options):
        print(f"overview: {write_card(split)}")
    print(next_command("own_actions.yaml" if args.actions else "train_split1.yaml", args.out, args.name))


if __name__ == "__main__":
    run_command(main, after_stop=TO_RESUME)
