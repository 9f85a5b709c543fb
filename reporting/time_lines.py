"""The time line of one clip: its true segments, detections and class activation sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from evaluation.localization import Detections
from evaluation.segments import runs, suppress
from reporting.style import COLOURS, LINES, drawable, new_figure, plain_axes
from utils.skeleton import FPS

MAX_BAND = 0.2  # difference of highest and lowest threshold; a wider band would hide the curves
MAX_ROWS = 8  # classes shown
MAX_NAME, MAX_TITLE = 28, 60  # characters
TICKS = (0, 0.05, 0.2, 0.4, 0.6, 0.8, 1)  # of the shared panel; the square-root axis gives low probabilities more room
FEW_TICKS = (0, 0.05, 0.4, 1)  # of a panel for one class, which is lower
MAX_CURVES = 4  # in the shared panel
LONG = 2000  # frames; curves of longer clips are thin and have a panel each
MAX_BARS = 40  # detections shown for each class: the best ones
MAX_OVERLAP = 0.2  # divided by the length of the shorter detection; of two that overlap by more, the better is shown
TRUTH = Patch(facecolor="0.5", edgecolor="black", hatch="///", label="truth")
DETECTED = Patch(facecolor="0.8", edgecolor="black", label="detected")
LEGEND = {"loc": "upper left", "bbox_to_anchor": (1, 1), "fontsize": 8, "frameon": False}

Row = tuple[int, int, str]  # row of the figure, class index and class name


def time_line(
    name: str,
    labels: np.ndarray | None,
    detections: Detections,
    frame_probs: np.ndarray,
    classes: Sequence[str],
    thresholds: Sequence[float],
) -> Figure:
    """Draw true segments and detections of one clip, class by class, above the class activation sequence, in seconds.

    At most MAX_ROWS classes are shown: first those that occur, then those with the best detections. A detection shows
    its score as a number and as the strength of its colour. The curves of all classes share one panel. If there are
    more than MAX_CURVES classes, or if the clip is LONG, each class has a panel.

    Args:
        labels: (T, K) bool, or None if the true segments are unknown.
        detections: of this clip only.
        frame_probs: (T, K+1), background last.
        thresholds: the thresholds of the proposals.
    """
    true = np.zeros((len(frame_probs), len(classes)), bool) if labels is None else labels
    shown, hidden = shown_classes(true, detections)
    rows = [(row, label, drawable(classes[label], MAX_NAME)) for row, label in enumerate(shown)]
    separate = len(rows) > 1 and (len(rows) > MAX_CURVES or len(true) >= LONG)
    panels = [[row] for row in rows] if separate else [rows]
    heights = [0.55 * max(1, len(rows)), *(len(panels) * [0.8 if separate else 2.6])]
    figure = new_figure(10, 1 + sum(heights))
    bars, *curves = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    lane = 0.0 if labels is None else 0.2  # detections are drawn below the true segments
    for row, label, _ in rows:
        _draw_bars(bars, row, lane, true[:, label], detections.of_class(label))
    bars.set_yticks(range(len(rows)), [text for *_, text in rows], parse_math=False)
    bars.set(ylim=(max(1, len(rows)) - 0.5, -0.5), xlim=(0, max(1, len(true)) / FPS))
    rest = f" ({hidden} more classes not shown)" if hidden else ""
    bars.set_title(drawable(name, MAX_TITLE) + rest, loc="left", parse_math=False)
    bars.legend(handles=[DETECTED] if labels is None else [TRUTH, DETECTED], **LEGEND)
    for axes, panel in zip(curves, panels, strict=True):
        _draw_curves(axes, frame_probs, panel, thresholds, ticks=FEW_TICKS if separate else TICKS)
        lines, _ = axes.get_legend_handles_labels()
        if axes is not curves[0]:
            lines = lines[1:-1]  # background and thresholds are explained in the first panel
        for text in axes.legend(handles=lines, **LEGEND).get_texts():
            text.set_parse_math(False)  # a class name is never a formula
    place = {"y": 1, "ha": "right"} if separate else {}
    curves[0].set_ylabel("frame probability\n(square-root axis)", **place)
    curves[-1].set_xlabel("seconds")
    for axes in (bars, *curves):
        plain_axes(axes, grid="x")
    return figure


def shown_classes(labels: np.ndarray, detections: Detections) -> tuple[list[int], int]:
    """The classes to show, and the number of further classes that occur or are detected."""
    best = np.full(labels.shape[1], -np.inf)
    np.maximum.at(best, detections.label, detections.scores)
    present = labels.any(axis=0)
    order = np.lexsort((-best, ~present))
    relevant = [int(label) for label in order if present[label] or best[label] > -np.inf]
    return relevant[:MAX_ROWS], len(relevant[MAX_ROWS:])


def _draw_bars(axes: Axes, row: int, lane: float, labels: np.ndarray, detections: Detections) -> None:
    """Draw a class's true segments in the upper part of its row, and its detections `lane` below the row's middle."""
    colour = COLOURS[row % len(COLOURS)]
    spans = [(start, end - start) for start, end in runs(labels) / FPS]
    axes.broken_barh(spans, (row - 0.38, 0.36), facecolor=colour, edgecolor="black", hatch="///", linewidth=0.8)
    best = detections.where(suppress(detections.segments, detections.scores, "shorter", MAX_OVERLAP)[:MAX_BARS])
    highest = max(float(best.scores.max(initial=0)), 1e-9)
    for (start, end), score in zip(best.segments / FPS, best.scores, strict=True):
        opacity = 0.15 + 0.75 * float(np.clip(score / highest, 0, 1))
        axes.barh(row + lane, end - start, 0.32, start, facecolor=(colour, opacity), edgecolor="black", linewidth=0.8)
        middle, label = (start + end) / 2, f"{score:.2f}"
        text = axes.text(middle, row + lane, label, ha="center", va="center", fontsize=7, clip_on=True)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8})
        text.set_visible(end - start > 0.045 * len(labels) / FPS)  # shorter bars have no room for it


def _draw_curves(
    axes: Axes, frame_probs: np.ndarray, rows: list[Row], thresholds: Sequence[float], ticks: Sequence[float]
) -> None:
    """Draw the probabilities of classes and of background over time, and the thresholds as a band."""
    seconds = (np.arange(len(frame_probs)) + 0.5) / FPS  # the middle of each frame
    marker = "o" if len(frame_probs) == 1 else None
    axes.plot(seconds, frame_probs[:, -1], color="0.65", linewidth=1, marker=marker, label="background")
    for row, label, name in rows:
        style = {
            "color": COLOURS[row % len(COLOURS)],
            "linestyle": LINES[row % len(LINES)] if len(rows) > 1 else "-",
            "linewidth": 1.6 if len(frame_probs) < LONG else 0.8,
        }
        axes.plot(seconds, frame_probs[:, label], **style, marker=marker, label=name)
    low, high = min(thresholds), max(thresholds)
    if high - low <= MAX_BAND:
        axes.axhspan(low, high, color="0.75", zorder=0)
    for threshold in thresholds:
        axes.axhline(threshold, color="0.3", linewidth=0.4, zorder=1)
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    axes.plot([], [], color="0.5", linewidth=4, label=f"thresholds\n{span}")
    axes.set_yscale("function", functions=(lambda p: np.sqrt(np.maximum(p, 0)), np.square))
    axes.set_ylim(0, 1.02)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
