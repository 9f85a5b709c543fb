"""What all figures share: colours, line styles, axes, and how a figure becomes a picture."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from utils.atomic import whole_file

# The palette of Okabe and Ito, which colour-blind readers can tell apart. Line styles and hatches serve grey prints.
BLUE, RED, GREEN, PINK, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = (BLUE, RED, GREEN, PINK, ORANGE, SKY)
LINES = ("-", "--", "-.", ":")


def new_figure(width: float, height: float, dpi: int = 100) -> Figure:
    """An empty figure of this size in inches."""
    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def plain_axes(axes: Axes, grid: str = "both") -> None:
    """Remove the frame at the top and right, and draw a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="0.9")
    axes.set_axisbelow(True)


def as_image(figure: Figure) -> np.ndarray:
    """A figure as a picture (H, W, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def write_png(figure: Figure, file: BinaryIO) -> None:
    """Write a figure as PNG; the same figure gives the same bytes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the font lacks some scripts; their letters become boxes
        figure.savefig(file, format="png", metadata={"Software": None})


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    with whole_file(path) as file:
        write_png(figure, file)
