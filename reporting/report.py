"""One page about an evaluated model: figures, errors, training, best and worst clips, settings, where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evaluation.diagnosis import KINDS, LOWEST, TIOU, Diagnosis, frame_confusion
from evaluation.localization import Detections, ground_truth
from evaluation.metrics import detection_map
from evaluation.protocols import ClipResult, Evaluation
from reporting.figures import confusion_figure, diagnosis_figure, save_figure, training_figure
from reporting.templates import Section, figure_html, heading_html, page, table_html, text_html, tiles_html
from utils import config
from utils.atomic import write_json
from utils.skeleton import FPS

MOST_CLIPS = 3  # pictured of the best, and of the worst


def report_html(
    results: dict[str, Any],
    corrected: Evaluation,
    released: Evaluation,
    clips: Sequence[ClipResult],
    diagnosis: Diagnosis,
    history: Sequence[dict[str, Any]],
    time_line: Callable[[int], Figure],
) -> str:
    """The page, whole in itself.

    Args:
        results: the content of results.json.
        clips: of the corrected evaluation.
        history: rows of metrics.jsonl; none where it is not known how the model was trained.
        time_line: draws a clip by its index.
    """
    sections = [
        Section("Result", _result(corrected, released, results)),
        Section("Classes", _classes(corrected, diagnosis, clips)),
        Section("Errors", _errors(diagnosis)),
    ]
    if history:
        sections.append(Section("Training", _training(history, results["settings"]["refine"]["start"])))
    sections += [
        Section("Clips", _clips(clips, corrected, time_line)),
        Section("Settings", _settings(results["settings"])),
        Section("Where it comes from", _provenance(results)),
    ]
    lead = f"{len(clips)} validation clips, {len(corrected.classes)} classes; all figures in percent"
    return page(f"Evaluation on {results['split']}", sections, lead)


def write_diagnosis(folder: Path, diagnosis: Diagnosis) -> None:
    """Write a diagnosis as diagnosis.json and diagnosis.png into a folder that is there."""
    write_json(folder / "diagnosis.json", diagnosis.to_dict())
    save_figure(folder / "diagnosis.png", diagnosis_figure(diagnosis))


def clip_ap(evaluation: Evaluation, truth: Detections) -> np.ndarray:
    """AP of each clip's detections, all classes ranked together, averaged over the tIoUs: (N,) percent.

    A detection still has to find a true segment of its own class. Not a number for a clip without truth.
    """
    number = len(evaluation.classes)
    found, true = (  # clips take the place of classes, and each class of a clip that of a clip
        replace(part, clip=part.clip * number + part.label, label=part.clip) for part in (evaluation.detections, truth)
    )
    return detection_map(found, true, len(evaluation.names), evaluation.tious).mean(axis=0)


def _result(corrected: Evaluation, released: Evaluation, results: dict[str, Any]) -> str:
    whole = float(corrected.whole_clip_map_at.mean())
    tiles = [
        ("average mAP, corrected", _number(corrected.average_map)),
        ("average mAP, whole-clip baseline", _number(whole)),
        ("classification mAP", _number(corrected.classification_map)),
        ("frame accuracy", _number(corrected.frame_accuracy)),
    ]
    both = (corrected, released)
    detection = [[f"model, {e.protocol}", *_cells([*e.map_at, e.average_map])] for e in both]
    for e in both:
        figures = [*e.whole_clip_map_at, e.whole_clip_map_at.mean()]
        detection.append([f"whole-clip baseline, {e.protocol}", *_cells(figures)])
    others = [
        [f"model, {e.protocol}", *_cells([e.classification_map, e.frame_accuracy, *e.f1_at.values()])] for e in both
    ]
    parts = [
        tiles_html(tiles),
        table_html(["evaluation", *_at(corrected), "average"], detection, "Detection mAP at each tIoU"),
        table_html(
            ["evaluation", "classification mAP", "frame accuracy", *corrected.f1_at],
            others,
            "Classes of whole clips, of frames, and segmental F1",
        ),
        text_html(
            "Trust the corrected evaluation; the released one is for comparing with published tables. The whole-clip "
            "baseline knows every clip's classes but not when they occur: it detects each from the clip's first frame "
            "to its last.",
            "note",
        ),
    ]
    if oracle := results.get("oracle_epoch"):
        parts.append(
            text_html(
                f"These are the last epoch's figures. The best validation epoch was {oracle['epoch']}, with an "
                f"average mAP of {oracle['corrected']['mAP']:.1f}: not a fair figure, as the clips that it is scored "
                "on chose it.",
                "note",
            )
        )
    return "\n".join(parts)


def _classes(evaluation: Evaluation, diagnosis: Diagnosis, clips: Sequence[ClipResult]) -> str:
    missed = {group.group: group for group in diagnosis.missed["class"]}
    rows = []
    for k, name in enumerate(evaluation.classes):
        group = missed.get(name)
        figures = _cells([*evaluation.ap[:, k], evaluation.ap[:, k].mean(), evaluation.classification_ap[k]])
        rows.append([name, *figures, group.segments if group else 0, group.missed if group else None])
    head = ["class", *_at(evaluation), "average", "classification AP", "true segments", f"missed at {TIOU:g}"]
    confusion = frame_confusion((clip.frame_probs, clip.labels) for clip in clips)
    picture = figure_html(
        confusion_figure(confusion, evaluation.classes),
        "Matrix of true classes by most probable classes, in percent of the true class's frames",
        "A frame of several classes counts under the most probable class where that is one of them, else in equal "
        "parts under each of them.",
    )
    return "\n".join(
        [
            table_html(head, rows, "Detection AP at each tIoU, corrected evaluation"),
            heading_html("Which classes are taken for which"),
            picture,
        ]
    )


def _errors(diagnosis: Diagnosis) -> str:
    meaning = {
        "correct": f"takes a true segment of its class, with a tIoU of at least {TIOU:g}",
        "double detection": "reaches that too, but a better-scored detection has taken the segment",
        "localization error": f"has a tIoU of {LOWEST:g} to {TIOU:g} with its own class at best",
        "wrong class": f"is not near its own class; reaches {TIOU:g} with another",
        "wrong class and boundary": f"is not near its own class; has {LOWEST:g} to {TIOU:g} with another",
        "background": f"stays below {LOWEST:g} with every true segment",
    }
    alt = "Kinds of errors among the best detections; mAP if each were fixed; share of missed true segments"
    most = diagnosis.profile[0]
    counts = dict(zip(KINDS, most.tolist(), strict=True))
    rows = [[kind, counts[kind], *_cells([diagnosis.fixed.get(kind, np.nan)]), text] for kind, text in meaning.items()]
    every = [int(most[1:].sum()), *_cells([diagnosis.fixed["all"]])]
    rows.append(["all errors", *every, "is any of the five; what nothing comes near stays missed"])
    head = ["kind", "among the G best", f"mAP at {TIOU:g} if fixed", "a detection that"]
    return "\n".join(
        [
            figure_html(diagnosis_figure(diagnosis), alt),
            table_html(head, rows),
            text_html(
                "Of each class the k·G best detections are looked at, G being its number of true segments; where a bar "
                f"ends below 100 %, there are no more. mAP at {TIOU:g} is now {_number(diagnosis.map)}. Fixed, a "
                "detection has the class and ends of the true segment that it comes nearest to; where there is none, "
                "or a better-scored one has it, it goes.",
                "note",
            ),
        ]
    )


def _training(history: Sequence[dict[str, Any]], refine_start: int) -> str:
    last = history[-1]["epoch"]
    caption = f"{last + 1} epochs. Left: terms of the loss. Right: figures on the validation clips, in percent."
    return figure_html(training_figure(history, refine_start), "Curves of losses and scores over epochs", caption)


def _clips(clips: Sequence[ClipResult], evaluation: Evaluation, time_line: Callable[[int], Figure]) -> str:
    truth = ground_truth([clip.labels for clip in clips])
    scores = clip_ap(evaluation, truth)
    actions = np.bincount(truth.clip, minlength=len(clips))
    scored = np.flatnonzero(actions)
    best = scored[np.lexsort((-actions[scored], -scores[scored]))]
    worst = scored[np.lexsort((-actions[scored], scores[scored]))]
    shown = min(MOST_CLIPS, (len(scored) + 1) // 2)
    low, middle, high = np.percentile(scores[scored], [25, 50, 75])
    parts = [
        text_html(
            "A clip's AP is that of all its detections, ranked together by score whatever their class, averaged over "
            f"the tIoUs. Half of the clips have {low:.0f} to {high:.0f}, the median is {middle:.0f}."
        )
    ]
    for heading, order in (("Best", best), ("Worst", worst)):
        parts.append(heading_html(heading))
        for index in order[:shown].tolist():
            name, seconds = clips[index].name, len(clips[index].labels) / FPS
            alt = f"Time line of clip {name}: truth, detections and frame probabilities"
            segments = f"{actions[index]} true segment{'s' if actions[index] > 1 else ''}"
            caption = f"Clip {name}: AP {scores[index]:.1f}, {segments} in {seconds:.1f} s"
            parts.append(figure_html(time_line(index), alt, caption))
    return "\n".join(parts)


def _settings(settings: dict[str, Any]) -> str:
    base = config.load().model_dump()
    rows = [
        [f"{group}.{name}", _text(value), _text(base[group].get(name))]
        for group, entries in settings.items()
        for name, value in entries.items()
        if value != base[group].get(name)
    ]
    if not rows:
        return text_html("All as in config/base.yaml.")
    return table_html(["setting", "here", "config/base.yaml"], rows)


def _provenance(results: dict[str, Any]) -> str:
    facts = {
        "weights": results.get("weights", "of the last epoch"),
        "split": results["split"],
        "store": results["store"],
        "commit": results["commit"],
        **results["versions"],
        "machine": results["machine"],
        "accelerator": results["accelerator"] or "none",
    }
    return table_html(["what", "which"], [[name, str(value)] for name, value in facts.items()])


def _at(evaluation: Evaluation) -> list[str]:
    return [f"{tiou:g}" for tiou in evaluation.tious]


def _cells(figures: Sequence[float]) -> list[float | None]:
    return [None if np.isnan(figure) else float(figure) for figure in figures]


def _number(figure: float) -> str:
    return "–" if np.isnan(figure) else f"{figure:.1f}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
