"""The README's pictures: one command makes them from a run, the same each time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs import pictures
from docs.pictures import main, make_pictures
from evaluation import detections
from evaluation.localization import Detections
from reporting.player import PlayedClip, pack, player_data, write_player
from tests.reporting.test_player import moving
from utils.errors import UserError
from utils.store import Split

NAMES = ["player.gif", "animation.gif"]


@pytest.fixture()
def run(make_split: Callable[..., Split], tmp_path: Path) -> Path:
    """The files of a finished run that pictures need."""
    split = make_split(train=[5], val=[30, 9, 1200])
    folder = tmp_path / "run"
    folder.mkdir()
    data = {"root": str(split.folder.parent), "split": split.name, "max_frames": 1000}
    results = {"settings": {"data": data, "eval": {"tious": [0.5]}}, "split": split.name, "store": split.store.digest}
    (folder / "results.json").write_text(json.dumps(results))
    found = Detections.of([0], [1], [[3, 9]], [0.5])
    detections.write(folder / "detections.json", found, split.clip_ids("val"), split.classes)
    clip = PlayedClip("val1", moving(9), split.labels("val1"), (found,))
    write_player(
        folder / "report.html", "a run", "", player_data([pack(clip, split.classes)], split.classes, ["found"])
    )
    return folder


@pytest.fixture()
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "record_player", lambda path, *_: path.write_bytes(b"GIF89a, the player"))


@pytest.mark.usefixtures("no_browser")
def test_both_pictures_are_the_same_each_time(run: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        assert make_pictures(run, out) == [out / name for name in NAMES]
    for name in NAMES:
        first, second = ((out / name).read_bytes() for out in outs)
        assert first == second, name
    with Image.open(outs[0] / "animation.gif") as animation:
        assert animation.n_frames == 15  # every second frame of the first clip


def test_the_player_is_recorded_in_a_browser_from_the_first_frame_to_the_last(run: Path, tmp_path: Path) -> None:
    try:
        pictures.record_player(tmp_path / "player.gif", run / "report.html", "val1")
    except UserError as error:
        pytest.skip(str(error))
    with Image.open(tmp_path / "player.gif") as recorded:
        assert (recorded.n_frames, recorded.info["duration"]) == (3, 100)
        first, last = [np.asarray(recorded.convert("RGB")) for frame in (0, 2) if recorded.seek(frame) is None]
    assert (first != last).any(axis=2).sum() > 500  # body and cursor move


def test_a_folder_that_is_no_finished_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"nowhere/results\.json: cannot be read .*; expected the folder of a finished run"
    ):
        make_pictures(tmp_path / "nowhere", tmp_path)
    (run / "results.json").write_text('{"settings": []}')
    with pytest.raises(UserError, match=r"results\.json: cannot be read"):
        make_pictures(run, tmp_path)


def test_the_sketch_of_the_method_needs_no_other_file() -> None:
    sketch = (Path(__file__).parents[2] / "docs" / "framework.svg").read_text(encoding="utf-8")
    assert not re.search(r"<script|<image|https?://(?!www\.w3\.org/2000/svg)", sketch)


@pytest.mark.usefixtures("no_browser")
def test_the_command_writes_beside_the_run_unless_told_otherwise(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pictures", "--run", str(run)])
    main()
    assert sorted(path.name for path in (run / "pictures").iterdir()) == sorted(NAMES)
