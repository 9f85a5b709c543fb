"""Find actions in your own motion with a trained checkpoint: AMASS takes, joint arrays, BVH or NTU .skeleton files.

    python predict.py --weights work_dir/split1/best.pt walks/ --out found                 # a folder, or files
    python predict.py --weights work_dir/split1/best.pt take_poses.npz --body synthetic --out found
    python predict.py --weights work_dir/split1/best.pt joints.npy --fps 60 --up y --scale 0.001 --out found
    python predict.py --weights work_dir/split1/best.pt dance.bvh --joint-map mine.yaml --animate mp4 --out found

Each recording gets a folder below --out with segments.json (ActivityNet's format), segments.csv and time_line.png.
--out itself gets the segments of all recordings and a list of those that failed, with the reason. The same command
again processes only recordings that are new, changed or incomplete.

exit status: 0 all recordings are done, 1 some failed, 2 the command cannot run, 130 stopped by Ctrl-C
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from evaluation.localization import Detections, localize
from feeders.dataset import network_input
from model.checkpoint import load_trained
from model.inference import for_inference, score_windows
from model.localizer import Localizer
from prepare.formats.errors import MAX_RATE, MIN_RATE, TakeError
from prepare.skeletons import recordings
from prepare.skeletons.joint_map import read_map
from reporting import predictions
from reporting.predictions import Results
from reporting.time_lines import time_line
from utils.atomic import whole_file, write_json
from utils.config import Settings
from utils.device import choose_device, is_out_of_memory
from utils.errors import run_command
from utils.skeleton import FPS

BODY = Path(__file__).parent / "human_model"
SHORTEST_WINDOW = 30  # frames
SHOWN = 6  # segments of a recording, in the terminal


@dataclass(frozen=True)
class Predictor:
    """A trained network, the settings and classes of its training, and the output that is asked for."""

    model: Localizer
    settings: Settings
    classes: tuple[str, ...]
    device: torch.device
    window: int
    features: bool
    animate: str | None


def main() -> int:
    args = parse_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's stop signal acts like Ctrl-C

    # 1. The network and the recordings
    model, settings, classes = load_trained(args.weights)
    device = choose_device(args.device)
    window = args.window or settings.data.max_frames
    model = for_inference(model.in_precision(args.precision).to(device))
    predictor = Predictor(model, settings, classes, device, window, args.features, args.animate)
    joint_map = read_map(args.joint_map) if args.joint_map else None
    if args.body:
        recordings.smplh_joints(args.body)  # a wrong body ends the command here, before anything is written
    options = recordings.ReadOptions(args.body or str(BODY), args.fps, args.up, args.scale, joint_map, args.person)
    inputs = recordings.find_inputs(args.inputs, args.out, predictions.MARK)
    made_with = command_facts(args, window)

    # 2. One recording after another; those that fail are reported
    results, failed, known = {}, {}, 0
    for name, path in tqdm(inputs.items(), desc="predict", unit="recording", disable=None):
        status = path.stat() if path.exists() else None  # reading a broken link fails below
        facts = {**made_with, "recording": status and [status.st_size, status.st_mtime_ns]}
        done = predictions.finished(args.out / name, facts)
        known += done is not None
        if done is None:
            try:
                done = predict(predictor, name, recordings.read_recording(path, options), args.out / name, facts)
            except (TakeError, MemoryError, RuntimeError) as error:
                failed[name] = failure(error)
                tqdm.write(f"{recordings.as_text(path)}: {failed[name]}", file=sys.stderr)
                continue
            if sys.stdout.isatty():
                tqdm.write(best_segments(done))
        results |= done

    # 3. All recordings together
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "segments.json", {"version": "1.0", "results": results, "external_data": {}})
    predictions.write_table(args.out / "segments.csv", results)
    predictions.write_rows(args.out / "failed.csv", ("recording", "reason"), list(failed.items()))
    print(summary(len(inputs), known, results, failed, args.out))
    return 1 if failed else 0


def predict(
    predictor: Predictor, name: str, people: list[recordings.Person], folder: Path, facts: dict[str, Any]
) -> Results:
    """Find the actions of all people in a recording, write its folder, and return its segments."""
    names = [name] if len(people) == 1 else [f"{name}:person{person.number}" for person in people]
    found = []
    with predictions.complete(folder, facts) as files:
        for clip, person in enumerate(people):
            prefix = f"person{person.number}_" if len(people) > 1 else ""
            detections = predict_person(predictor, names[clip], person, folder, prefix, files)
            found.append(replace(detections, clip=np.full(len(detections), clip)))
        files += ["segments.json", "segments.csv"]
        return predictions.write_segments(folder, Detections.concatenate(found), names, predictor.classes)


def predict_person(
    predictor: Predictor, name: str, person: recordings.Person, folder: Path, prefix: str, files: list[str]
) -> Detections:
    """Score one person and write pictures, scores and features. Returns detections in frames of the recording."""
    classes, settings = predictor.classes, predictor.settings.eval

    def path(file: str) -> Path:
        files.append(prefix + file)
        return folder / (prefix + file)

    size = (len(person.joints), predictor.model.backbone.out_channels)
    with predictions.row_file(path("features.npy"), *size) if predictor.features else nullcontext() as write_features:
        frame_probs, gated, video_probs = score(predictor, person.joints, write_features)
    own = localize([gated], [video_probs], settings)  # in frames since the person appears
    found = replace(own, segments=own.segments + person.first)
    before = ((person.first, 0), (0, 0))  # frames without the person
    since_start = np.pad(frame_probs, before, constant_values=np.nan)
    with whole_file(path("time_line.png")) as file:
        time_line(name, None, found, since_start, classes, settings.thresholds).savefig(file, format="png")
    if predictor.features:
        predictions.write_scores(path("scores.npz"), frame_probs, video_probs, classes)
    if predictor.animate:
        from reporting.animation import animate  # imported here because few runs need its packages

        labels = predictions.running_labels(own, len(person.joints), classes)
        step = 2 if predictor.animate == "gif" else 1  # a GIF at 15 pictures a second has half the size
        animate(path(f"animation.{predictor.animate}"), person.joints, FPS, labels, name, step)
    return found


def score(
    predictor: Predictor, joints: np.ndarray, write_features: Callable[[np.ndarray], None] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class activation sequence (T, K+1), the same gated by the video probabilities, and these (K+1,).

    A long recording has video probabilities for each of its windows; the largest of each class are returned.
    """
    settings = predictor.settings
    kept = []
    for window in score_windows(
        predictor.model,
        lambda start, end: network_input(joints[start:end], settings.data.normalization),
        len(joints),
        predictor.window,
        settings.eval.min_video_score,
        predictor.device,
    ):
        if write_features:
            write_features(window.features)
        kept.append((window.frame_probs, window.gated, window.video_probs))
    frame_probs, gated, video_probs = zip(*kept, strict=True)
    return np.concatenate(frame_probs), np.concatenate(gated), np.max(video_probs, axis=0)


