"""Score a model on annotated clips, by the corrected evaluation and by the released one, and report it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from feeders.batches import EvalBatches, loader
from feeders.dataset import SkeletonClips
from model.inference import score_clips
from model.localizer import Localizer
from utils import detections, distributed
from utils.atomic import whole_file, write_json
from utils.config import Settings
from utils.evaluation import ClipResult, Evaluation, evaluate
from utils.label_policy import LabelPolicy
from utils.metrics import classification_ap
from utils.plots import time_line
from utils.run import provenance
from utils.store import Split


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
        self.example = int(self.corrected.video_labels.sum(axis=1).argmax())  # the clip that is pictured

    def evaluate(self, model: Localizer) -> tuple[Evaluation, Evaluation] | None:
        """The corrected and the released evaluation of `model`; None on ranks that only share in the scoring."""
        scores = again = clip_scores(model, self.corrected, self.settings, self.device)
        if not self._same_motion():
            again = clip_scores(model, self.released, self.settings, self.device)
        if not distributed.is_main():
            return None
        results, released = _results(self.corrected, scores), _results(self.released, again)
        self.shown = results[self.example]
        classes, settings = self.split.classes, self.settings.eval
        return evaluate(results, classes, settings, "corrected"), evaluate(released, classes, settings, "released")

    def time_line(self, evaluation: Evaluation) -> Figure:
        """The time line of one clip in the last corrected evaluation: the clip with most classes."""
        clip, thresholds = self.shown, self.settings.eval.thresholds
        found = evaluation.detections.of_clip(self.example)
        return time_line(clip.name, clip.labels, found, clip.frame_probs, self.split.classes, thresholds)

    def _same_motion(self) -> bool:
        same_clips = self.corrected.clip_ids == self.released.clip_ids
        return same_clips and np.array_equal(self.corrected.lengths, self.released.lengths)


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
) -> None:
    """Write results.json, detections.json and time_line.png of the last evaluation, and print the table."""
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
    with whole_file(folder / "time_line.png") as file:
        validation.time_line(corrected).savefig(file, format="png")
    print(corrected.table(released))
    print(f"written: {folder / 'results.json'}, {folder / 'detections.json'}, {folder / 'time_line.png'}")


def _results(clips: SkeletonClips, scores: dict[int, tuple[np.ndarray, np.ndarray]]) -> list[ClipResult]:
    return [ClipResult(name, *scores[i], clips.frame_labels(i)) for i, name in enumerate(clips.clip_ids)]
