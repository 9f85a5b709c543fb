"""Pictures of one clip: what is true, what was found, and the probabilities that led there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from utils.localization import Detections
from utils.segments import runs
from utils.skeleton import FPS

# Okabe and Ito's colours, which colour-blind readers can tell apart; line styles tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
MAX_ROWS = 8  # classes shown
MAX_BARS = 40  # detections shown for each class, the best ones


def time_line(
    name: str,
    labels: np.ndarray,
    detections: Detections,
    frame_probs: np.ndarray,
    classes: Sequence[str],
    thresholds: Sequence[float],
    fps: float = FPS,
) -> Figure:
    """Truth and detections of one clip, class by class, above its class activation curves, in seconds.

    Only classes that occur or are detected are shown: those that occur first, then those with the best scores,
    at most MAX_ROWS. The number on a detection is its score; the fainter, the lower.

    Args:
        labels: (T, K) bool.
        detections: of this clip alone.
        frame_probs: (T, K+1), background last.
        thresholds: on the curves, of the proposals.
    """
    shown, hidden = _chosen(labels, detections)
    rows = max(1, len(shown))
    figure = Figure(figsize=(10, 3.6 + 0.55 * rows), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    bars, curves = figure.subplots(2, 1, sharex=True, height_ratios=[0.55 * rows, 2.6])
    for row, label in enumerate(shown):
        _bars(bars, row, labels[:, label], detections.of_class(label), _colour(row), fps)
    bars.set_yticks(range(len(shown)), [classes[label] for label in shown], parse_math=False)
    bars.set_ylim(rows - 0.5, -0.5)
    bars.set_title(f"{name}{f' ({hidden} more classes not shown)' if hidden else ''}", loc="left", parse_math=False)
    keys = [Patch(facecolor="0.5", edgecolor="black", hatch="///"), Patch(facecolor="0.8", edgecolor="black")]
    bars.legend(keys, ["truth", "detected"], loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    _curves(curves, frame_probs, [(label, classes[label]) for label in shown], thresholds, fps)
    curves.set_xlim(0, max(1, len(labels)) / fps)
    for axes in (bars, curves):
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


def _bars(axes: Axes, row: int, labels: np.ndarray, detections: Detections, colour: str, fps: float) -> None:
    """Truth in the upper lane of a class's row, detections in the lower one."""
    spans = [(start, end - start) for start, end in runs(labels) / fps]
    axes.broken_barh(spans, (row - 0.38, 0.36), facecolor=colour, edgecolor="black", hatch="///", linewidth=0.8)
    best = detections.where(np.argsort(-detections.scores, kind="stable")[:MAX_BARS])
    ceiling = max(float(best.scores.max(initial=0)), 1e-9)
    for (start, end), score in zip(best.segments / fps, best.scores, strict=True):
        strength = 0.15 + 0.75 * float(np.clip(score / ceiling, 0, 1))
        axes.barh(row + 0.2, end - start, 0.32, start, facecolor=(colour, strength), edgecolor="black", linewidth=0.8)
        label = f"{score:.2f}"
        text = axes.text((start + end) / 2, row + 0.2, label, ha="center", va="center", fontsize=7, clip_on=True)
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8})
        text.set_visible(end - start > 0.045 * len(labels) / fps)  # no room in shorter ones


def _curves(
    axes: Axes, frame_probs: np.ndarray, shown: list[tuple[int, str]], thresholds: Sequence[float], fps: float
) -> None:
    """Probability by time of the shown classes and background, with the thresholds as a band."""
    seconds = (np.arange(len(frame_probs)) + 0.5) / fps  # the middle of each frame
    marker = "o" if len(frame_probs) == 1 else None
    axes.plot(seconds, frame_probs[:, -1], color="0.6", linewidth=1, marker=marker, label="background")
    for row, (label, name) in enumerate(shown):
        style = LINES[row % len(LINES)] if row < len(LINES) else LINES[(row + 1) % len(LINES)]
        axes.plot(
            seconds,
            frame_probs[:, label],
            color=_colour(row),
            linestyle=style,
            linewidth=1.6,
            marker=marker,
            label=name,
        )
    low, high = min(thresholds), max(thresholds)
    axes.axhspan(low, high, color="0.75", zorder=0)
    for threshold in thresholds:
        axes.axhline(threshold, color="0.3", linewidth=0.4, zorder=1)
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    axes.plot([], [], color="0.5", linewidth=4, label=f"thresholds\n{span}")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("seconds")
    axes.set_ylabel("frame probability")
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a class name is no formula, whatever is in it


def _colour(row: int) -> str:
    return COLOURS[row % len(COLOURS)]
