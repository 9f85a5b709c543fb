"""Evaluate a model on annotated clips by two protocols, and write the report.

The protocols are the corrected one and that of the released code, which is the code published with the paper.

train.py uses `Validation` after its epochs, and `test` for `--phase test --weights FILE`.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from evaluation import detections
from evaluation.diagnosis import diagnose
from evaluation.localization import CORRECTED, RELEASED
from evaluation.metrics import classification_ap, nan_mean
from evaluation.protocols import ClipResult, Evaluation, evaluate
from feeders.batches import eval_loader
from feeders.dataset import SkeletonClips
from feeders.label_policy import corrected_policy
from model.checkpoint import load_localizer
from model.inference import every_frame, score_clips
from model.localizer import Localizer
from reporting.figures import confusion_figure
from reporting.report import report_html, write_diagnosis
from reporting.style import as_image, png
from reporting.tensorboard import TensorBoardWriter
from reporting.time_lines import time_line
from utils import distributed
from utils.atomic import write_json, write_whole
from utils.config import Settings
from utils.device import explain_lack_of_memory
from utils.errors import UserError
from utils.files import sha256
from utils.lock import lock_folder
from utils.progress import progress
from utils.run import provenance, read_history
from utils.store import Split
from utils.stored_settings import differences

PICTURED = 3  # clips whose time lines TensorBoard shows: those with most classes
MAX_CURVES = 24  # classes with a precision-recall curve in TensorBoard: those with most frames
SAME_FIGURES = {"eval.every", "eval.batch_size"}  # settings that change no figure of an evaluation


class Evaluations(NamedTuple):
    """The evaluations of one model by both protocols."""

    corrected: Evaluation
    released: Evaluation


class Validation:
    """The validation clips, ready to evaluate a model after any epoch.

    The corrected protocol has its own label policy. The released protocol uses the policy of the settings, which by
    default is the same. If the two policies give different clips or lengths, the model scores the clips twice.

    Raises UserError when the ranks have read different data.
    """

    def __init__(self, split: Split, settings: Settings, device: torch.device) -> None:
        self.settings, self.device, self.split = settings, device, split
        digests = (split.store.digest, split.manifest.checksum)
        if any(found != digests for found in distributed.gather(digests)):
            raise UserError(f"{split.folder}: is not the same on all machines; give all of them the same prepared data")
        self.clips = SkeletonClips(split, "val", corrected_policy(settings.data))
        self.released_clips = SkeletonClips(split, "val", settings.data)
        class_counts = self.clips.video_labels.sum(axis=1)
        self.pictured = np.argsort(-class_counts, kind="stable")[:PICTURED].tolist()
        self.results: list[ClipResult] = []  # of the last corrected evaluation

    def evaluate(self, model: Localizer) -> Evaluations | None:
        """The evaluations of `model`, on the main rank; None on the other ranks."""
        clips, released_clips = self.clips, self.released_clips
        scores = released_scores = gather_scores(model, clips, self.settings, self.device)
        same_clips = clips.clip_ids == released_clips.clip_ids
        if not same_clips or not np.array_equal(clips.lengths, released_clips.lengths):
            released_scores = gather_scores(model, released_clips, self.settings, self.device)
        if not distributed.is_main():
            return None
        self.results, released = clip_results(clips, scores), clip_results(released_clips, released_scores)
        classes, settings = self.split.classes, self.settings.eval
        corrected = evaluate(self.results, classes, settings, CORRECTED)
        return Evaluations(corrected, evaluate(released, classes, settings, RELEASED))

    def time_line(self, evaluation: Evaluation, index: int) -> Figure:
        """The time line of one clip in the last corrected evaluation."""
        clip, found = self.results[index], evaluation.detections.of_clip(index)
        thresholds = self.settings.eval.thresholds
        return time_line(clip.name, clip.labels, found, clip.frame_probs, self.split.classes, thresholds)

    def show(self, writer: TensorBoardWriter, evaluation: Evaluation, epoch: int) -> None:
        """Send pictures of the last corrected evaluation to TensorBoard: time lines, confusion, precision-recall."""
        for index in self.pictured:
            picture = as_image(self.time_line(evaluation, index))
            writer.picture(f"time_line/{self.results[index].name}", picture, epoch)
        _, frame_probs, _, labels = zip(*self.results, strict=True)
        writer.picture("confusion", as_image(confusion_figure(evaluation.confusion, self.split.classes)), epoch)
        true_frames = np.concatenate(labels)
        counts = true_frames.sum(axis=0)
        for k in np.argsort(-counts, kind="stable")[:MAX_CURVES]:
            if counts[k]:
                probs = np.concatenate([clip[:, k] for clip in frame_probs])
                writer.precision_recall(f"precision_recall/{self.split.classes[k]}", true_frames[:, k], probs, epoch)

    def report(self, folder: Path, evaluations: Evaluations, facts: dict[str, Any], run_folder: Path) -> None:
        """Write the last evaluation as JSON, figures and an HTML report, and print its table.

        results.json also gets the entries of `facts`. The report shows the training curves of a metrics.jsonl in
        `run_folder`.
        """
        corrected, released = evaluations
        (folder / "results.json").unlink(missing_ok=True)  # of an earlier evaluation
        contents = {
            "about": "The main result is the corrected evaluation of the last epoch, or of the given weights.",
            "corrected": corrected.to_dict(),
            "released": released.to_dict(),
            **facts,
            "split": self.split.name,
            "store": self.split.store.digest,
            "labels": self.split.manifest.labels_file,
            "skeletons": self.split.skeleton_facts,
            "settings": self.settings.model_dump(),
            **provenance(self.device),
        }
        detections.write(folder / "detections.json", corrected.detections, corrected.names, corrected.classes)
        print(corrected.table(released))
        diagnosis = diagnose(corrected.detections, corrected.truth, self.split.classes)
        write_diagnosis(folder, diagnosis)
        write_whole(folder / "time_line.png", png(self.time_line(corrected, self.pictured[0])))
        try:
            history = read_history(run_folder)
        except UserError as error:
            print(f"warning: the report has no training curves: {error}", file=sys.stderr)
            history = []
        html = report_html(contents, corrected, released, self.results, diagnosis, history, self.split.store.joints)
        write_whole(folder / "report.html", html.encode())
        write_json(folder / "results.json", contents)  # last: whoever finds it finds all files
        names = ("report.html", "results.json", "detections.json", "diagnosis.json", "diagnosis.png", "time_line.png")
        print(f"written to {folder}: {', '.join(names)}")
        if best := facts.get("oracle_epoch"):
            score = f"average mAP {best['corrected']['mAP']:.2f}"
            print(f"oracle epoch {best['epoch']}: {score} (the best validation epoch; not a fair result)")


def test(weights: str, work_dir: Path | None, settings: Settings, device: torch.device) -> int:
    """Evaluate a file of weights.

    If the file is a checkpoint of this project, the settings on which the weights depend come from it. The report goes
    to `work_dir`, or to eval/ beside the weights. Raises UserError when the weights are missing, do not fit the data or
    are replaced while they are read, or `work_dir` holds results already.
    """
    path = Path(weights)
    folder = work_dir or path.parent / "eval"
    if work_dir and (folder / "results.json").exists():
        raise UserError(
            f"{folder}: already holds a results.json, and a folder given by --work-dir is not overwritten. "
            "Choose another folder by --work-dir, or leave it out: the report then goes to eval/ beside the weights"
        )
    split = Split.open(settings.data.root, settings.data.split)
    digest = sha256(path) if path.is_file() else None  # if it is no file, the next line says so
    model, used, trained = load_localizer(path, split, settings)
    if {sha256(path), *distributed.gather(digest)} != {digest}:
        found = "was replaced while it was read, perhaps by its training, or is not the same on all machines"
        raise UserError(f"{path}: {found}; run the command again with one unchanging file")
    print(f"{path}: width {used.model.width}, {used.data.normalization} normalization, on {split.folder}")
    if overruled := differences(settings, used):
        print(f"settings of its training replace those given: {'; '.join(overruled)}")
    if trained and (changed := [d for d in differences(trained, used, SAME_FIGURES) if d.startswith("eval.")]):
        remedy = "To use the settings of the training, give its config.yaml by --config"
        print(f"not evaluated as in its training: {'; '.join(changed)}. {remedy}")
    validation = Validation(split, used, device)
    if distributed.is_main():
        folder.mkdir(parents=True, exist_ok=True)  # if this fails, it should fail before the scoring, which takes long
    with explain_lack_of_memory("set a smaller eval.batch_size"):
        evaluations = validation.evaluate(model.in_precision(used.train.precision).to(device))
    if evaluations:
        with lock_folder(folder, "evaluation", "choose another --work-dir"):
            facts = {"weights": str(path), "weights_sha256": digest}
            validation.report(folder, evaluations, facts, run_folder=path.parent)
    return 0


def gather_scores(
    model: Localizer, clips: SkeletonClips, settings: Settings, device: torch.device
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Probabilities (T, K+1) and (K+1,) of clips, by index. Each rank scores some clips; the main rank returns all."""
    batch_size = settings.eval.batch_size if settings.model.mask_padding else 1  # padding must not change a score
    loader, title = eval_loader(clips, batch_size), f"score {clips.subset} clips"
    batches = progress(loader, title, "batch", silent=not distributed.is_main())
    own = dict(score_clips(model, batches, device, settings.eval.change_penalty))
    return {index: scores for part in distributed.gather(own) for index, scores in part.items()}


