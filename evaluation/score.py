"""Score any method's detections file against the validation clips of a split.

    python -m evaluation.score detections.json --data dataset/processed_data --split split1

The file is in ActivityNet's format; see docs/train.md. Only validation clips with a label of the split's classes and at
most --max-frames frames are scored. The corrected and the released evaluation are printed. The released one reads each
true segment one frame too short and each detection one frame too long.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from utils import config
from utils.command_line import argument_parser, check_first, folder, number
from utils.store import Split


def parse_arguments() -> argparse.Namespace:
    settings = config.load()
    data, tious = settings.data, settings.eval.tious
    parser = argument_parser(__doc__, "python -m evaluation.score")
    add = parser.add_argument
    add("detections", type=Path, metavar="DETECTIONS.json", help="detections of any method")
    add("--data", default=data.root, metavar="ROOT", help="prepared data (default: %(default)s)")
    add("--split", default=data.split, metavar="NAME", help="name of the split (default: %(default)s)")
    add("--max-frames", type=number(1), default=data.max_frames, help="longest clip to score (default: %(default)s)")
    add("--tious", type=float, nargs="+", default=tious, metavar="TIOU", help="tIoU thresholds (default: %(default)s)")
    add("--out", type=folder, metavar="FOLDER", help="write the figures and the kinds of errors there, as JSON and PNG")
    args = parser.parse_args()
    if not all(0 < tiou <= 1 for tiou in args.tious):
        parser.error(f"argument --tious: found {args.tious}, expected numbers above 0 and at most 1")
    return args


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np

from evaluation.detections import read
from evaluation.diagnosis import diagnose
from evaluation.localization import PROTOCOLS
from evaluation.protocols import Evaluation, score_detections
from feeders.label_policy import corrected_policy, used_labels
from reporting.report import write_diagnosis
from utils.atomic import write_json
from utils.errors import UserError, run_command


def score(path: Path, split: Split, max_frames: int, tious: list[float]) -> tuple[Evaluation, ...]:
    """The corrected and the released evaluation of a detections file.

    Raises UserError when the file is not valid for this split, or when the split has no clip to score.
    """
    data = corrected_policy(config.load().data).model_copy(update={"max_frames": max_frames})
    clip_ids = split.clip_ids("val")
    labels = {clip_id: used_labels(split.labels(clip_id), split.annotated(clip_id), data) for clip_id in clip_ids}
    labels = {clip_id: known for clip_id, known in labels.items() if known is not None}  # of the clips that are scored
    if not labels:
        found = f"no val clip of at most {max_frames} frames has a label to score against"
        raise UserError(f"{split.folder}: {found}; raise --max-frames")
    names = list(labels)
    # The clips that are not scored come last: `read` knows them, and their detections are dropped
    found = read(path, [*names, *(clip_id for clip_id in split.store.clips if clip_id not in labels)], split.classes)
    scored = found.select(found.clip < len(names))
    if absent := len(names) - len(np.unique(scored.clip)):
        print(f"{path}: has no detection in {absent} of {len(names)} scored clips")
    if dropped := len(found) - len(scored):
        print(f"{dropped} of {len(found)} detections are in clips that are not scored: dropped")
    frames = np.array([len(labels[clip_id]) for clip_id in names])[scored.clip]
    # Ends slightly after the clip are tolerated. Beyond twice its length, they are most likely frames, not seconds
    outside = (scored.segments[:, 0] >= frames) | (scored.segments[:, 1] > 2 * frames)
    if outside.any():
        these = f"{outside.sum()} of {len(scored)} detections start after their clip or end far after it"
        print(f"warning: {these}; times are seconds; divide frames by the frame rate")
    evaluations = []
    for protocol in PROTOCOLS:
        as_read = replace(scored, segments=scored.segments + [0, protocol.past_end])
        evaluations.append(score_detections(as_read, names, list(labels.values()), split.classes, tious, protocol))
    return tuple(evaluations)


def main() -> None:
    args = parse_arguments()
    split = Split.open(args.data, args.split)
    corrected, released = score(args.detections, split, args.max_frames, sorted(set(args.tious)))
    print(corrected.table(released, what="detections"))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        source = {"detections": str(args.detections), "split": split.name, "max_frames": args.max_frames}
        figures = {"corrected": corrected.to_dict(), "released": released.to_dict()}
        write_json(args.out / "scores.json", source | figures)
        write_diagnosis(args.out, diagnose(corrected.detections, corrected.truth, split.classes))
        print(f"written to {args.out}: scores.json, diagnosis.json, diagnosis.png")


if __name__ == "__main__":
    run_command(main)
