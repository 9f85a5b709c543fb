"""The comparison of two runs shows the right differences, and refuses runs on other clips."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import call

from evaluation import detections
from evaluation.localization import Detections, ground_truth
from reporting.compare import main
from tests.reporting.test_player import player_of
from tests.reporting.test_report import rows
from utils.errors import UserError
from utils.store import Split


@pytest.fixture()
def split(make_split: Callable[..., Split]) -> Split:
    return make_split(train=[5], val=[60, 30, 50])


def run(where: Split, folder: Path, found: Detections, **changes: object) -> Path:
    """The folder of a run that found these detections in the validation clips."""
    folder.mkdir()
    data = {"root": str(where.folder.parent), "max_frames": 1000}
    results = {"split": where.name, "store": where.store.digest, **changes}
    results["settings"] = {"data": data, "eval": {"tious": [0.1, 0.5]}}
    (folder / "results.json").write_text(json.dumps(results))
    detections.write(folder / "detections.json", found, where.clip_ids("val"), where.classes)
    return folder


def compare(*folders: Path) -> str:
    out = folders[0].parent / "compare.html"
    call(main, "compare", *folders, "--out", out)
    return out.read_text(encoding="utf-8")


def test_differences_are_those_of_both_runs(split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = ground_truth([split.labels(sid) for sid in split.clip_ids("val")])
    worse = truth.select((truth.label != 1) & (truth.clip != 1))
    folders = [run(split, tmp_path / "better", truth), run(split, tmp_path / "worse", worse)]
    html = compare(*folders)
    table = rows(html)
    share = 100 * np.mean(truth.clip[truth.label == 0] != 1)  # of walk's segments that are left
    assert table[f"A: {folders[0]}"] == [["100.0"] * 3]
    assert table["walk"] == [["100.0", f"{share:.1f}", *[f"{share - 100:.1f}"] * 3]]
    assert table["wave"] == [["100.0", "0.0", "-100.0", "-100.0", "-100.0"]]
    assert table["B − A"] == [[f"{share / 2 - 100:.1f}"] * 3]
    assert f"difference {share / 2 - 100:+.2f}" in capsys.readouterr().out
    changed_most = player_of(html)["clips"][1]
    assert (changed_most["name"], changed_most["ap"]) == ("val1", [pytest.approx(100), 0])
    assert [len(found) for found in changed_most["found"]] == [(truth.clip == 1).sum(), 0]
    assert "0 have a higher AP in B, 3 have a lower one, and 0\nhave the same" in html


@pytest.mark.parametrize("change", ["split", "store", "labels", "folder", "damaged"])
def test_runs_on_other_clips_are_refused(change: str, split: Split, tmp_path: Path) -> None:
    none = Detections.concatenate([])
    first = run(split, tmp_path / "a", none)
    second = run(split, tmp_path / "b", none, **({change: "other"} if change in ("split", "store", "labels") else {}))
    expected = rf"b: its {change} is other, and that of .*a is .* evaluate one again by --phase test"
    if change == "folder":
        second, expected = tmp_path, r"results\.json: cannot be read .*; expected the folder of a finished run"
    if change == "damaged":
        (second / "results.json").write_text('{"settings": []}')
        expected = r"b/results\.json: split is missing; expected the folder of a finished run"
    with pytest.raises(UserError, match=expected):
        compare(first, second)
    assert not (tmp_path / "compare.html").exists()


def test_runs_at_other_tious_are_refused(split: Split, tmp_path: Path) -> None:
    folders = [run(split, tmp_path / name, Detections.concatenate([])) for name in "ab"]
    results = json.loads((folders[1] / "results.json").read_text())
    results["settings"]["eval"]["tious"] = [0.5]
    (folders[1] / "results.json").write_text(json.dumps(results))
    with pytest.raises(UserError, match=r"its tious is \[0.5\], .* evaluated at the same tIoUs can be compared"):
        compare(*folders)


@pytest.mark.parametrize(("change", "what"), [("store", "joints"), ("labels", "labels")])
def test_data_that_were_prepared_anew_are_refused(change: str, what: str, split: Split, tmp_path: Path) -> None:
    none = Detections.concatenate([])
    folders = [run(split, tmp_path / name, none, **{change: "0" * 64}) for name in "ab"]
    with pytest.raises(UserError, match=f"has other {what} than the runs were evaluated on"):
        compare(*folders)


def test_a_folder_as_out_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call(main, "compare", "a", "b", "--out", tmp_path)
    assert f"argument --out: {tmp_path}: expected a file, this is a folder" in capsys.readouterr().err
