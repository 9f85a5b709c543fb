"""The two diagrams of a data set card."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from utils.text import printable

STYLES = ({"facecolor": "#0072B2"}, {"facecolor": "#E69F00", "hatch": "///"})  # of train and val, in colour and in grey
MOST_BARS = 40
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # seconds


def class_minutes(classes: Sequence[str], minutes: dict[str, np.ndarray]) -> Figure:
    """Minutes of each class in each subset, the longest first, at most MOST_BARS classes."""
    order = np.argsort(-sum(minutes.values()), kind="stable")
    shown = order[:MOST_BARS]
    figure = Figure(figsize=(9, 1.1 + 0.36 * len(shown)), dpi=130, layout="constrained")
    axes = figure.subplots()
    for place, (subset, values) in enumerate(minutes.items()):
        rows = np.arange(len(shown)) + 0.4 * place - 0.2
        axes.barh(rows, values[shown], 0.38, label=subset, edgecolor="black", linewidth=0.5, **STYLES[place])
    axes.set_yticks(range(len(shown)), [printable(classes[label], 28) for label in shown], parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    rest = f"; {len(order) - len(shown)} rarer classes not shown" if len(order) > len(shown) else ""
    axes.set_xlabel(f"minutes{rest}")
    _finish(axes, "x")
    axes.legend(frameon=False, loc="lower right")
    return figure


def clip_lengths(seconds: dict[str, np.ndarray], limit: float) -> Figure:
    """How many clips have which length, on a logarithmic axis, with the benchmark's limit in seconds."""
    everything = np.concatenate([*seconds.values(), [limit]])
    edges = np.geomspace(everything.min() * 0.95, everything.max() * 1.05, 30)
    figure = Figure(figsize=(9, 3), dpi=130, layout="constrained")
    axes = figure.subplots()
    for place, (subset, values) in enumerate(seconds.items()):
        axes.hist(
            values, edges, label=subset, edgecolor="black", linewidth=0.5, alpha=0.85, zorder=2 + place, **STYLES[place]
        )
    axes.axvline(limit, color="black", linestyle="--", linewidth=1, zorder=5, label=f"limit, {limit:.1f} s")
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([tick for tick in TICKS if edges[0] <= tick <= edges[-1]])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("seconds")
    axes.set_ylabel("clips")
    _finish(axes, "y")
    axes.legend(frameon=False)
    return figure


def _finish(axes: Axes, direction: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=direction, color="0.9")
    axes.set_axisbelow(True)
