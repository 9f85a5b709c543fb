"""Score a model on annotated clips, by the corrected evaluation and by the released one, and report it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from evaluation import detections
from evaluation.diagnosis import diagnose, frame_confusion
from evaluation.localization import ground_truth
from evaluation.metrics import classification_ap
from evaluation.protocols import ClipResult, Evaluation, evaluate
from feeders.batches import EvalBatches, loader
from feeders.dataset import SkeletonClips
from feeders.label_policy import LabelPolicy
from model.inference import score_clips
from model.localizer import Localizer
from reporting.figures import confusion_figure
from reporting.report import report_html, write_diagnosis
from reporting.style import as_image, save_figure
from reporting.tensorboard import TensorBoardWriter
from reporting.time_lines import time_line
from utils import distributed
from utils.atomic import write_json, write_whole
from utils.config import Settings
from utils.errors import UserError
from utils.run import provenance, read_history
from utils.store import Split

SHOWN = 3  # clips whose time lines are pictured each epoch
MOST_CURVES = 24  # classes with a curve of precision against recall, those with most frames


class Validation:
    """The clips of a subset under both label policies, ready to score a model again and again.

    The corrected evaluation judges by corrected labels whatever the settings say; the released one by the
    settings' own label policy, which may shorten clips, so that they are scored once more.
    """

    def __init__(self, split: Split, settings: Settings, device: torch.device, subset: str = "val") -> None:
        policy, normalization = LabelPolicy.of(settings.data), settings.data.normalization
        self.settings, self.device, self.split = settings, device, split
        self.corrected = SkeletonClips(split, subset, policy.corrected(), normalization)
        self.released = SkeletonClips(split, subset, policy, normalization)
        self.shown = varied_clips(self.corrected.video_labels, SHOWN)

    def evaluate(self, model: Localizer) -> tuple[Evaluation, Evaluation] | None:
        """The corrected and the released evaluation of `model`; None on ranks that only share in the scoring."""
        scores = again = clip_scores(model, self.corrected, self.settings, self.device)
        if not self._same_motion():
            again = clip_scores(model, self.released, self.settings, self.device)
        if not distributed.is_main():
            return None
        results, released = _results(self.corrected, scores), _results(self.released, again)
        self.results = results  # of the corrected evaluation, until the next one
        classes, settings = self.split.classes, self.settings.eval
        return evaluate(results, classes, settings, "corrected"), evaluate(released, classes, settings, "released")

    def time_line(self, evaluation: Evaluation, index: int) -> Figure:
        """The time line of a clip in the last corrected evaluation."""
        clip, thresholds = self.results[index], self.settings.eval.thresholds
        found = evaluation.detections.of_clip(index)
        return time_line(clip.name, clip.labels, found, clip.frame_probs, self.split.classes, thresholds)

    def show(self, writer: TensorBoardWriter, evaluation: Evaluation, epoch: int) -> None:
        """Show the last corrected evaluation: time lines of the same few clips, confusion, precision against recall."""
        for index in self.shown:
            picture = as_image(self.time_line(evaluation, index))
            writer.picture(f"time_line/{self.results[index].name}", picture, epoch)
        confusion = frame_confusion((clip.frame_probs, clip.labels) for clip in self.results)
        writer.picture("confusion", as_image(confusion_figure(confusion, self.split.classes)), epoch)
        labels = np.concatenate([clip.labels for clip in self.results])
        frames = labels.sum(axis=0)
        for k in np.argsort(-frames, kind="stable")[:MOST_CURVES]:
            if frames[k]:
                probs = np.concatenate([clip.frame_probs[:, k] for clip in self.results])
                writer.precision_recall(f"precision_recall/{self.split.classes[k]}", labels[:, k], probs, epoch)

    def _same_motion(self) -> bool:
        same_clips = self.corrected.clip_ids == self.released.clip_ids
        return same_clips and np.array_equal(self.corrected.lengths, self.released.lengths)


def varied_clips(video_labels: np.ndarray, count: int) -> list[int]:
    """Clips that show much: each adds as many classes as can be to those before it, then has many itself.

    Args:
        video_labels: (N, K) bool.
    """
    chosen: list[int] = []
    seen = np.zeros(video_labels.shape[1], dtype=bool)
    while len(chosen) < min(count, len(video_labels)):
        classes = video_labels.sum(axis=1)
        worth = (video_labels & ~seen).sum(axis=1) * (video_labels.shape[1] + 1) + classes
        worth[chosen] = -1
        chosen.append(int(worth.argmax()))
        seen |= video_labels[chosen[-1]]
    return chosen


def clip_scores(
    model: Localizer, clips: SkeletonClips, settings: Settings, device: torch.device
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Frame and video probabilities of every clip, by its index. Ranks share the clips out; the main one has all."""
    batch_size = settings.eval.batch_size if settings.model.mask_padding else 1  # padding must not reach a score
    batches = loader(clips, EvalBatches(clips.lengths, batch_size), settings.data.workers, device)
    progress = tqdm(batches, desc=f"score {clips.subset}", unit="batch", leave=False, disable=distributed.no_bar())
    own = {s.index: (s.frame_probs, s.video_probs) for s in score_clips(model, progress, device)}
    return {index: scores for part in distributed.gather(own) for index, scores in part.items()}


