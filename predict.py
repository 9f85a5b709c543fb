"""Find actions in your own motion with a trained checkpoint: AMASS takes, joint arrays, BVH or NTU .skeleton files.

    python predict.py --weights work_dir/split1/last.pt walks/ --out found                 # a folder, or files
    python predict.py --weights work_dir/split1/last.pt joints.npy --fps 60 --up y --scale 0.001 --out found

Each recording gets a folder below --out with segments.json (ActivityNet's format), segments.csv and time_line.png.
--out itself gets the segments of all recordings in it, and failed.csv with those that failed and why. If the
command is repeated, it processes only recordings that are new, changed or incomplete. With other recordings and the
same checkpoint and --out, it adds their results. docs/predict.md shows more examples.

exit status: 0 all recordings are done, 1 some failed, 2 the command cannot run, 130 stopped by Ctrl-C
"""

import arguments
from utils.command_line import check_first

if __name__ == "__main__":
    check_first(arguments.predict, __doc__)  # reports mistakes in the command line before the slow imports below

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from evaluation.detections import Results
from evaluation.localization import Detections, localize
from feeders.dataset import network_input
from model.checkpoint import load_trained, refuse_other_body
from model.inference import Scores, for_inference, score_recording
from model.localizer import Localizer
from prepare.formats.body_model import body_file
from prepare.options import BODY, ReadOptions
from prepare.skeletons import recordings
from reporting import animation, player, predictions
from reporting.style import png
from reporting.time_lines import time_line
from utils.atomic import whole_file, write_whole
from utils.config import Settings
from utils.device import choose_device, is_out_of_memory, set_matrix_precision
from utils.errors import TakeError, printable_name, run_command
from utils.files import sha256
from utils.lock import lock_folder
from utils.progress import progress
from utils.skeleton import FPS


@dataclass(frozen=True)
class Predictor:
    """A trained network, the settings and classes of its training, and the user's options."""

    model: Localizer
    settings: Settings
    classes: tuple[str, ...]
    device: torch.device
    args: argparse.Namespace


def main() -> int:
    args = arguments.predict(__doc__)

    # 1. The network and the recordings
    model, settings, classes, skeletons = load_trained(args.weights)
    device = choose_device(args.device)
    set_matrix_precision(settings.train.matrix_precision)
    model = for_inference(model.in_precision(args.precision).to(device))
    args.window = args.window or settings.data.max_frames
    # A checkpoint without `hands` is of an earlier version, which used the released code's hand poses, or of imported
    # data or PKU-MMD, which have no hand poses
    args.hands = args.hands or skeletons.get("hands", "released")
    if args.body:  # a wrong body is an error now, before anything is written
        body = recordings.cached_body_joints(args.body, args.hands)
        refuse_other_body(skeletons, {"model": body.flavour.model}, args.weights, f"--body {args.body}")
    options, predictor = ReadOptions.of(args), Predictor(model, settings, classes, device, args)
    inputs = recordings.find_inputs(args.inputs, args.out, predictions.PREDICTION)

    # 2. The folder of results, for this command alone
    args.out.mkdir(parents=True, exist_ok=True)
    with lock_folder(args.out, "prediction", "choose another --out"):
        prediction_set = predictions.PredictionSet(args.out, command_facts(args))
        return predict_all(predictor, prediction_set.assign_names(inputs), options, prediction_set)


def predict_all(
    predictor: Predictor, inputs: dict[str, Path], options: ReadOptions, prediction_set: predictions.PredictionSet
) -> int:
    """Process the recordings one after another. Then write the tables of all recordings in --out.

    A recording that fails is reported, and the others continue. Returns the exit status.

    Args:
        inputs: the path of each recording, by the recording's name.
    """
    out, done_before = prediction_set.out, 0
    try:
        for name, path in progress(inputs.items(), "predict", "recording"):
            status = path.stat() if path.exists() else None  # None: a broken link; `read_recording` reports it below
            state = [status.st_size, status.st_mtime_ns] if status else None
            facts = {**prediction_set.command_facts, "file": predictions.file_of(path), "recording": state}
            if predictions.read_finished(out / name, facts) is not None:
                done_before += 1
                continue
            try:
                predict(predictor, name, recordings.read_recording(path, options), out / name, facts)
                continue
            except TakeError as error:
                reason = str(error)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = "needs more memory than there is: a smaller --window needs less"
            prediction_set.add_failure(name, path, reason)
            tqdm.write(f"{printable_name(path)}: {reason}", file=sys.stderr)
    except KeyboardInterrupt:
        prediction_set.write_summary_files()
        raise
    results, failed = prediction_set.write_summary_files(), len(prediction_set.failed)
    print(summary(len(inputs), done_before, failed, results, out))
    if not predictor.args.page and done_before < len(inputs) and (out / "player.html").exists():
        print(f"{out / 'player.html'}: shows the results of an earlier command; delete it, or repeat with --page")
    if predictor.args.page:
        complete = prediction_set.finished_results()
        clips = [path for name in complete for path in sorted((out / name).glob("*player.json"))]
        on_page = {path.parent for path in clips}
        if missing := len(complete) - len(on_page):
            print(f"recordings made without --page, not on the page: {missing}; repeat them with --page")
        page, thresholds = out / "player.html", predictor.settings.eval.thresholds
        count = player.write_predictions_page(page, clips, predictor.classes, thresholds)
        print(f"watch: {page}, which shows {count} of {len(clips)} clips")
    return 1 if failed else 0


