"""Find actions in your own motion: a trained checkpoint on AMASS takes, joint arrays, BVH or NTU .skeleton files.

    python predict.py --weights work_dir/split1/best.pt walks/ --out found                 # a folder, or files
    python predict.py --weights work_dir/split1/best.pt take_poses.npz --body synthetic --out found
    python predict.py --weights work_dir/split1/best.pt joints.npy --fps 60 --up y --scale 0.001 --out found
    python predict.py --weights work_dir/split1/best.pt dance.bvh --joint-map mine.yaml --animate mp4 --out found

Each recording gets a folder of its own below --out: segments.json (ActivityNet's format), segments.csv and
time_line.png; --out itself holds all segments together and the recordings that failed, with the reason. The same
command again does only what is new, or was changed or cut off.

exit status: 0 all recordings are done, 1 some failed, 2 the command cannot run, 130 stopped by Ctrl-C
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from utils.threads import waiting

os.environ.update(waiting())  # before torch

import numpy as np
import torch
from tqdm import tqdm

from evaluation.localization import Detections, localize
from feeders.dataset import network_input
from model.checkpoint import load_trained
from model.localizer import Localizer
from model.windows import score_stretches
from prepare.build import ROOT
from prepare.formats.amass import MAX_RATE, MIN_RATE, TakeError
from prepare.skeletons.joint_map import read_map
from prepare.skeletons.recordings import (
    SUFFIXES,
    TURNS,
    Person,
    Reading,
    as_text,
    find_inputs,
    read_recording,
    smplh_joints,
)
from reporting.predictions import (
    FORMAT,
    Results,
    complete,
    finished,
    row_file,
    running_labels,
    write_picture,
    write_rows,
    write_scores,
    write_segments,
    write_table,
)
from utils.atomic import write_json
from utils.config import Settings
from utils.device import choose_device, is_out_of_memory
from utils.errors import run_command

SHORTEST_WINDOW = 30  # frames
SHOWN = 6  # segments of a recording, in the terminal


@dataclass(frozen=True)
class Predictor:
    """A trained network with all that came with it, and what is wanted of it."""

    model: Localizer
    settings: Settings
    classes: tuple[str, ...]
    device: torch.device
    window: int
    features: bool
    animate: str | None


def main() -> int:
    args = parse_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's "stop" is treated as Ctrl-C

    # 1. The network, and the recordings
    model, settings, classes = load_trained(args.weights)
    device = choose_device(args.device)
    window = args.window or settings.data.max_frames
    model.in_precision(args.precision).to(device)
    predictor = Predictor(model, settings, classes, device, window, args.features, args.animate)
    joint_map = read_map(args.joint_map) if args.joint_map else None
    if args.body:
        smplh_joints(args.body)  # a wrong one stops here, before anything is done
    reading = Reading(args.body or str(ROOT / "human_model"), args.fps, args.up, args.scale, joint_map, args.person)
    inputs = find_inputs(args.inputs, args.out)
    options = made_with(args, window)

    # 2. One after another; a bad one is left out and reported
    results, failed, known = {}, {}, 0
    for name, path in tqdm(inputs.items(), desc="predict", unit="recording", disable=None):
        facts = {**options, "recording": stamp(path)}
        done = finished(args.out / name, facts)
        known += done is not None
        if done is None:
            try:
                done = predict(predictor, name, read_recording(path, reading), args.out / name, facts)
            except (TakeError, MemoryError, RuntimeError) as error:
                failed[name] = reason(error)
                tqdm.write(f"{as_text(path)}: {failed[name]}", file=sys.stderr)
                continue
            if sys.stdout.isatty():
                tqdm.write(in_lines(done))
        results |= done

    # 3. All together
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "segments.json", {"version": "1.0", "results": results, "external_data": {}})
    write_table(args.out / "segments.csv", results)
    write_rows(args.out / "failed.csv", ("recording", "reason"), list(failed.items()))
    print(summary(len(inputs), known, results, failed, args.out))
    return 1 if failed else 0


def predict(predictor: Predictor, name: str, people: list[Person], folder: Path, facts: dict[str, Any]) -> Results:
    """Find the actions of everyone in a recording, write its folder, and return its segments."""
    names = [name] if len(people) == 1 else [f"{name}:person{person.number}" for person in people]
    parts = []
    with complete(folder, facts) as files:
        for clip, person in enumerate(people):
            prefix = f"person{person.number}_" if len(people) > 1 else ""
            found = predict_person(predictor, names[clip], person, folder, prefix, files)
            parts.append(replace(found, clip=np.full(len(found), clip)))
        files += ["segments.json", "segments.csv"]
        return write_segments(folder, Detections.concatenate(parts), names, predictor.classes)


def predict_person(
    predictor: Predictor, name: str, person: Person, folder: Path, prefix: str, files: list[str]
) -> Detections:
    """Score one person, write what is to be looked at, and return the detections, in frames of the recording."""
    classes, settings = predictor.classes, predictor.settings.eval

    def path(file: str) -> Path:
        files.append(prefix + file)
        return folder / (prefix + file)

    channels = predictor.model.backbone.out_channels
    features = row_file(path("features.npy"), len(person.joints), channels) if predictor.features else nullcontext()
    with features as write_features:
        frame_probs, admitted, video_probs = score(predictor, person.joints, write_features)
    found = localize([admitted], [video_probs], settings)
    shifted = replace(found, segments=found.segments + person.first)
    write_picture(path("time_line.png"), name, shifted, frame_probs, person.first, classes, settings.thresholds)
    if predictor.features:
        write_scores(path("scores.npz"), frame_probs, video_probs, classes)
    if predictor.animate:
        write_animation(path(f"animation.{predictor.animate}"), name, person, found, classes)
    return shifted


def score(
    predictor: Predictor, joints: np.ndarray, write_features: Callable[[np.ndarray], None] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frame probabilities (T, K+1), those of them that detections may use, and video probabilities (K+1,).

    A long recording has a video probability for each of its windows; the highest stands for it.
    """
    settings = predictor.settings
    stretches = score_stretches(
        predictor.model,
        lambda start, end: network_input(joints[start:end], settings.data.normalization),
        len(joints),
        predictor.window,
        settings.eval.min_video_score,
        predictor.device,
    )
    kept = []
    for stretch in stretches:
        if write_features:
            write_features(stretch.features)
        kept.append((stretch.frame_probs, stretch.admitted, stretch.video_probs))
    frame_probs, admitted, video_probs = zip(*kept, strict=True)
    return np.concatenate(frame_probs), np.concatenate(admitted), np.max(video_probs, axis=0)


