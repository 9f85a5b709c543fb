"""Make a skeleton store and the split of a protocol from PKU-MMD (phase 1).

    bash prepare/pkummd.sh --root PKUMMD --protocol cross-subject
    python train.py --config config/pkummd_cross_subject.yaml

--root is the folder of the unpacked downloads: skeletons, labels and protocols, in any folders below it. Both protocols
share one store, so the second one takes seconds. A repeated run reads only recordings that are new or changed.
"""

import argparse
from pathlib import Path

from prepare.options import ROOT, TO_RESUME, add_store_options, next_command
from utils.command_line import argument_parser, check_first

ACTION_NAMES = ROOT / "config" / "actions" / "pkummd.yaml"
# Name of the split and of the config file of each protocol
PROTOCOLS = {"cross-subject": "pkummd_cross_subject", "cross-view": "pkummd_cross_view"}


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "bash prepare/pkummd.sh")
    add = parser.add_argument
    add("--root", type=Path, required=True, metavar="DIR", help="folder of PKU-MMD")
    add("--protocol", choices=list(PROTOCOLS), required=True, help="how recordings are divided into train and val")
    names = "YAML or JSON {number: name} of the actions (default: config/actions/pkummd.yaml)"
    add("--actions", type=Path, default=ACTION_NAMES, metavar="FILE", help=names)
    add_store_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np

from prepare.formats.labels import AnnotatedClip
from prepare.formats.pkummd import find_recordings, read_action_names, read_labels, read_skeletons
from prepare.skeletons.recordings import AXIS_ROTATIONS
from prepare.store.splits import check_split, update_split
from prepare.store.update import TakeSource
from reporting.dataset_card import write_card
from utils.errors import run_command
from utils.skeleton import FPS
from utils.store import Split

ORIGIN = {"imported": {"PKU-MMD": "phase 1"}}


def prepare_protocol(
    root: Path, protocol: str, out: Path, actions: Path = ACTION_NAMES, workers: int = 1, replace: bool = False
) -> Split:
    """Bring the store and the split of a protocol in `out` up to date, and write its card. Returns the split.

    `actions`: as in `read_action_names`. `replace`: as in `check_split`.
    Raises UserError when an input is missing or not as expected, or when no recording could be used.
    """
    name, classes = PROTOCOLS[protocol], read_action_names(actions)
    check_split(out, name, classes, replace, tuple(ORIGIN["imported"]))
    recordings, skeletons = [], {}
    for sid, files in sorted(find_recordings(root, protocol).items()):  # sorted, so both protocols give the same store
        labels = read_labels(files.labels, classes) if files.labels else []
        recordings.append(AnnotatedClip(sid, files.subset, sid, labels))
        if files.skeletons and files.labels:
            skeletons[sid] = str(files.skeletons.relative_to(root))

    def read(path: Path, _: AnnotatedClip) -> tuple[float, np.ndarray]:
        return FPS, read_skeletons(path) @ AXIS_ROTATIONS["y"].T.astype(np.float32)  # (T, M, 25, 3), z up

    takes = TakeSource(root, read, {"format": "PKU-MMD"}, ORIGIN)
    split = update_split(out / name, classes, recordings, skeletons, takes, workers, {}, "skeleton or label file")
    print(f"overview: {write_card(split)}")
    return split


def main() -> None:
    args = parse_arguments()
    prepare_protocol(args.root, args.protocol, args.out, args.actions, args.workers, args.replace)
    print(next_command(f"{PROTOCOLS[args.protocol]}.yaml", args.out))


if __name__ == "__main__":
    run_command(main, after_stop=TO_RESUME)
