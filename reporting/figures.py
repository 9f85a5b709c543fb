"""Pictures of an evaluation and of a training: kinds of error, confusion of classes, curves over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.sparse import csr_array

from evaluation.diagnosis import KINDS, MOST_G, TIOU, Diagnosis, Missed
from reporting.time_lines import COLOURS, LINES
from utils.atomic import whole_file
from utils.text import printable

# Of Okabe and Ito's, correct detections in the only green; hatches tell the kinds apart in grey.
KIND_COLOURS = ("#009E73", "#56B4E9", "#E69F00", "#D55E00", "#CC79A7", "#999999")
HATCHES = ("", "..", "//", "\\\\", "xx", "")
MOST_CONFUSED = 24  # classes shown, those with most frames
NUMBERS_UP_TO = 12  # classes whose cells have room for a number
SHORT = 22  # letters of a class name on an axis


def diagnosis_figure(diagnosis: Diagnosis) -> Figure:
    """Kinds among the k·G best detections, mAP if each kind of error were fixed, and the share of missed truth."""
    figure = _figure(11.5, 7.4)
    upper, lower = figure.subplots(2, 2, width_ratios=[1.25, 1])
    _profile(upper[0], diagnosis)
    _fixed(upper[1], diagnosis)
    for axes, (by, groups) in zip(lower, list(diagnosis.missed.items())[:2], strict=True):
        _missed(axes, by, groups)
    return figure


def confusion_figure(confusion: csr_array, classes: Sequence[str]) -> Figure:
    """Share of each true class's frames by most probable class, in percent of the row; background last."""
    background = len(classes)
    total = np.asarray(confusion.sum(axis=1)).reshape(-1)
    most = np.sort(np.argsort(-total[:background], kind="stable")[:MOST_CONFUSED])
    shown = np.append(most, background)
    counts = confusion[shown][:, shown].toarray()
    share = 100 * np.divide(counts, total[shown, None], out=np.zeros_like(counts), where=total[shown, None] > 0)
    names = [*(_short(classes[k]) for k in most), "background"]
    size = 2.6 + 0.42 * max(len(shown), 5)
    figure = _figure(size + 1.2, size)
    axes = figure.subplots()
    picture = axes.imshow(share, vmin=0, vmax=100, cmap="Blues")
    axes.set_xticks(range(len(shown)), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    labels = [f"{name}  ({frames:,.0f})" for name, frames in zip(names, total[shown], strict=True)]
    axes.set_yticks(range(len(shown)), labels, parse_math=False)
    if len(most) <= NUMBERS_UP_TO:
        for row, column in np.ndindex(share.shape):
            ink = "white" if share[row, column] > 55 else "black"
            axes.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_xlabel("most probable class")
    axes.set_ylabel("true class (frames)")
    hidden = background - len(most)
    axes.set_title(f"% of frames{f' ({hidden} more classes not shown)' if hidden else ''}", loc="left", fontsize=10)
    figure.colorbar(picture, ax=axes, shrink=0.8, pad=0.02)
    return figure


def training_figure(history: Sequence[dict[str, Any]], refine_start: int) -> Figure:
    """Loss terms, and what was scored on validation clips, over the epochs of metrics.jsonl."""
    figure = _figure(11.5, 3.6)
    losses, scores = figure.subplots(1, 2)
    _curves(losses, {name: _series(history, "loss", name) for name in _names(history, "loss")})
    figures = {
        "mAP, corrected": _series(history, "corrected", "mAP"),
        "mAP, released": _series(history, "released", "mAP"),
        "classification mAP": _series(history, "corrected", "classification_mAP"),
        "frame accuracy": _series(history, "corrected", "frame_accuracy"),
    }
    _curves(scores, figures)
    losses.set_ylim(bottom=0)
    losses.set_ylabel("loss")
    scores.set_ylim(0, 100)
    scores.set_ylabel("%")
    for axes in (losses, scores):
        if 0 < refine_start <= max((row["epoch"] for row in history), default=0):
            axes.axvline(refine_start, color="0.5", linewidth=1, linestyle=":")
            axes.annotate(
                "pseudo-labels", (refine_start, 1), xycoords=("data", "axes fraction"), fontsize=8, color="0.35",
                xytext=(3, -9), textcoords="offset points",
            )  # fmt: skip
    return figure


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all."""
    with whole_file(path) as file:
        figure.savefig(file, format="png")


def _profile(axes: Axes, diagnosis: Diagnosis) -> None:
    slots = np.arange(1, MOST_G + 1) * max(1, diagnosis.true_segments)
    share = 100 * diagnosis.profile / slots[:, None]
    bottom = np.zeros(MOST_G)
    for kind, colour, hatch, values in zip(KINDS, KIND_COLOURS, HATCHES, share.T, strict=True):
        axes.bar(
            range(1, MOST_G + 1), values, 0.8, bottom, color=colour, edgecolor="white", linewidth=0.4,
            hatch=hatch, label=kind,
        )  # fmt: skip
        bottom += values
    axes.set_xticks(range(1, MOST_G + 1), [f"{k}G" for k in range(1, MOST_G + 1)])
    axes.set_ylim(0, 100)
    axes.set_ylabel("% of the k·G best")
    axes.set_title(f"The best detections (G = {diagnosis.true_segments:,} true segments)", loc="left", fontsize=10)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], loc="upper right", fontsize=8, framealpha=0.9)
    _plain(axes)


def _fixed(axes: Axes, diagnosis: Diagnosis) -> None:
    names = [*KINDS[1:], "all"]
    values = [diagnosis.fixed[name] for name in names]
    base = diagnosis.map
    colours = [*KIND_COLOURS[1:], "0.3"]
    axes.barh(range(len(names)), values, 0.7, color=colours, edgecolor="white", hatch=[*HATCHES[1:], ""])
    axes.axvline(base, color="black", linewidth=1)
    for row, value in enumerate(values):
        if not np.isnan(value):
            axes.text(value + 1, row, f"{value:.1f}  (+{value - base:.1f})", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), ["all of these" if name == "all" else name for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 128)  # room for the figures
    axes.set_xticks(range(0, 101, 20))
    axes.set_title(f"mAP at tIoU {TIOU:g} if each were fixed (now {base:.1f})", loc="left", fontsize=10)
    _plain(axes)


def _missed(axes: Axes, by: str, groups: Sequence[Missed]) -> None:
    share = [100 * group.missed / max(1, group.segments) for group in groups]
    axes.bar(range(len(groups)), share, 0.7, color=COLOURS[0])
    for place, (group, value) in enumerate(zip(groups, share, strict=True)):
        label = f"{group.missed} of\n{group.segments}" if group.segments else "none"
        axes.text(place, value + 2, label, ha="center", fontsize=8)
    axes.set_xticks(range(len(groups)), [group.group for group in groups], fontsize=8)
    axes.set_ylim(0, 122)
    axes.set_yticks(range(0, 101, 25))
    axes.set_ylabel("% missed")
    axes.set_title(f"True segments missed, by {by}", loc="left", fontsize=10)
    _plain(axes)


def _curves(axes: Axes, curves: dict[str, list[tuple[int, float]]]) -> None:
    for number, (name, points) in enumerate(curves.items()):
        if points:
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % len(LINES)]}
            marker = "o" if len(points) < 30 else None
            axes.plot(*zip(*points, strict=True), **style, marker=marker, markersize=3, label=name)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.lines:
        axes.legend(loc="best", fontsize=8, frameon=False)
    _plain(axes)


def _names(history: Sequence[dict[str, Any]], group: str) -> list[str]:
    return list(dict.fromkeys(name for row in history for name in _part(row, group)))


def _series(history: Sequence[dict[str, Any]], group: str, name: str) -> list[tuple[int, float]]:
    return [(row["epoch"], _part(row, group)[name]) for row in history if name in _part(row, group)]


def _part(row: dict[str, Any], group: str) -> dict[str, float]:
    """The numbers of a group in a row, whatever else a file holds there."""
    part = row.get(group)
    return {k: v for k, v in part.items() if isinstance(v, int | float)} if isinstance(part, dict) else {}


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color="0.92")
    axes.set_axisbelow(True)


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= SHORT else f"{name[: SHORT - 1]}…"
