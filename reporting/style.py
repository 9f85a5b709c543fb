"""What all figures share: fonts, colours, line styles, axes, and how a figure becomes a picture."""

import io
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font

from utils.errors import printable

# The palette of Okabe and Ito, which colour-blind readers can tell apart. Line styles and hatches serve grey prints.
BLUE, RED, GREEN, PINK, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = (BLUE, RED, GREEN, PINK, ORANGE, SKY)
LINE_STYLES = ("-", "--", "-.", ":")

# Fonts for writing systems that matplotlib's own font lacks. Those that the system has are used.
OTHER_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "Malgun Gothic", "PingFang SC", "Hiragino Sans GB",
    "Arial Unicode MS", "Unifont", "Noto Sans Devanagari", "Noto Sans Thai", "Nirmala UI", "Leelawadee UI",
)  # fmt: skip
FONTS = ["DejaVu Sans", *(name for name in OTHER_FONTS if name in fontManager.get_font_names())]
matplotlib.rcdefaults()  # whatever the user's matplotlibrc says
matplotlib.rcParams["font.family"] = FONTS


def drawable(text: str, most: int = 500) -> str:
    """`text` on one line of at most `most` characters. A letter that no font has becomes an escape (\\u8dd1)."""
    return printable("".join(map(_letter, text[: 10 * most])), most)


def font_of(text: str) -> Path:
    """The file of the first font that has all letters of a text. If none has, that of matplotlib's own font."""
    files = [findfont(name) for name in FONTS]
    complete = (file for file in files if all(get_font(file).get_char_index(ord(letter)) for letter in text))
    return Path(next(complete, files[0]))


@cache
def _letter(letter: str) -> str:
    has_font = get_font(font_of(letter)).get_char_index(ord(letter))
    return letter if has_font or not letter.isprintable() else letter.encode("unicode_escape").decode()


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


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file; the same figure gives the same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
