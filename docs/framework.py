"""The sketch of the method that stands in the README, as a figure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from reporting.skeleton_view import SHARPNESS, Stage, colour_of
from reporting.time_lines import COLOURS, LINES
from utils.skeleton import BONES, HEAD

INK, FAINT = "#111111", "#555555"
ALWAYS, TRAINING = "#E3EEF6", "#FDF1DC"  # what runs always, and in training alone
EDGES = {ALWAYS: ("#0072B2", "-"), TRAINING: ("#B87A00", "--")}


class Box(NamedTuple):
    """A part of the method: its middle, its size, its name and what is in it."""

    x: float
    y: float
    width: float
    height: float
    name: str
    text: str = ""
    colour: str = ALWAYS

    def side(self, towards: str) -> tuple[float, float]:
        """The middle of its left, right, top or bottom edge."""
        across, up = {"left": (-1, 0), "right": (1, 0), "top": (0, 1), "bottom": (0, -1)}[towards]
        return self.x + across * self.width / 2, self.y + up * self.height / 2


MOTION = Box(1.25, 4.3, 2.1, 1.9, "AMASS motion")
NETWORK = Box(4.1, 4.3, 2.0, 1.9, "AGCN", "10 blocks: adaptive\ngraph over the joints,\nconvolution over time")
VIEWS = (
    Box(6.8, 4.85, 1.9, 0.8, "view 1", "cosine classifier"),
    Box(6.8, 3.75, 1.9, 0.8, "view 2", "cosine classifier", TRAINING),
)
CAS = Box(9.75, 4.3, 2.5, 1.9, "class activation sequence")
POOLING = Box(9.75, 6.3, 2.5, 0.9, "MIL pooling over time", "probability of each class\nin the clip")
LABELS = Box(4.1, 6.3, 2.4, 0.9, "BABEL: which actions", "of the clip; not when", TRAINING)
PSEUDO = Box(6.3, 2.05, 2.9, 1.0, "pseudo-labels", "mean of the last epochs,\nactions of the clip alone", TRAINING)
PROPOSALS = Box(9.9, 2.05, 2.2, 1.0, "proposals", "runs above thresholds,\nscored, suppressed")
FOUND = Box(9.9, 0.55, 2.2, 0.75, "what happens when", "class, start, end, score")
BOXES = (MOTION, NETWORK, *VIEWS, CAS, POOLING, LABELS, PSEUDO, PROPOSALS, FOUND)


def framework(joints: np.ndarray) -> Figure:
    """The method from motion to detections; a body of `joints` (T, 25, 3) stands for the motion."""
    figure = Figure(figsize=(11.2, 7), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 11.2), ylim=(0, 7), aspect="equal")
    axes.set_axis_off()
    for box in BOXES:
        _draw(axes, box)
    _bodies(axes, joints)
    _curves(axes)
    _arrows(axes)
    _key(axes)
    return figure


def _draw(axes: Axes, box: Box) -> None:
    edge, line = EDGES[box.colour]
    corner = (box.x - box.width / 2, box.y - box.height / 2)
    shape = FancyBboxPatch(
        corner, box.width, box.height, "round,pad=0,rounding_size=0.1", fc=box.colour, ec=edge, ls=line, lw=1.4
    )
    axes.add_patch(shape)
    lines = box.text.count("\n") + 1 if box.text else 0
    top = box.y + 0.11 * lines + 0.02 if box.text else box.y + box.height / 2 - 0.2
    axes.text(box.x, top, box.name, ha="center", va="center", fontsize=11, weight="bold", color=INK)
    axes.text(box.x, top - 0.15, box.text, ha="center", va="top", fontsize=9.5, color=INK, linespacing=1.25)


def _bodies(axes: Axes, joints: np.ndarray) -> None:
    """Four poses of the clip in the box of the motion."""
    shown = joints[np.linspace(0, len(joints) - 1, 6).astype(int)[1:5]]
    stage = Stage(shown, (150, 200))
    for place, pose in enumerate(shown):
        points = stage.place(pose) / SHARPNESS / 200 * [1, -1]  # the picture's height is 1
        points = points * 1.3 + [MOTION.x - 0.69 + 0.46 * place - 0.375 * 1.3, MOTION.y + 0.66]
        for child, parent in BONES:
            axes.plot(*points[[child, parent]].T, color=colour_of(child), lw=1.8, solid_capstyle="round")
        axes.add_patch(Circle(points[HEAD], 0.06, color=colour_of(HEAD)))
    axes.text(MOTION.x, MOTION.y - 0.78, "25 joints, 30 fps, through SMPL-H", ha="center", fontsize=7.5, color=INK)


def _curves(axes: Axes) -> None:
    """Invented probabilities of two classes in the box of the class activation sequence."""
    time = np.linspace(0, 1, 150)
    left, bottom = CAS.x - 1.05, CAS.y - 0.55
    peaks = (((0.25, 0.1, 0.9), (0.85, 0.05, 0.3)), ((0.62, 0.12, 0.8),))
    for row, parts in enumerate(peaks):
        height = sum(high * np.exp(-(np.abs((time - at) / wide) ** 4)) for at, wide, high in parts) + 0.03
        axes.plot(left + 2.1 * time, bottom + 1.05 * height, color=COLOURS[row], ls=LINES[row], lw=1.8)
    axes.plot([left, left + 2.1], [bottom + 0.12] * 2, color=FAINT, lw=0.8)
    axes.text(CAS.x, bottom - 0.2, "probability of each class, every frame", ha="center", fontsize=8, color=INK)


def _arrows(axes: Axes) -> None:
    upper, lower = VIEWS
    _arrow(axes, MOTION.side("right"), NETWORK.side("left"))
    for view in VIEWS:
        _arrow(axes, (NETWORK.side("right")[0], view.y), view.side("left"), view.colour)
    _arrow(axes, upper.side("right"), (CAS.side("left")[0], upper.y))
    _arrow(axes, CAS.side("top"), POOLING.side("bottom"))
    _arrow(axes, (PROPOSALS.x, CAS.side("bottom")[1]), PROPOSALS.side("top"))
    _arrow(axes, PROPOSALS.side("bottom"), FOUND.side("top"))
    _arrow(axes, LABELS.side("right"), POOLING.side("left"), TRAINING, "<|-|>", "loss: multiple-instance learning")
    _arrow(axes, upper.side("bottom"), lower.side("top"), TRAINING, "<|-|>")
    axes.text(upper.x + 0.12, 4.3, "loss: agree", ha="left", va="center", fontsize=9, color=FAINT)
    _arrow(axes, (8.62, CAS.side("bottom")[1]), PSEUDO.side("right"), TRAINING, bend=-0.35)
    _arrow(axes, PSEUDO.side("top"), (PSEUDO.x, lower.side("bottom")[1]), TRAINING)
    axes.text(
        PSEUDO.x - 0.12,
        2.97,
        "loss: each frame, both views,\nfrom epoch 11 on",
        ha="right",
        va="center",
        fontsize=9,
        color=FAINT,
    )


def _arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str = ALWAYS,
    style: str = "-|>",
    text: str = "",
    bend: float = 0,
) -> None:
    edge, line = EDGES[colour]
    arrow = FancyArrowPatch(
        start, end, arrowstyle=style, mutation_scale=14, color=edge, ls=line, lw=1.6, shrinkA=0, shrinkB=0,
        connectionstyle=f"arc3,rad={bend}",
    )  # fmt: skip
    axes.add_patch(arrow)
    middle = np.add(start, end) / 2
    axes.text(middle[0], middle[1] + 0.1, text, ha="center", va="bottom", fontsize=9, color=FAINT)


def _key(axes: Axes) -> None:
    for place, (colour, text) in enumerate(((ALWAYS, "always"), (TRAINING, "in training alone"))):
        _draw(axes, Box(0.45, 1.0 - 0.4 * place, 0.5, 0.26, "", "", colour))
        axes.text(0.85, 1.0 - 0.4 * place, text, va="center", fontsize=9.5, color=INK)
