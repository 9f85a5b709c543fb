"""The time line of one clip: its true segments, detections and frame probabilities."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from evaluation.localization import Detections
from evaluation.segments import runs, suppress
from reporting.style import COLOURS, drawable, plain_axes
from utils.skeleton import FPS

MAX_ROWS = 8  # classes shown
MAX_NAME, MAX_TITLE = 28, 60  # characters
TICKS = (0, 0.05, 0.4, 1)  # of probabilities; the square-root axis gives low ones more room
MAX_BARS = 40  # detections shown for each class: the best ones
MAX_OVERLAP = 0.2  # if two detections overlap by more than this share of the shorter one, only the better is shown
LEGEND_ENTRIES = [
    Patch(facecolor="0.5", edgecolor="black", hatch="///", label="truth"),
    Patch(facecolor="0.8", edgecolor="black", label="detected"),
    Line2D([], [], color="0.65", linewidth=1.2, label="background"),
    Line2D([], [], color="0.3", linewidth=0.4, label="thresholds"),
]
LEGEND_STYLE = {"loc": "upper left", "bbox_to_anchor": (1, 1), "fontsize": 8, "frameon": False}


def time_line(
    name: str,
    labels: np.ndarray | None,
    detections: Detections,
    frame_probs: np.ndarray,
    classes: Sequence[str],
    thresholds: Sequence[float],
) -> Figure:
    """Draw true segments and detections of one clip, class by class, above the frame probabilities, in seconds.

    Args:
        labels: (T, K) bool, or None if the true segments are unknown.
        detections: of this clip only.
        frame_probs: (T, K+1), background last.
    """
    true = np.zeros((len(frame_probs), len(classes)), bool) if labels is None else labels
    shown, hidden = shown_classes(true, detections)
    names = [drawable(classes[label], MAX_NAME) for label in shown]
    panels = max(1, len(shown))  # without a class: one panel for background
    heights = [0.55 * panels, *(panels * [1.0])]
    figure = Figure(figsize=(10, 1 + sum(heights)), layout="constrained")
    bars, *curves = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    offset = 0.0 if labels is None else 0.2  # detections are drawn below the true segments
    for row, label in enumerate(shown):
        _draw_bars(bars, row, offset, true[:, label], detections.select(detections.label == label))
    bars.set_yticks(range(len(shown)), names, parse_math=False)
    bars.set(ylim=(panels - 0.5, -0.5), xlim=(0, max(1, len(true)) / FPS))
    rest = f" ({hidden} more classes not shown)" if hidden else ""
    bars.set_title(drawable(name, MAX_TITLE) + rest, loc="left", parse_math=False)
    bars.legend(handles=LEGEND_ENTRIES[1:] if labels is None else LEGEND_ENTRIES, **LEGEND_STYLE)
    seconds = (np.arange(len(frame_probs)) + 0.5) / FPS  # the middle of each frame
    line = {"linewidth": 1.2, "marker": "o" if len(seconds) == 1 else None}
    for axes in curves:
        axes.plot(seconds, frame_probs[:, -1], color="0.65", **line)
        for threshold in thresholds:
            axes.axhline(threshold, color="0.3", linewidth=0.4, zorder=1)
        axes.set_yscale("function", functions=(lambda p: np.sqrt(np.maximum(p, 0)), np.square))
        axes.set_ylim(0, 1.02)
        axes.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    for row, label in enumerate(shown):
        axes = curves[row]
        axes.plot(seconds, frame_probs[:, label], color=COLOURS[row % len(COLOURS)], **line)
        axes.text(1.01, 0.5, names[row], parse_math=False, transform=axes.transAxes, va="center", fontsize=8)
    curves[0].set_ylabel("frame probability\n(square-root axis)", y=1, ha="right")
    curves[-1].set_xlabel("seconds")
    for axes in (bars, *curves):
        plain_axes(axes, grid="x")
    return figure


def shown_classes(labels: np.ndarray, detections: Detections) -> tuple[list[int], int]:
    """The classes to show, and the number of further classes in labels (T, K) or detections."""
    best = np.full(labels.shape[1], -np.inf)
    np.maximum.at(best, detections.label, detections.scores)
    present = labels.any(axis=0)
    order = np.lexsort((-best, ~present))
    relevant = [int(label) for label in order if present[label] or best[label] > -np.inf]
    return relevant[:MAX_ROWS], len(relevant[MAX_ROWS:])


def _draw_bars(axes: Axes, row: int, offset: float, labels: np.ndarray, detections: Detections) -> None:
    """Draw a class's true segments in the upper part of its row, and its detections `offset` below the row's middle."""
    colour = COLOURS[row % len(COLOURS)]
    spans = [(start, end - start) for start, end in runs(labels) / FPS]
    axes.broken_barh(spans, (row - 0.38, 0.36), facecolor=colour, edgecolor="black", hatch="///", linewidth=0.8)
    best = detections.select(suppress(detections.segments, detections.scores, "shorter", MAX_OVERLAP)[:MAX_BARS])
    highest = max(float(best.scores.max(initial=0)), 1e-9)
    for (start, end), score in zip(best.segments / FPS, best.scores, strict=True):
        opacity = 0.15 + 0.75 * float(np.clip(score / highest, 0, 1))
        axes.barh(row + offset, end - start, 0.32, start, facecolor=(colour, opacity), edgecolor="black", linewidth=0.8)
        middle, label = (start + end) / 2, f"{score:.2f}"
        text = axes.text(middle, row + offset, label, ha="center", va="center", fontsize=7, clip_on=True)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8})
        text.set_visible(end - start > 0.045 * len(labels) / FPS)  # shorter bars have no room for it
