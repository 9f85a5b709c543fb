"""Pictures of one clip: what is true, what was found, and the probabilities that led there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from evaluation.localization import Detections
from evaluation.segments import runs
from utils.skeleton import FPS
from utils.text import printable

# Okabe and Ito's colours, which colour-blind readers can tell apart; line styles tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":")
MAX_BAND = 0.2  # thresholds that are further apart are lines alone; a band would hide the curves
MAX_ROWS = 8  # classes shown
MAX_NAME, MAX_TITLE = 28, 60  # characters
TICKS = (0, 0.05, 0.2, 0.4, 0.6, 0.8, 1)  # of the curves, whose axis is stretched where the thresholds are
FEW_TICKS = (0, 0.05, 0.4, 1)
MAX_CURVES = 4  # in one panel
LONG = 2000  # frames from which on curves are drawn finer
MAX_BARS = 40  # detections shown for each class, the best ones


def time_line(
    name: str,
    labels: np.ndarray | None,
    detections: Detections,
    frame_probs: np.ndarray,
    classes: Sequence[str],
    thresholds: Sequence[float],
    fps: float = FPS,
) -> Figure:
    """Truth and detections of one clip, class by class, above its class activation curves, in seconds.

    Only classes that occur or are detected are shown: those that occur first, then those with the best scores,
    at most MAX_ROWS. The number on a detection is its score; the fainter, the lower. Where the curves of many
    classes or of a long clip would hide each other, each has a panel of its own.

    Args:
        labels: (T, K) bool, or None where the truth is unknown.
        detections: of this clip alone.
        frame_probs: (T, K+1), background last.
        thresholds: on the curves, of the proposals.
    """
    truth = Patch(facecolor="0.5", edgecolor="black", hatch="///", label="truth")
    keys = [truth, Patch(facecolor="0.8", edgecolor="black", label="detected")]
    lane = 0.2  # below the truth
    if labels is None:
        labels, lane, keys = np.zeros((len(frame_probs), len(classes)), bool), 0.0, keys[1:]
    shown, hidden = _chosen(labels, detections)
    rows = max(1, len(shown))
    named = [(row, label, printable(classes[label], MAX_NAME)) for row, label in enumerate(shown)]
    crowded = len(shown) > 1 and (len(shown) > MAX_CURVES or len(labels) >= LONG)
    panels = [[part] for part in named] if crowded else [named]
    heights = [0.55 * rows, *(len(panels) * [0.8] if crowded else [2.6])]
    figure = Figure(figsize=(10, 1 + sum(heights)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    bars, *curves = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    for row, label in enumerate(shown):
        _bars(bars, row, lane, labels[:, label], detections.of_class(label), _colour(row), fps)
    bars.set_yticks(range(len(shown)), [text for _, _, text in named], parse_math=False)
    bars.set_ylim(rows - 0.5, -0.5)
    rest = f" ({hidden} more classes not shown)" if hidden else ""
    bars.set_title(printable(name, MAX_TITLE) + rest, loc="left", parse_math=False)
    bars.legend(handles=keys, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    for axes, panel in zip(curves, panels, strict=True):
        _curves(axes, frame_probs, panel, thresholds, fps)
        _explain(axes, axes is curves[0], crowded)
    curves[0].set_ylabel(
        "frame probability\n(square-root axis)", y=1 if crowded else 0.5, ha="right" if crowded else "center"
    )
    curves[-1].set_xlabel("seconds")
    bars.set_xlim(0, max(1, len(labels)) / fps)
    for axes in (bars, *curves):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
    return figure


def as_image(figure: Figure) -> np.ndarray:
    """A figure as a picture (H, W, 3) uint8."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def _chosen(labels: np.ndarray, detections: Detections) -> tuple[list[int], int]:
    """The classes to show, and how many are left out."""
    best = np.full(labels.shape[1], -np.inf)
    np.maximum.at(best, detections.label, detections.scores)
    present = labels.any(axis=0)
    order = np.lexsort((-best, ~present))
    relevant = [int(label) for label in order if present[label] or best[label] > -np.inf]
    return relevant[:MAX_ROWS], len(relevant[MAX_ROWS:])


def _bars(
    axes: Axes, row: int, lane: float, labels: np.ndarray, detections: Detections, colour: str, fps: float
) -> None:
    """Truth in the upper part of a class's row, detections about `lane` below its middle."""
    spans = [(start, end - start) for start, end in runs(labels) / fps]
    axes.broken_barh(spans, (row - 0.38, 0.36), facecolor=colour, edgecolor="black", hatch="///", linewidth=0.8)
    best = detections.where(np.argsort(-detections.scores, kind="stable")[:MAX_BARS])
    ceiling = max(float(best.scores.max(initial=0)), 1e-9)
    for (start, end), score in zip(best.segments / fps, best.scores, strict=True):
        strength = 0.15 + 0.75 * float(np.clip(score / ceiling, 0, 1))
        axes.barh(row + lane, end - start, 0.32, start, facecolor=(colour, strength), edgecolor="black", linewidth=0.8)
        label = f"{score:.2f}"
        text = axes.text((start + end) / 2, row + lane, label, ha="center", va="center", fontsize=7, clip_on=True)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8})
        text.set_visible(end - start > 0.045 * len(labels) / fps)  # no room in shorter ones


def _curves(
    axes: Axes,
    frame_probs: np.ndarray,
    shown: list[tuple[int, int, str]],
    thresholds: Sequence[float],
    fps: float,
) -> None:
    """Probability by time of the shown classes (row, label, name) and background, with the thresholds as a band."""
    seconds = (np.arange(len(frame_probs)) + 0.5) / fps  # the middle of each frame
    marker = "o" if len(frame_probs) == 1 else None
    axes.plot(seconds, frame_probs[:, -1], color="0.65", linewidth=1, marker=marker, label="background")
    for row, label, name in shown:
        style = LINES[row % len(LINES)] if len(shown) > 1 else "-"
        width = 1.6 if len(frame_probs) < LONG else 0.8
        axes.plot(
            seconds, frame_probs[:, label], color=_colour(row), ls=style, linewidth=width, marker=marker, label=name
        )
    low, high = min(thresholds), max(thresholds)
    if high - low <= MAX_BAND:
        axes.axhspan(low, high, color="0.75", zorder=0)
    for threshold in thresholds:
        axes.axhline(threshold, color="0.3", linewidth=0.4, zorder=1)
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    axes.plot([], [], color="0.5", linewidth=4, label=f"thresholds\n{span}")
    axes.set_yscale("function", functions=(lambda p: np.sqrt(np.maximum(p, 0)), np.square))
    axes.set_ylim(0, 1.02)


def _explain(axes: Axes, first: bool, crowded: bool) -> None:
    """Ticks and legend of the curves; of several panels the first explains what they share."""
    ticks = FEW_TICKS if crowded else TICKS
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    lines = [line for line in axes.lines if not str(line.get_label()).startswith("_")]  # the others have no label
    shared = (lines[0], lines[-1])  # background and thresholds
    told = [line for line in lines if first or line not in shared]
    legend = axes.legend(
        told, [line.get_label() for line in told], loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a class name is no formula, whatever is in it


def _colour(row: int) -> str:
    return COLOURS[row % len(COLOURS)]
