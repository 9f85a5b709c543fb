"""The command shows clips of a split: a page with the player, or one clip as an animation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import call
from PIL import Image

from evaluation import detections
from evaluation.localization import Detections
from reporting.show import main
from tests.reporting.test_player import player_of
from utils.errors import UserError
from utils.store import Split, write_store


@pytest.fixture()
def split(make_split: Callable[..., Split]) -> Split:
    return make_split(train=[5], val=[30, 9])


@pytest.fixture()
def show(split: Split, tmp_path: Path) -> Callable[..., Path]:
    """Runs the command with a file of detections beside the data. Returns what it wrote."""
    found = Detections.of([1, 2], [1, 0], [[3, 9], [0, 5]], [0.5, 0.4])
    detections.write(tmp_path / "detections.json", found, split.clip_ids(), split.classes)

    def run(name: str, *arguments: str) -> Path:
        out = tmp_path / "new" / name
        call(main, "show", "--data", tmp_path, "--split", "tiny", "--out", out, *arguments)
        return out

    return run


def test_a_page_shows_clips_of_a_split_and_detections(show: Callable[..., Path], tmp_path: Path) -> None:
    data = player_of(show("a.html", "--clip", "train0").read_text(encoding="utf-8"))
    assert [(clip["name"], clip["note"], clip["found"]) for clip in data["clips"]] == [("train0", "A/B/train0.npz", [])]
    data = player_of(show("a.html", "--detections", str(tmp_path / "detections.json")).read_text(encoding="utf-8"))
    assert [clip["name"] for clip in data["clips"]] == ["val0", "val1"]
    assert [clip["found"][0][0][:4] for clip in data["clips"]] == [[1, 3, 9, 0.5], [0, 0, 5, 0.4]]


def test_one_clip_becomes_an_animation(
    show: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = show("clip.gif", "--clip", "val1", "--detections", str(tmp_path / "detections.json"))
    with Image.open(out) as image:
        assert image.n_frames == 5  # every second frame
    assert capsys.readouterr().out == f"written: {out}\n"


@pytest.mark.parametrize("clips", [[], ["--clip", "val0", "val1"]])
def test_several_clips_are_no_animation(
    show: Callable[..., Path], clips: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        show("clip.gif", *clips)
    assert "an animation shows one clip; name it by --clip" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.html", "a.gif"])
def test_an_unknown_clip_is_refused(show: Callable[..., Path], name: str) -> None:
    with pytest.raises(UserError, match=r"tiny: has no clip 'vall0'; did you mean 'val0'"):
        show(name, "--clip", "vall0")


def test_a_clip_with_joints_that_are_not_finite_is_refused(split: Split, show: Callable[..., Path]) -> None:
    clips = list(split.store.clips.values())
    write_store(split.store.folder, clips, [np.full((clip.frames, 25, 3), np.nan) for clip in clips], {})
    with pytest.raises(UserError, match=r"clip\.gif: this clip has joints that are not finite"):
        show("clip.gif", "--clip", "val0")
