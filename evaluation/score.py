"""Score any method's detections file against a split.

    python -m evaluation.score detections.json --data dataset/processed_data --split split1

The file is in ActivityNet's detection format: {"results": {clip id: [{"label": class name, "score": number,
"segment": [start, end]}]}}, segments in seconds from the clip's start, clips by their BABEL id. Clips that are not
in the file count as clips without detections; detections in clips that the benchmark leaves out (longer than
--max-frames, no label of the split's classes) are dropped and counted.

Both evaluations are printed. The released one reads every ground-truth segment one frame short and every detection
one frame long, as the released code does. It re-reads the file's segments only: proposals and suppression are those
of the file's author. Classification mAP, frame accuracy and segmental F1 are not defined by a detections file.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from evaluation.detections import read
from evaluation.diagnosis import diagnose
from evaluation.localization import PROTOCOLS, Detections, ground_truth
from evaluation.protocols import Evaluation, score_detections
from feeders.label_policy import LabelPolicy
from reporting.report import write_diagnosis
from utils import config
from utils.atomic import write_json
from utils.errors import UserError, run_command
from utils.store import SUBSETS, Split


def score(path: Path, split: Split, subset: str, max_frames: int, tious: list[float]) -> tuple[Evaluation, ...]:
    """The corrected and the released evaluation of a detections file.

    Raises:
        UserError: the file is not valid for this split, or the subset has no clip to score.
    """
    return _evaluations(*_given(path, split, subset, max_frames), split.classes, tious)


def _given(path: Path, split: Split, subset: str, max_frames: int) -> tuple[Detections, list[str], list[np.ndarray]]:
    """The detections in the clips that are scored, these clips' names, and their labels (T, K) bool."""
    ids = split.clip_ids(subset)
    policy = LabelPolicy("all", "background", max_frames, "clip")
    labels = [policy.apply(split.labels(sid), split.annotated(sid)) for sid in ids]
    kept = [index for index, clip_labels in enumerate(labels) if clip_labels is not None]
    if not kept:
        raise UserError(f"{split.folder}: no {subset} clip of at most {max_frames} frames has a label to score against")
    detections = _renumbered(read(path, ids, split.classes), kept, len(ids))
    return detections, [ids[index] for index in kept], [labels[index] for index in kept]


def _evaluations(
    detections: Detections, names: list[str], labels: list[np.ndarray], classes: tuple[str, ...], tious: list[float]
) -> tuple[Evaluation, ...]:
    evaluations = []
    for protocol, conventions in PROTOCOLS.items():
        taken = replace(detections, segments=detections.segments + [0, conventions.past_end])
        evaluations.append(score_detections(taken, names, labels, classes, tious, protocol))
    return tuple(evaluations)


def _renumbered(detections: Detections, kept: list[int], clips: int) -> Detections:
    """Those in the kept clips, which are numbered from 0."""
    place = np.full(clips, -1)
    place[kept] = np.arange(len(kept))
    scored = place[detections.clip] >= 0
    if not scored.all():
        print(f"{(~scored).sum()} of {len(scored)} detections are in clips that the benchmark leaves out: dropped")
    detections = detections.where(scored)
    return replace(detections, clip=place[detections.clip])


def main() -> None:
    defaults = config.load()
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("detections", type=Path, metavar="DETECTIONS.json", help="detections of any method")
    parser.add_argument(
        "--data", default=defaults.data.root, metavar="ROOT", help="prepared data (default: %(default)s)"
    )
    parser.add_argument(
        "--split", default=defaults.data.split, metavar="NAME", help="name of the split (default: %(default)s)"
    )
    parser.add_argument("--subset", choices=SUBSETS, default="val", help="clips to score (default: val)")
    parser.add_argument(
        "--max-frames",
        type=int,
        default=defaults.data.max_frames,
        help="longer clips are left out, as in the benchmark (default: %(default)s)",
    )
    parser.add_argument(
        "--tious",
        type=_tiou,
        nargs="+",
        default=defaults.eval.tious,
        metavar="TIOU",
        help="overlaps at which a detection counts (default: 0.1 ... 0.7)",
    )
    parser.add_argument(
        "--diagnosis", type=Path, metavar="DIR", help="write what kinds of errors there are, as JSON and PNG"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="store the figures as JSON")
    args = parser.parse_args()
    tious = sorted(set(args.tious))
    split = Split.open(args.data, args.split)
    detections, names, labels = _given(args.detections, split, args.subset, args.max_frames)
    corrected, released = _evaluations(detections, names, labels, split.classes, tious)
    print(corrected.table(released, what="detections"))
    if args.out:
        figures = {"corrected": corrected.to_dict(), "released": released.to_dict()}
        source = {"detections": str(args.detections), "split": split.name, "subset": args.subset}
        write_json(args.out, {**source, "max_frames": args.max_frames, **figures})
    if args.diagnosis:
        args.diagnosis.mkdir(parents=True, exist_ok=True)
        write_diagnosis(args.diagnosis, diagnose(detections, ground_truth(labels), split.classes))
        print(f"written to {args.diagnosis}: diagnosis.json, diagnosis.png")


def _tiou(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a tIoU from 0 to 1")
    return value


if __name__ == "__main__":
    run_command(main)