def command_facts(args: argparse.Namespace, window: int) -> dict[str, Any]:
    """Everything that a recording's results depend on beside the recording. While it is equal, results are kept."""
    facts = {name: value for name, value in vars(args).items() if name not in ("inputs", "out", "device")}
    for name in ("weights", "joint_map", "body"):
        is_file = facts[name] is not None and Path(facts[name]).is_file()
        facts[name] = hashlib.sha256(Path(facts[name]).read_bytes()).hexdigest() if is_file else facts[name]
    return {**facts, "format": predictions.FORMAT, "window": window}


def failure(error: Exception) -> str:
    """Why a recording failed, in one line. An error that is no failure of the recording is raised again."""
    if isinstance(error, TakeError):
        return str(error)
    if not is_out_of_memory(error):
        raise error
    return "needs more memory than there is: a smaller --window needs less"


def best_segments(results: Results) -> str:
    """The best segments of a recording, for a terminal."""
    lines = []
    for name, segments in results.items():
        best = sorted(segments[:SHOWN], key=lambda s: s["segment"])
        texts = [f"{s['label']} {s['segment'][0]:.1f}-{s['segment'][1]:.1f} s ({s['score']:.2f})" for s in best]
        more = [f"{len(segments) - SHOWN} more"] if len(segments) > SHOWN else []
        lines.append(f"{name}: {', '.join(texts + more) or 'nothing found'}")
    return "\n".join(lines)


def summary(total: int, known: int, results: Results, failed: dict[str, str], out: Path) -> str:
    """One line on what was done and what failed."""
    text = f"{total - len(failed)} of {total} recordings done{f' ({known} of them before)' if known else ''}"
    text += f", {sum(map(len, results.values()))} segments: {out / 'segments.json'}, {out / 'segments.csv'}"
    return text + (f"; {len(failed)} failed: {out / 'failed.csv'}" if failed else "")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    formats = ", ".join(recordings.SUFFIXES)
    add("inputs", nargs="+", type=Path, metavar="INPUT", help=f"a recording ({formats}), or a folder of them")
    add("--weights", type=Path, required=True, metavar="FILE", help="a best.pt or last.pt of train.py")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of results; nothing else is written")
    a_body = "SMPL-H model (.pkl, .npz), a folder with one, or synthetic"
    add("--body", metavar="FILE", help=f"for AMASS takes: {a_body} (default: human_model)")
    rate = "frames per second (default: what the file says; an .npy file does not)"
    add("--fps", type=number_between(MIN_RATE, MAX_RATE), metavar="N", help=rate)
    axis = "axis that points up (default: y in .bvh and .skeleton, z in arrays)"
    add("--up", choices=sorted(recordings.AXIS_ROTATIONS), help=axis)
    unit = "metres in a unit of the file (default: 0.01 in .bvh, 1 elsewhere)"
    add("--scale", type=number_between(1e-6, 1e6), metavar="S", help=unit)
    add("--joint-map", type=Path, metavar="FILE", help="for .bvh (default: the one in config/joint_maps that fits)")
    add("--person", type=int, metavar="N", help="only the Nth person of a recording, from 1 (default: all)")
    longest = "longer recordings are scored in overlapping windows of at most so many frames at 30 fps"
    add("--window", type=int, metavar="FRAMES", help=f"{longest} (default: the training's data.max_frames)")
    add("--features", action="store_true", help="also write features.npy and scores.npz (default: no)")
    add("--animate", choices=("gif", "mp4"), help="also write the moving skeleton (default: no)")
    rounding = "float32 or bfloat16, which is less exact and faster on some hardware (default: float32)"
    add("--precision", choices=("float32", "bfloat16"), default="float32", metavar="TYPE", help=rounding)
    add("--device", metavar="NAME", help="cpu, cuda or cuda:N (default: the GPU when there is one)")
    args = parser.parse_args()
    if args.person is not None and args.person < 1:
        parser.error(f"--person is {args.person}: expected 1 or more")
    if args.window is not None and args.window < SHORTEST_WINDOW:
        parser.error(f"--window is {args.window}: expected {SHORTEST_WINDOW} or more")
    if args.out.exists() and not args.out.is_dir():
        parser.error(f"--out is {args.out}: expected a folder, this is a file")
    return args


def number_between(least: float, most: float) -> Callable[[str], float]:
    """An argparse type for numbers in [least, most]."""

    def number(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:g} and {most:g}")
        return value

    return number


if __name__ == "__main__":
    run_command(main)