def video_label_score(model: Localizer, clips: SkeletonClips, settings: Settings, device: torch.device) -> float:
    """Classification mAP, in percent, of clips of which only the video-level labels are looked at; on the main rank."""
    scores = clip_scores(model, clips, settings, device)
    if not distributed.is_main():
        return float("nan")
    video_probs = np.stack([scores[i][1][: len(clips.classes)] for i in range(len(clips))])
    return float(np.nanmean(classification_ap(video_probs, clips.video_labels)))


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation's figures as one epoch's row holds them; what is not defined is left out."""
    at = {f"mAP@{tiou:g}": value for tiou, value in zip(evaluation.tious, evaluation.map_at, strict=True)}
    return {
        "mAP": evaluation.average_map,
        **{name: float(value) for name, value in at.items()},
        "classification_mAP": evaluation.classification_map,
        "frame_accuracy": evaluation.frame_accuracy,
        **evaluation.f1_at,
        "AP": {name: value for name, value in evaluation.per_class.items() if not np.isnan(value)},
    }


def report(
    folder: Path,
    validation: Validation,
    settings: Settings,
    corrected: Evaluation,
    released: Evaluation,
    facts: dict[str, Any],
    run_folder: Path,
) -> None:
    """Write what is left of the last evaluation, as JSON, pictures and a page, and print its table.

    `run_folder` is where a metrics.jsonl of the training may lie, whose curves the page then has.
    """
    split = validation.split
    results = {
        "protocol": "headline: corrected evaluation; last epoch, or the given weights",
        "corrected": corrected.to_dict(),
        "released": released.to_dict(),
        **facts,
        "split": split.name,
        "store": split.store.digest,
        "settings": settings.model_dump(),
        **provenance(),
    }
    write_json(folder / "results.json", results)
    detections.write(folder / "detections.json", corrected.detections, corrected.names, corrected.classes)
    print(corrected.table(released))
    truth = ground_truth([clip.labels for clip in validation.results])
    diagnosis = diagnose(corrected.detections, truth, split.classes)
    write_diagnosis(folder, diagnosis)
    save_figure(folder / "time_line.png", validation.time_line(corrected, validation.shown[0]))
    try:
        history = read_history(run_folder / "metrics.jsonl")
    except UserError as error:
        print(f"warning: the report has no training curves: {error}", file=sys.stderr)
        history = []
    html = report_html(
        results,
        corrected,
        released,
        validation.results,
        diagnosis,
        history,
        lambda index: validation.time_line(corrected, index),
    )
    write_whole(folder / "report.html", html.encode())
    names = ("report.html", "results.json", "detections.json", "diagnosis.json", "diagnosis.png", "time_line.png")
    print(f"written to {folder}: {', '.join(names)}")


def _results(clips: SkeletonClips, scores: dict[int, tuple[np.ndarray, np.ndarray]]) -> list[ClipResult]:
    return [ClipResult(name, *scores[i], clips.frame_labels(i)) for i, name in enumerate(clips.clip_ids)]
