"""Make a skeleton store and the split of a protocol from PKU-MMD (phase 1).

    bash prepare/pkummd.sh --root PKUMMD --protocol cross-subject
    python train.py --config config/pkummd_cross_subject.yaml

--root is the folder of the unpacked downloads: skeletons, labels and protocols, in any folders below it. Both protocols
share one store, so the second one takes seconds. A repeated run reads only recordings that are new or changed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from prepare.options import ROOT, add_store_options, check_limits
from utils.command_line import argument_parser, check_first

NUMBERS = ROOT / "config" / "actions" / "pkummd.yaml"
# Name of the split and of the config file of each protocol
PROTOCOLS = {"cross-subject": "pkummd_cross_subject", "cross-view": "pkummd_cross_view"}


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "bash prepare/pkummd.sh")
    add = parser.add_argument
    add("--root", type=Path, required=True, metavar="DIR", help="folder of PKU-MMD")
    add("--protocol", choices=list(PROTOCOLS), required=True, help="which recordings are for training")
    numbers = "YAML or JSON {number: name} of the actions (default: config/actions/pkummd.yaml)"
    add("--actions", type=Path, default=NUMBERS, metavar="FILE", help=numbers)
    add("--name", help="name of the split (default: pkummd_cross_subject or pkummd_cross_view)")
    add_store_options(parser)
    args = parser.parse_args()
    check_limits(parser, args)
    return args


if __name__ == "__main__":
    check_first(parse_arguments)  # now, because the imports below take seconds

import numpy as np

from prepare.formats.babel import Annotation, Segment
from prepare.formats.pkummd import Files, LabelRow, find_recordings, read_actions, read_labels, read_skeletons
from prepare.skeletons.recordings import AXIS_ROTATIONS
from prepare.store.splits import check_split, write_label_set
from prepare.store.summary import Findings, next_command, write_findings
from prepare.store.update import Takes, update_store
from prepare.store.workers import Job
from reporting.dataset_card import write_card
from utils.errors import run_command
from utils.lock import lock_folder
from utils.skeleton import FPS
from utils.store import SkeletonStore, Split

ORIGIN = {"imported": {"PKU-MMD": "phase 1"}}


def prepare(
    root: Path,
    protocol: str,
    out: Path,
    name: str | None = None,
    actions: Path = NUMBERS,
    workers: int = 1,
    replace_split: bool = False,
) -> Path:
    """Bring the store and the split of a protocol in `out` up to date, and write its card. Returns the split's folder.

    Args:
        name: of the split; None: that of PROTOCOLS.
        actions: names of the actions, as in `read_actions`.
        replace_split: a split that exists with other actions is replaced.

    Raises UserError when an input is missing or not as expected, or when no recording could be used.
    """
    name, classes = name or PROTOCOLS[protocol], read_actions(actions)
    check_split(out, name, classes, replace_split, tuple(ORIGIN["imported"]))
    recordings = find_recordings(root, protocol)
    rows, clips, places = {}, [], {}
    for sid, files in recordings.items():
        rows[sid] = read_labels(files.labels, classes) if files.labels else []
        segments = [Segment(start_t=r.start / FPS, end_t=r.end / FPS, act_cat=[r.action]) for r in rows[sid]]
        clips.append(Annotation(sid, files.subset, sid, None, segments))
        if files.skeletons and files.labels:
            places[sid] = str(files.skeletons.relative_to(root))
    out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out, "preparation", "choose another --out"):
        takes = Takes(root, read_people, {"format": "PKU-MMD"}, ORIGIN)
        # Of all protocols in the same order; the split decides the subset
        shared = sorted((replace(clip, subset=None) for clip in clips), key=lambda clip: clip.sid)
        store, left_out = update_store(out, takes, shared, places, workers)
        write_label_set(out / name, classes, clips, store, ORIGIN)
        findings = check_times(recordings, rows, store)
        findings["recordings without a file of skeletons or labels"] = [sid for sid in recordings if sid not in places]
        unusable = [f"{places[sid]} {why}" for sid, why in left_out.items() if sid in places]
        findings["recordings that cannot be used"] = unusable
        two = sum(clip.people > 1 for clip in store.clips.values())
        print(f"\n{len(store.clips)} of {len(recordings)} recordings are stored, {two} of them with two people")
        write_findings(out / name / "report.txt", findings)
    print(f"look: {write_card(Split.open(out, name))}")
    return out / name


def read_people(path: Path, job: Job) -> tuple[float, np.ndarray]:
    """Joints (T, M, 25, 3) of a recording, z up."""
    people = read_skeletons(path)[: job.limit] @ AXIS_ROTATIONS["y"].T.astype(np.float32)
    return FPS, people


def check_times(recordings: dict[str, Files], rows: dict[str, list[LabelRow]], store: SkeletonStore) -> Findings:
    """Segments beyond the end of their recording, as lists of where they are."""
    after, cut = [], []
    for sid, clip in store.clips.items():
        for row in rows[sid]:
            text = f"{recordings[sid].labels}: row {row.row}: {row.action}, frames {row.start} to {row.end}"
            if row.end > clip.frames:
                (after if row.start >= clip.frames else cut).append(f"{text} of {clip.frames}")
    return {
        "segments after the end of their recording, not used; if they are many, download the skeletons again": after,
        "segments that end after their recording, cut off there": cut,
    }


def main() -> int:
    args = parse_arguments()
    prepare(args.root, args.protocol, args.out, args.name, args.actions, args.workers, args.replace)
    print(next_command(f"{PROTOCOLS[args.protocol]}.yaml", args.out, args.name))
    return 0


if __name__ == "__main__":
    run_command(main)