def video_label_score(model: Localizer, clips: SkeletonClips, settings: Settings, device: torch.device) -> float:
    """Classification mAP in percent, from video-level labels only. NaN on all ranks but the main one."""
    scores = gather_scores(model, clips, settings, device)
    if not distributed.is_main():
        return float("nan")
    video_probs = np.stack([scores[i][1][: len(clips.classes)] for i in range(len(clips))])
    return float(nan_mean(classification_ap(video_probs, clips.video_labels)))


def epoch_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """The figures of an evaluation that metrics.jsonl keeps. Undefined AP values are left out."""
    return {
        "mAP": evaluation.average_map,
        **{f"mAP@{tiou:g}": float(value) for tiou, value in zip(evaluation.tious, evaluation.map_at, strict=True)},
        "classification_mAP": evaluation.classification_map,
        "frame_accuracy": evaluation.frame_accuracy,
        **evaluation.f1_at,
        "AP": {name: value for name, value in evaluation.ap_by_class.items() if not np.isnan(value)},
    }


def oracle_epoch(history: list[dict[str, Any]], epochs: int, last: Evaluation) -> dict[str, Any]:
    """The epoch with the best validation mAP. Not a fair result, because validation labels choose it."""
    scored = [row for row in history if "corrected" in row]
    # A run resumed with a smaller train.epochs may end at an epoch that was not validated
    scored.append({"epoch": epochs, "corrected": epoch_metrics(last)})
    return max(scored, key=lambda row: row["corrected"]["mAP"])


def warn_of_empty_classes(train: SkeletonClips, val: SkeletonClips) -> None:
    """Print which classes cannot be learnt or scored, because no clip has them."""
    for clips, what in ((train, "cannot be learnt"), (val, "is left out of mAP")):
        for name, present in zip(clips.classes, clips.video_labels.any(axis=0), strict=True):
            if not present:
                print(f"warning: no {clips.subset} clip has the class {name!r}: it {what}")


def clip_results(clips: SkeletonClips, scores: dict[int, tuple[np.ndarray, np.ndarray]]) -> list[ClipResult]:
    """The scores of all clips by `gather_scores`, at every frame, with the true frame labels."""
    results = []
    for i, name in enumerate(clips.clip_ids):
        (frame_probs, video_probs), labels = scores[i], clips.frame_labels(i)
        frame_probs = every_frame(frame_probs, clips.data.frame_step, len(labels))
        results.append(ClipResult(name, frame_probs, video_probs, labels))
    return results
