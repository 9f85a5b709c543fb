"""Text in pictures: every letter is drawn by a font that has it, or stands there as an escape. Size of pictures."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from runs import ROOT

from evaluation.localization import Detections
from reporting import style
from reporting.time_lines import time_line


@pytest.fixture()
def one_font(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine whose only font is matplotlib's own."""
    monkeypatch.setattr(style, "FONTS", ["DejaVu Sans"])
    style._letter.cache_clear()


@pytest.mark.usefixtures("one_font")
def test_letters_without_a_font_are_escaped_and_names_stay_different() -> None:
    assert style.drawable("walk ẃ عرب 跑步") == r"walk ẃ عرب \u8dd1\u6b65"
    assert style.drawable("走") == r"\u8d70"
    assert style.drawable("走" * 40, 28) == r"\u8d70" * 4 + r"\u8…"
    assert style.drawable("a\nb\x07\ud800") == "a b\ufffd\ufffd"


@pytest.mark.usefixtures("one_font")
def test_a_figure_with_names_in_another_script_is_drawn_without_a_warning() -> None:
    found = Detections.of([0], [1], [[3, 20]], [0.5])
    figure = time_line("跑", np.ones((30, 2), bool), found, np.full((30, 3), 0.3), ["走", "跑步"], [0.05])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert style.as_image(figure).shape[2] == 3


def test_the_first_font_with_all_letters_of_a_text_draws_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FONTS", ["cmr10", "DejaVu Sans"])
    assert style.font_of("walk").name == "cmr10.ttf"
    assert style.font_of("ẃalk").name == "DejaVuSans.ttf"
    assert style.font_of("跑").name == "cmr10.ttf"


def test_pictures_have_the_same_size_whatever_the_users_matplotlibrc_says(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 300\nsavefig.dpi: 250\nfont.size: 20\n")
    code = "from reporting.style import png; from matplotlib.figure import Figure; figure = Figure(); "
    code += "print(figure.dpi, figure.text(0, 0, '').get_fontsize(), png(figure)[16:24].hex())"
    environment = {**os.environ, "MATPLOTLIBRC": str(tmp_path)}
    line = [sys.executable, "-c", code]
    printed = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["100.0", "10.0", f"{640:08x}{480:08x}"]
