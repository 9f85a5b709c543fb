"""The report: the evaluation of a model on one HTML page."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.diagnosis import KINDS, MIN_TIOU, TIOU, Diagnosis
from evaluation.metrics import detection_ap
from evaluation.protocols import ClipResult, Evaluation
from reporting.figures import confusion_figure, diagnosis_figure, training_figure
from reporting.player import PlayedClip, pack_fitting, player_data, varied_order
from reporting.style import png
from reporting.templates import render
from utils import config
from utils.atomic import write_json, write_whole
from utils.nested import flat


def report_html(
    results: dict[str, Any],
    corrected: Evaluation,
    released: Evaluation,
    clips: Sequence[ClipResult],
    diagnosis: Diagnosis,
    history: Sequence[dict[str, Any]],
    joints: Callable[[str], np.ndarray],
) -> str:
    """The report as an HTML page that needs no other file.

    Args:
        results: the content of results.json.
        clips: of the corrected evaluation.
        history: the rows of metrics.jsonl; empty if the training is not known.
        joints: clip name → its joints (T, 25, 3) in metres, z up.
    """
    settings = results["settings"]
    ap = clip_ap(corrected)
    played = []
    for index, clip in enumerate(clips):
        found = corrected.detections.of_clip(index)
        played.append(PlayedClip(clip.name, joints(clip.name), clip.labels, (found,), clip.frame_probs, (ap[index],)))
    packed = pack_fitting(played, varied_order(ap), corrected.classes)
    return render(
        "report.html",
        clips=len(clips),
        tious=[f"{tiou:g}" for tiou in corrected.tious],
        results=results,
        corrected=corrected,
        released=released,
        classes=_class_rows(corrected, diagnosis),
        confusion=confusion_figure(corrected.confusion, corrected.classes),
        diagnosis=diagnosis,
        diagnosis_figure=diagnosis_figure(diagnosis),
        kinds=KINDS,
        tiou=f"{TIOU:g}",
        lowest=f"{MIN_TIOU:g}",
        epochs=len(history),
        training=training_figure(history, settings["refine"]["start"]) if history else None,
        quartiles=np.nanpercentile(ap, [25, 50, 75]),
        player=player_data(packed, corrected.classes, ["found"], thresholds=settings["eval"]["thresholds"]),
        settings=_changed_settings(settings),
    )


def write_diagnosis(folder: Path, diagnosis: Diagnosis) -> None:
    """Write diagnosis.json and diagnosis.png into an existing folder."""
    write_json(folder / "diagnosis.json", diagnosis.to_dict())
    write_whole(folder / "diagnosis.png", png(diagnosis_figure(diagnosis)))


def clip_ap(evaluation: Evaluation) -> np.ndarray:
    """AP of each clip in percent, averaged over the tIoUs, (N,). NaN for a clip without true segments.

    Detections of all classes are ranked together. Each can only match a true segment of its own class.
    """
    classes = len(evaluation.classes)
    # detection_ap computes one AP per class and matches only within a clip. So the clip's index is passed as the
    # class, and the pair (clip, class) as the clip.
    found, true = (
        replace(side, clip=side.clip * classes + side.label, label=side.clip)
        for side in (evaluation.detections, evaluation.truth)
    )
    return detection_ap(found, true, len(evaluation.names), evaluation.tious).mean(axis=0)


def _class_rows(evaluation: Evaluation, diagnosis: Diagnosis) -> list[list]:
    """For each class: AP at each tIoU, their mean, classification AP, true segments, missed ones."""
    missed = {group.group: (group.segments, group.missed) for group in diagnosis.missed["class"]}
    columns = zip(evaluation.classes, evaluation.ap.T, evaluation.classification_ap, strict=True)
    return [[name, *ap, ap.mean(), clip_level, *missed.get(name, (0, None))] for name, ap, clip_level in columns]


def _changed_settings(settings: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The settings that differ from config/base.yaml: name, value, value in that file."""
    base = dict(flat(config.load().model_dump()))
    return [
        (name, _setting(value), _setting(base.get(name))) for name, value in flat(settings) if value != base.get(name)
    ]


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
