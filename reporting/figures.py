"""Figures of an evaluation, of a training and of a dataset. Time lines of clips are in time_lines.py."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.diagnosis import KINDS, MAX_K, TIOU, Diagnosis, Missed
from reporting.style import BLUE, COLOURS, GREEN, LINE_STYLES, ORANGE, PINK, RED, SKY, drawable, plain_axes
from utils.nested import flat

KIND_COLOURS = (GREEN, SKY, ORANGE, RED, PINK, "#999999")  # only correct detections are green
HATCHES = ("", "..", "//", "\\\\", "xx", "")
MATRIX_CLASSES = 24  # classes in a confusion matrix: those with most frames
NUMBERS_UP_TO = 12  # classes; a larger matrix has no room for numbers
MAX_NAME, MAX_BAR_NAME = 22, 28  # characters of a class name in a matrix, and beside a bar
SCORES = {  # name: path in a row of metrics.jsonl. TensorBoard shows these scores beside the settings
    "mAP, corrected": "corrected/mAP",
    "mAP, released": "released/mAP",
    "classification mAP": "corrected/classification_mAP",
    "frame accuracy": "corrected/frame_accuracy",
}
SUBSET_STYLES = {"train": {"facecolor": BLUE}, "val": {"facecolor": ORANGE, "hatch": "///"}}
MAX_CLASSES = 40  # the most classes in `minutes_figure`


def diagnosis_figure(diagnosis: Diagnosis) -> Figure:
    """Kinds of errors among the best detections, mAP if each kind were fixed, and missed true segments."""
    figure = Figure(figsize=(11.5, 7.4), layout="constrained")
    upper, lower = figure.subplots(2, 2, width_ratios=[1.25, 1])
    _best_detections(upper[0], diagnosis)
    _fixed(upper[1], diagnosis)
    for axes, by in zip(lower, ("duration in seconds", "actions in the clip"), strict=True):
        _missed(axes, by, diagnosis.missed[by])
    for axes in (*upper, *lower):
        plain_axes(axes)
    return figure


def confusion_figure(confusion: np.ndarray, classes: Sequence[str]) -> Figure:
    """Percentage of each true class's frames (rows) by most probable class (columns), background last.

    `confusion` is in frames, (K+1, K+1), as `evaluation.metrics.frame_confusion` counts them.
    """
    background = len(classes)
    total = confusion.sum(axis=1)
    most = np.sort(np.argsort(-total[:background], kind="stable")[:MATRIX_CLASSES])
    shown = np.append(most, background)
    percent = 100 * confusion[np.ix_(shown, shown)] / np.where(total > 0, total, 1)[shown, None]
    names = [*(drawable(classes[k], MAX_NAME) for k in most), "background"]
    size = 2.6 + 0.42 * max(len(shown), 5)
    figure = Figure(figsize=(size + 1.2, size), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(percent, vmin=0, vmax=100, cmap="Blues")
    axes.set_xticks(range(len(shown)), names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    labels = [f"{name}  ({frames:,.0f})" for name, frames in zip(names, total[shown], strict=True)]
    axes.set_yticks(range(len(shown)), labels, parse_math=False)
    if len(most) <= NUMBERS_UP_TO:
        for (row, column), value in np.ndenumerate(percent):
            ink = "white" if value > 55 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set(xlabel="most probable class", ylabel="true class (frames)")
    hidden = background - len(most)
    axes.set_title(f"% of frames{f' ({hidden} more classes not shown)' if hidden else ''}", loc="left", fontsize=10)
    figure.colorbar(picture, ax=axes, shrink=0.8, pad=0.02)
    return figure


def training_figure(history: Sequence[dict[str, Any]], refine_start: int) -> Figure:
    """Loss terms and validation scores by epoch. `history`: the rows of metrics.jsonl, at least one.

    The first `refine_start` epochs have no pseudo-labels.
    """
    figure = Figure(figsize=(11.5, 3.6), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    curves = defaultdict(list)  # (epoch, value) of each number, by its path
    for row in history:
        for path, value in flat(row, "/"):
            if isinstance(value, int | float):  # an edited file may hold other things
                curves[path].append((row["epoch"], value))
    _draw_curves(losses, {path.removeprefix("loss/"): c for path, c in curves.items() if path.startswith("loss/")})
    _draw_curves(scores, {name: curves[path] for name, path in SCORES.items()})
    losses.set(ylim=(0, None), ylabel="loss")
    scores.set(ylim=(0, 100), ylabel="%")
    for axes in (losses, scores):
        plain_axes(axes)
        first = refine_start + 1
        if 1 < first <= history[-1]["epoch"]:
            axes.axvline(first, color="0.5", linewidth=1, linestyle=":")
            place = {"xycoords": ("data", "axes fraction"), "xytext": (3, -9), "textcoords": "offset points"}
            axes.annotate("pseudo-labels", (first, 1), fontsize=8, color="0.35", **place)
    return figure


def minutes_figure(classes: Sequence[str], minutes: dict[str, np.ndarray]) -> Figure:
    """Minutes (K,) of each class, by subset, the most frequent classes first, at most MAX_CLASSES."""
    order = np.argsort(-sum(minutes.values()), kind="stable")
    shown = order[:MAX_CLASSES]
    figure = Figure(figsize=(9, 1.1 + 0.36 * len(shown)), dpi=130, layout="constrained")
    axes = figure.subplots()
    for place, (subset, values) in enumerate(minutes.items()):
        style = {"edgecolor": "black", "linewidth": 0.5, **SUBSET_STYLES[subset]}
        axes.barh(np.arange(len(shown)) + 0.4 * place - 0.2, values[shown], 0.38, label=subset, **style)
    axes.set_yticks(range(len(shown)), [drawable(classes[label], MAX_BAR_NAME) for label in shown], parse_math=False)
    rest = f"; {len(order) - len(shown)} rarer classes not shown" if len(order) > len(shown) else ""
    axes.set(ylim=(len(shown) - 0.4, -0.6), xlabel=f"minutes{rest}")
    plain_axes(axes, grid="x")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))  # beside the bars
    return figure


def _best_detections(axes: Axes, diagnosis: Diagnosis) -> None:
    ks = range(1, MAX_K + 1)
    percent = 100 * diagnosis.profile.T / (np.array(ks) * max(1, diagnosis.true_segments))  # (kinds, MAX_K)
    bottom = np.zeros(MAX_K)
    for kind, colour, hatch, values in zip(KINDS, KIND_COLOURS, HATCHES, percent, strict=True):
        axes.bar(ks, values, 0.8, bottom, color=colour, edgecolor="white", linewidth=0.4, hatch=hatch, label=kind)
        bottom += values
    axes.set_xticks(ks, [f"{k}G" for k in ks])
    axes.set(ylim=(0, 100), ylabel="% of the k·G best")
    title = f"The best detections (G: true segments of a class; {diagnosis.true_segments:,} in all)"
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(reverse=True, loc="upper right", fontsize=8, framealpha=0.9)


def _fixed(axes: Axes, diagnosis: Diagnosis) -> None:
    names = [*KINDS[1:], "all"]
    values = [diagnosis.fixed[name] for name in names]
    colours = [*KIND_COLOURS[1:], "0.3"]
    bars = axes.barh(range(len(names)), values, 0.7, color=colours, edgecolor="white", hatch=[*HATCHES[1:], ""])
    gains = [f"{value:.1f}  (+{value - diagnosis.mean_ap:.1f})" for value in values]
    axes.bar_label(bars, gains, padding=3, fontsize=8)
    axes.axvline(diagnosis.mean_ap, color="black", linewidth=1)
    axes.set_yticks(range(len(names)), [*names[:-1], "all of these"])
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 128), xticks=range(0, 101, 20))  # leaves room for the numbers
    axes.set_title(f"mAP at tIoU {TIOU:g} if each were fixed (now {diagnosis.mean_ap:.1f})", loc="left", fontsize=10)


def _missed(axes: Axes, by: str, groups: Sequence[Missed]) -> None:
    percent = [100 * group.missed / max(1, group.segments) for group in groups]
    bars = axes.bar(range(len(groups)), percent, 0.7, color=BLUE)
    labels = [f"{group.missed} of\n{group.segments}" if group.segments else "none" for group in groups]
    axes.bar_label(bars, labels, padding=2, fontsize=8)
    axes.set_xticks(range(len(groups)), [group.group for group in groups], fontsize=8)
    axes.set(ylim=(0, 122), yticks=range(0, 101, 25), ylabel="% missed")  # leaves room for the numbers
    axes.set_title(f"True segments missed, by {by}", loc="left", fontsize=10)


def _draw_curves(axes: Axes, curves: dict[str, list[tuple[int, float]]]) -> None:
    """Draw curves of (epoch, value) by name. A curve without points still uses up a colour, so others keep theirs."""
    for number, (name, points) in enumerate(curves.items()):
        if points:
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": LINE_STYLES[number % len(LINE_STYLES)]}
            marker = "o" if len(points) < 30 else None
            axes.plot(*zip(*points, strict=True), **style, marker=marker, markersize=3, label=name)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.lines:
        axes.legend(loc="best", fontsize=8, frameon=False)
