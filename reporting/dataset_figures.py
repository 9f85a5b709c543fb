"""Figures of a dataset: minutes of each class, and lengths of the clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from reporting.style import BLUE, ORANGE, new_figure, plain_axes
from utils.text import printable

BAR = {"edgecolor": "black", "linewidth": 0.5}
STYLES = {"train": {"facecolor": BLUE, **BAR}, "val": {"facecolor": ORANGE, "hatch": "///", **BAR}}
MOST_CLASSES = 40
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # seconds


def class_minutes(classes: Sequence[str], minutes: dict[str, np.ndarray]) -> Figure:
    """Minutes of each class in each subset, the most frequent classes first, at most MOST_CLASSES."""
    order = np.argsort(-sum(minutes.values()), kind="stable")
    shown = order[:MOST_CLASSES]
    figure = new_figure(9, 1.1 + 0.36 * len(shown), dpi=130)
    axes = figure.subplots()
    for place, (subset, values) in enumerate(minutes.items()):
        axes.barh(np.arange(len(shown)) + 0.4 * place - 0.2, values[shown], 0.38, label=subset, **STYLES[subset])
    axes.set_yticks(range(len(shown)), [printable(classes[label], 28) for label in shown], parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    rest = f"; {len(order) - len(shown)} rarer classes not shown" if len(order) > len(shown) else ""
    axes.set_xlabel(f"minutes{rest}")
    plain_axes(axes, grid="x")
    axes.legend(frameon=False, loc="lower right")
    return figure


def clip_lengths(seconds: dict[str, np.ndarray], limit: float) -> Figure:
    """Histogram of the clips' lengths on a logarithmic axis, with the benchmark's limit in seconds."""
    everything = np.concatenate([*seconds.values(), [limit]])
    edges = np.geomspace(everything.min() * 0.95, everything.max() * 1.05, 30)
    figure = new_figure(9, 3, dpi=130)
    axes = figure.subplots()
    for place, (subset, values) in enumerate(seconds.items()):
        axes.hist(values, edges, label=subset, alpha=0.85, zorder=2 + place, **STYLES[subset])
    axes.axvline(limit, color="black", linestyle="--", linewidth=1, zorder=5, label=f"limit, {limit:.1f} s")
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([tick for tick in TICKS if edges[0] <= tick <= edges[-1]])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("seconds")
    axes.set_ylabel("clips")
    plain_axes(axes, grid="y")
    axes.legend(frameon=False)
    return figure
