"""The README's pictures: made by one command from a run, the same each time, and small."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from docs.pictures import FOLDER, make_pictures
from evaluation import detections
from evaluation.localization import Detections
from utils.errors import UserError
from utils.store import Split

NAMES = ["framework.svg", "time_line.png", "animation.gif"]


@pytest.fixture()
def run(make_split: Callable[..., Split], tmp_path: Path) -> Path:
    """What a finished run leaves that pictures need."""
    split = make_split(train=[5], val=[30, 9, 1200])
    folder = tmp_path / "run"
    folder.mkdir()
    data = {"root": str(split.folder.parent), "split": split.name, "max_frames": 1000}
    (folder / "results.json").write_text(json.dumps({"settings": {"data": data}}))
    found = Detections.of([0], [1], [[3, 9]], [0.5])
    detections.write(folder / "detections.json", found, split.clip_ids("val"), split.classes)
    Image.new("RGB", (20, 10)).save(folder / "time_line.png")
    return folder


def test_one_command_makes_all_of_them_the_same_each_time(run: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        out.mkdir()
        assert make_pictures(run, out) == [out / name for name in NAMES]
    for name in NAMES:
        first, second = ((out / name).read_bytes() for out in outs)
        assert first == second, name
    assert (outs[0] / "time_line.png").read_bytes() == (run / "time_line.png").read_bytes()
    with Image.open(outs[0] / "animation.gif") as animation:
        assert animation.n_frames == 10  # every third frame of the first clip


def test_the_sketch_needs_nothing_beside_itself(run: Path, tmp_path: Path) -> None:
    sketch = make_pictures(run, tmp_path)[0].read_text(encoding="utf-8")
    assert not re.search(r"<script|<image|(?:href|src)=\"(?!#)", sketch)
    assert "<text" not in sketch  # letters are drawn, whatever fonts there are
    assert "<dc:date>" not in sketch


def test_without_a_run_they_are_not_made(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/results\.json: cannot be read .*; expected a finished run"):
        make_pictures(tmp_path / "nowhere", tmp_path)
    (run / "results.json").write_text('{"settings": []}')
    with pytest.raises(UserError, match=r"results\.json: cannot be read"):
        make_pictures(run, tmp_path)


def test_the_repository_stays_small() -> None:
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir() if path.suffix in {".png", ".gif", ".svg"}}
    assert set(NAMES) <= set(sizes)
    assert sizes["animation.gif"] < 1.5e6
    assert sum(sizes.values()) < 2.5e6