def predict(
    predictor: Predictor, name: str, people: list[recordings.Person], folder: Path, facts: dict[str, Any]
) -> None:
    """Find the actions of all people in a recording and write its folder."""
    names = [name] if len(people) == 1 else [f"{name}:person{person.number}" for person in people]
    found = []
    with predictions.recording_folder(folder, facts) as files:
        for clip, person in enumerate(people):
            prefix = f"person{person.number}_" if len(people) > 1 else ""
            detections = predict_person(predictor, names[clip], person, folder, prefix, files)
            found.append(replace(detections, clip=np.full(len(detections), clip)))
        files += ["segments.json", "segments.csv"]
        predictions.write_segments(folder, Detections.concatenate(found), names, predictor.classes)


def predict_person(
    predictor: Predictor, name: str, person: recordings.Person, folder: Path, prefix: str, files: list[str]
) -> Detections:
    """Score one person and write pictures, scores and features. Returns detections in frames of the recording.

    The name of each written file, which begins with `prefix`, is appended to `files`.
    """
    classes, settings = predictor.classes, predictor.settings.eval

    def result_file(file: str) -> Path:
        files.append(prefix + file)
        return folder / (prefix + file)

    scores = score(predictor, person.joints)
    # `own` counts frames from the person's first one. `gated` has zeros for classes whose video probability in a
    # window is too low
    own = localize([scores.gated], [scores.video_probs], settings)
    found = replace(own, segments=own.segments + person.first)  # counts from the recording's first frame
    before = ((person.first, 0), (0, 0))
    whole = np.pad(scores.frame_probs, before, constant_values=np.nan)  # NaN before the person appears
    figure = time_line(name, None, found, whole, classes, settings.thresholds)
    write_whole(result_file("time_line.png"), png(figure))
    if predictor.args.features:
        with whole_file(result_file("features.npy")) as file:
            np.save(file, scores.features)
        with whole_file(result_file("scores.npz")) as file:
            facts = {"classes": [*classes, "background"], "fps": np.float64(FPS), "first": person.first}
            np.savez(file, frame_probs=scores.frame_probs, video_probs=scores.video_probs, **facts)
    if predictor.args.animate:
        labels = animation.found_texts(own, len(person.joints), classes)
        file = result_file(f"animation.{predictor.args.animate}")
        animation.animate(file, person.joints, labels, name, person.first)
    if predictor.args.page:
        clip = player.PlayedClip(name, person.joints, found=(own,), frame_probs=scores.frame_probs, first=person.first)
        write_whole(result_file("player.json"), json.dumps(player.pack(clip, classes)).encode())
    return found


def score(predictor: Predictor, joints: np.ndarray) -> Scores:
    """Scores of one person's joints (T, V, C). Raises TakeError when a score is not finite."""
    data = predictor.settings.data
    scores = score_recording(
        predictor.model,
        lambda start, end: network_input(joints[start:end], data.normalization),
        len(joints),
        predictor.args.window,
        predictor.settings.eval,
        predictor.device,
        data.frame_step,
        predictor.args.features,
    )
    if not (np.isfinite(scores.frame_probs).all() and np.isfinite(scores.video_probs).all()):
        raise TakeError("the network gave probabilities that are not finite; look at the joints of this recording")
    return scores


def command_facts(args: argparse.Namespace) -> dict[str, Any]:
    """What results depend on besides the recording. If any of it changes, they are computed again."""
    facts = {name: value for name, value in vars(args).items() if name not in ("inputs", "out", "device")}
    files = {"weights": args.weights, "joint_map": args.joint_map, "body": body_file(args.body or str(BODY))}
    facts |= {name: sha256(file) for name, file in files.items() if file and file.is_file()}
    return {**facts, "format": predictions.FORMAT}


def summary(total: int, done_before: int, failed: int, results: Results, out: Path) -> str:
    """One line: how many recordings are done or failed, and where the results of all recordings in `out` are."""
    text = f"{total - failed} of {total} recordings done{f' ({done_before} of them before)' if done_before else ''}"
    text += f"; {sum(map(len, results.values()))} segments in all: {out / 'segments.json'}, {out / 'segments.csv'}"
    return text + (f"; {failed} failed: {out / 'failed.csv'}" if failed else "")


if __name__ == "__main__":
    run_command(main)
