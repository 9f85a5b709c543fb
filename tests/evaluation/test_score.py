"""The command that scores a detections file."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import exit_status

from evaluation import detections
from evaluation.localization import Detections, ground_truth
from evaluation.score import main, score
from feeders.label_policy import used_labels
from utils import config
from utils.errors import UserError
from utils.store import Split

TIOUS = [0.1, 0.5, 0.9]
DATA = config.load().data


@pytest.fixture()
def split(make_split: Callable[..., Split]) -> Split:
    return make_split(train=[20], val=[40, 25, 60])


def perfect(split: Split) -> tuple[Detections, list[str]]:
    names = split.clip_ids("val")
    return ground_truth([used_labels(split.labels(sid), split.annotated(sid), DATA) for sid in names]), names


def written(split: Split, found: Detections, names: list[str]) -> Path:
    path = split.folder.parent / "detections.json"
    detections.write(path, found, names, split.classes)
    return path


def command(split: Split, path: Path, *more: Any) -> int | None:
    """The command's exit status."""
    return exit_status(main, "score", path, "--data", split.folder.parent, "--split", split.name, *more)


def test_a_perfect_file_scores_100_and_its_figures_are_stored(split: Split, capsys: pytest.CaptureFixture[str]) -> None:
    out = split.folder.parent / "scores"
    path = written(split, *perfect(split))
    assert not command(split, path, "--tious", "0.9", "0.1", "0.1", "--out", out)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-10:-3] == ["0.1", "0.9", "Avg", "cls", "mAP", "frame", "acc"]
    assert lines[1].split() == ["detections,", "corrected", "evaluation", "100.00", "100.00", "100.00", *["-"] * 5]
    figures = json.loads((out / "scores.json").read_text())
    assert figures["corrected"]["mAP_at_tIoU"] == {"0.1": 100, "0.9": 100}
    assert figures["released"]["mAP_at_tIoU"]["0.9"] < 100
    assert json.loads((out / "diagnosis.json").read_text())["mAP"] == 100
    assert (out / "diagnosis.png").stat().st_size > 1000
    about = {"detections": str(path), "split": "tiny", "max_frames": 1000}
    assert {key: figures[key] for key in about} == about


def test_an_unknown_clip_gives_one_message(split: Split, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "theirs.json"
    path.write_text('{"results": {"val9": []}}')
    assert command(split, path, "--out", tmp_path / "scores") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}: clip 'val9' is unknown; did you mean 'val")
    assert said.count("\n") == 1  # no traceback
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], r"nowhere\.json: cannot be read"),
        (["--split", "tidy"], r"holds no split 'tidy' \(did you mean 'tiny'\?\)"),
        (["--tious", "1.5"], r"--tious: found \[1\.5\], expected numbers above 0 and at most 1"),
        (["--tious", "half"], "--tious: invalid float value: 'half'"),
        (["--max-frames", "0"], "--max-frames: 0: expected 1 or more"),
        (["--out", __file__], "--out: .*: expected a folder, this is a file"),
    ],
)
def test_a_bad_argument_is_named(split: Split, capsys: pytest.CaptureFixture, more: list[str], said: str) -> None:
    assert command(split, Path("nowhere.json"), *more) == 2
    assert re.search(said, capsys.readouterr().err)


def test_an_unknown_class_gives_one_message(split: Split, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "theirs.json"
    path.write_text('{"results": {"val0": [{"label": "wavy", "score": 1, "segment": [0, 1]}]}}')
    assert command(split, path) == 2
    said = f"error: {path}: clip 'val0', detection 0 has the unknown label 'wavy'; did you mean 'wave'?\n"
    assert capsys.readouterr().err == said


def test_detections_in_clips_that_are_left_out_are_dropped_and_counted(
    split: Split, capsys: pytest.CaptureFixture
) -> None:
    found, names = perfect(split)
    path = written(split, found, names)
    corrected, released = score(path, split, 40, TIOUS)  # val2 has 60 frames
    dropped = (found.clip == 2).sum()
    assert f"{dropped} of {len(found)} detections are in clips that are not scored" in capsys.readouterr().out
    assert corrected.average_map == 100
    assert corrected.names == released.names == ["val0", "val1"]
    score(path, split, 60, TIOUS)
    assert capsys.readouterr().out == ""


def test_detections_in_training_clips_are_dropped_and_late_ones_are_told(
    make_split: Callable[..., Split], capsys: pytest.CaptureFixture
) -> None:
    split = make_split(train=[30], val=[30, 60])
    late = Detections.of([0, 1, 2], 0, [[0, 9], [30, 99], [20, 40]], 1.0)
    corrected, _ = score(written(split, late, ["train0", "val0", "val1"]), split, 1000, TIOUS)
    said = capsys.readouterr().out
    assert "1 of 3 detections are in clips that are not scored: dropped" in said
    assert "warning: 1 of 2 detections start after their clip or end far after it; times are seconds" in said
    assert corrected.names == ["val0", "val1"]
    assert corrected.detections.clip.tolist() == [0, 1]


def test_detections_in_clips_of_other_classes_are_dropped(
    make_split: Callable[..., Split], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    split = make_split(train=[30], val=[30, 60])
    monkeypatch.setitem(split.store.clips, "another", split.store.clips["val0"])  # stored, but not in this split
    path = written(split, Detections.of([0, 1], 0, [[0, 9], [0, 9]], 1.0), ["val0", "another"])
    corrected, _ = score(path, split, 1000, TIOUS)
    assert "1 of 2 detections are in clips that are not scored: dropped" in capsys.readouterr().out
    assert len(corrected.detections) == 1


def test_detections_stay_with_their_clip_when_earlier_clips_are_left_out(make_split: Callable[..., Split]) -> None:
    split = make_split(val=[60, 30, 20])
    corrected, _ = score(written(split, *perfect(split)), split, 40, TIOUS)
    assert corrected.names == ["val1", "val2"]
    assert corrected.average_map == 100


def test_a_clip_that_is_not_in_the_file_has_no_detections(split: Split) -> None:
    found, names = perfect(split)
    path = written(split, found.of_clip(0), names[:1])
    corrected, _ = score(path, split, 1000, TIOUS)
    share = [100 * ((found.clip == 0) & (found.label == k)).sum() / (found.label == k).sum() for k in range(2)]
    np.testing.assert_allclose(corrected.ap, [share] * 3)


def test_the_released_evaluation_shortens_the_truth_and_lengthens_detections_by_a_frame(split: Split) -> None:
    found, names = perfect(split)
    longest = found.select([int((found.segments[:, 1] - found.segments[:, 0]).argmax())])
    frames = float(longest.segments[0, 1] - longest.segments[0, 0])
    bound = (frames - 1) / (frames + 1)
    _, released = score(written(split, longest, names), split, 1000, [bound - 1e-3, bound + 1e-3])
    assert released.ap[0, longest.label[0]] > 0
    assert released.ap[1, longest.label[0]] == 0


def test_a_split_without_a_clip_to_score_is_refused(split: Split) -> None:
    path = written(split, *perfect(split))
    with pytest.raises(UserError, match=r"tiny: no val clip of at most 20 frames has a label to score against"):
        score(path, split, 20, TIOUS)