def write_animation(path: Path, name: str, person: Person, found: Detections, classes: tuple[str, ...]) -> None:
    """Write the skeleton in motion with what it was found to do."""
    from reporting.animation import animate  # here, as only few runs need what it brings

    labels = running_labels(found, len(person.joints), classes)
    step = 2 if path.suffix == ".gif" else 1  # 15 pictures a second: half the size
    animate(path, person.joints, 30, labels, name, step)


def made_with(args: argparse.Namespace, window: int) -> dict[str, Any]:
    """All that a recording's files depend on beside itself: while it is the same, they need not be made again."""
    values = ("fps", "up", "scale", "person", "features", "animate", "precision")
    asked = {name: getattr(args, name) for name in values}
    for name in ("weights", "joint_map", "body"):
        given = getattr(args, name)
        is_file = given is not None and Path(given).is_file()
        asked[name] = hashlib.sha256(Path(given).read_bytes()).hexdigest() if is_file else given
    return {"format": FORMAT, "window": window, **asked}


def stamp(path: Path) -> list[int] | None:
    """What changes when a file does: its size and time; None when there is none, which reading it will tell."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def reason(error: Exception) -> str:
    """Why a recording failed, in a line; what is no failure of the recording is raised again."""
    if isinstance(error, TakeError):
        return str(error)
    if not is_out_of_memory(error):
        raise error
    return "needs more memory than there is: a smaller --window needs less"


def in_lines(results: Results) -> str:
    """The best segments of a recording, for a terminal."""
    lines = []
    for name, segments in results.items():
        best = sorted(segments[:SHOWN], key=lambda s: s["segment"])
        texts = [f"{s['label']} {s['segment'][0]:.1f}-{s['segment'][1]:.1f} s ({s['score']:.2f})" for s in best]
        more = [f"{len(segments) - SHOWN} more"] if len(segments) > SHOWN else []
        lines.append(f"{name}: {', '.join(texts + more) or 'nothing found'}")
    return "\n".join(lines)


def summary(recordings: int, known: int, results: Results, failed: dict[str, str], out: Path) -> str:
    """What was done, and what was not."""
    segments = sum(map(len, results.values()))
    text = f"{recordings - len(failed)} of {recordings} recordings done"
    text += f" ({known} of them before)" if known else ""
    text += f", {segments} segments: {out / 'segments.json'}, {out / 'segments.csv'}"
    if failed:
        text += f"; {len(failed)} failed: {out / 'failed.csv'}"
    return text


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="INPUT",
        help=f"a recording ({', '.join(SUFFIXES)}), or a folder of them",
    )
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE", help="a best.pt or last.pt of train.py")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="nothing is written anywhere else")
    parser.add_argument(
        "--body",
        metavar="FILE",
        help="for AMASS takes: SMPL-H model, .pkl or .npz, a folder with one, or synthetic (default: human_model)",
    )
    file = "(default: what the file says"
    parser.add_argument(
        "--fps", type=between(MIN_RATE, MAX_RATE), metavar="N", help=f"frames per second {file}; an .npy does not)"
    )
    parser.add_argument(
        "--up", choices=sorted(TURNS), help="axis that points up (default: y in .bvh and .skeleton, z in arrays)"
    )
    parser.add_argument(
        "--scale", type=between(1e-6, 1e6), metavar="S", help="metres in a unit (default: 0.01 in .bvh, 1 elsewhere)"
    )
    parser.add_argument(
        "--joint-map", type=Path, metavar="FILE", help="of a .bvh (default: the one of config/joint_maps that fits)"
    )
    parser.add_argument("--person", type=int, metavar="N", help="only the Nth of a recording, from 1 (default: all)")
    parser.add_argument(
        "--window",
        type=int,
        metavar="FRAMES",
        help="longer recordings are scored in overlapping windows of at most so many frames, 30 a second "
        "(default: the longest clip of the training, data.max_frames)",
    )
    parser.add_argument("--features", action="store_true", help="also write features.npy and scores.npz (default: no)")
    parser.add_argument("--animate", choices=("gif", "mp4"), help="also write the moving skeleton (default: no)")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        metavar="TYPE",
        help="of the network's products: bfloat16 is rougher, and faster where hardware has it (default: float32)",
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: the GPU when there is one)")
    args = parser.parse_args()
    if args.person is not None and args.person < 1:
        parser.error(f"--person is {args.person}: expected 1 or more")
    if args.window is not None and args.window < SHORTEST_WINDOW:
        parser.error(f"--window is {args.window}: expected {SHORTEST_WINDOW} or more")
    if args.out.exists() and not args.out.is_dir():
        parser.error(f"--out is {args.out}: expected a folder, this is a file")
    return args


def between(least: float, most: float) -> Callable[[str], float]:
    """A type of numbers for argparse."""

    def number(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:g} and {most:g}")
        return value

    return number


if __name__ == "__main__":
    run_command(main)
