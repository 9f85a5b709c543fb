"""The README's pictures: one command records the player of a page."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.pictures import main, record_player
from evaluation.localization import Detections
from reporting.player import PlayedClip, pack, player_data, write_player
from tests.reporting.test_player import moving
from utils.errors import UserError


@pytest.mark.parametrize(("clip", "pictures"), [("b", 3), ("", 10)], ids=["named", "first"])
def test_the_player_is_recorded_in_a_browser_from_the_first_frame_to_the_last(
    clip: str, pictures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Detections.of([0], [1], [[3, 9]], [0.5])
    clips = [PlayedClip(name, moving(n), np.ones((n, 2), bool), (found,)) for name, n in (("a", 30), ("b", 9))]
    data = player_data([pack(some, ["walk", "wave"]) for some in clips], ["walk", "wave"], ["found"])
    write_player(tmp_path / "page.html", "a run", "", data)
    given = [str(tmp_path / "page.html"), str(tmp_path / "player.gif"), "--clip", clip]
    monkeypatch.setattr("sys.argv", ["pictures", *given])
    try:
        main()
    except UserError as error:
        pytest.skip(str(error))
    with Image.open(tmp_path / "player.gif") as recorded:
        assert (recorded.n_frames, recorded.info["duration"]) == (pictures, 100)
        first, last = [np.asarray(recorded.convert("RGB")) for frame in (0, 2) if recorded.seek(frame) is None]
    assert (first != last).any(axis=2).sum() > 500  # body and cursor move


def test_a_page_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.html: does not exist; expected a page with the player"):
        record_player(tmp_path / "nowhere.html", tmp_path / "player.gif", "")


def test_the_sketch_of_the_method_needs_no_other_file() -> None:
    sketch = (Path(__file__).parents[2] / "docs" / "framework.svg").read_text(encoding="utf-8")
    assert not re.search(r"<script|<image|https?://(?!www\.w3\.org/2000/svg)", sketch)
