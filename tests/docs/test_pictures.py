"""The README's pictures: one command makes them from a run, the same each time, and replaces nothing unasked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from docs.pictures import main, make_pictures
from evaluation import detections
from evaluation.localization import Detections
from utils.errors import UserError
from utils.store import Split

NAMES = ["time_line.png", "animation.gif"]


@pytest.fixture()
def run(make_split: Callable[..., Split], tmp_path: Path) -> Path:
    """The files of a finished run that pictures need."""
    split = make_split(train=[5], val=[30, 9, 1200])
    folder = tmp_path / "run"
    folder.mkdir()
    data = {"root": str(split.folder.parent), "split": split.name, "max_frames": 1000}
    (folder / "results.json").write_text(json.dumps({"settings": {"data": data}}))
    found = Detections.of([0], [1], [[3, 9]], [0.5])
    detections.write(folder / "detections.json", found, split.clip_ids("val"), split.classes)
    Image.new("RGB", (20, 10)).save(folder / "time_line.png")
    return folder


def test_both_pictures_are_the_same_each_time(run: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        assert make_pictures(run, out) == [out / name for name in NAMES]
    for name in NAMES:
        first, second = ((out / name).read_bytes() for out in outs)
        assert first == second, name
    assert (outs[0] / "time_line.png").read_bytes() == (run / "time_line.png").read_bytes()
    with Image.open(outs[0] / "animation.gif") as animation:
        assert animation.n_frames == 10  # every third frame of the first clip


def test_a_picture_is_replaced_only_if_asked_for(run: Path, tmp_path: Path) -> None:
    (tmp_path / "animation.gif").write_bytes(b"before")
    with pytest.raises(UserError, match=r"animation\.gif: exists; .*--replace"):
        make_pictures(run, tmp_path)
    assert (tmp_path / "animation.gif").read_bytes() == b"before"
    assert not (tmp_path / "time_line.png").exists()
    make_pictures(run, tmp_path, replace=True)
    assert (tmp_path / "animation.gif").read_bytes().startswith(b"GIF8")


def test_a_folder_that_is_no_finished_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/results\.json: cannot be read .*; expected a finished run"):
        make_pictures(tmp_path / "nowhere", tmp_path)
    (run / "results.json").write_text('{"settings": []}')
    with pytest.raises(UserError, match=r"results\.json: cannot be read"):
        make_pictures(run, tmp_path)


def test_the_sketch_of_the_method_needs_no_other_file() -> None:
    sketch = (Path(__file__).parents[2] / "docs" / "framework.svg").read_text(encoding="utf-8")
    assert not re.search(r"<script|<image|https?://(?!www\.w3\.org/2000/svg)", sketch)


def test_the_command_writes_beside_the_run_unless_told_otherwise(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pictures", "--run", str(run)])
    main()
    assert sorted(path.name for path in (run / "pictures").iterdir()) == sorted(NAMES)
