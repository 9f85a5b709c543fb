"""Synthetic data are the same at every run, are written once, and are labelled like BABEL."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import exit_status

from prepare.synthetic import generate
from prepare.synthetic.actions import ACTIONS
from prepare.synthetic.generate import write_synthetic
from prepare.synthetic.take import GROUPS
from utils.errors import UserError


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_every_run_gives_the_same_bytes(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "a", 9)
    write_synthetic(tmp_path / "b", 9)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_clip_does_not_depend_on_how_many_there_are(folder: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "few", 9)
    few = {name: content for name, content in files(tmp_path / "few").items() if name.startswith("amass")}
    assert len(few) == 9
    assert few.items() <= files(folder).items()
    for subset in ("train", "val"):
        name = f"babel_v1.0_release/{subset}.json"
        fewer, all_entries = (json.loads((place / name).read_text()) for place in (tmp_path / "few", folder))
        assert fewer.items() <= all_entries.items()


def test_a_second_run_redoes_nothing_and_other_settings_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert write_synthetic(out, 4)
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    assert not write_synthetic(out, 4)
    with pytest.raises(UserError, match=r"other settings \(see its SYNTHETIC.json\); delete it, or name a new .*--out"):
        write_synthetic(out, 5)
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_folder_with_anything_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "amass").mkdir()
    (tmp_path / "amass" / "real.npz").write_bytes(b"licensed")
    with pytest.raises(UserError, match=r"exists; name a new folder by --out"):
        write_synthetic(tmp_path, 4)
    assert files(tmp_path) == {"amass/real.npz": b"licensed"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--clips", 0), "argument --clips: 0: expected 1 to 1000000"),
        (("--gaps", "-0.1"), "argument --gaps: -0.1: expected 0 to 0.5"),
    ],
)
def test_impossible_settings_are_refused(
    tmp_path: Path, option: tuple[str, object], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert exit_status(generate.main, "generate", "--out", tmp_path / "data", *option) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_sigterm_stops_at_once_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    begun = []
    write = generate._write_take

    def stop(*facts: Any) -> Any:
        begun.append(facts)
        if len(begun) == 2:
            signal.raise_signal(signal.SIGTERM)
        return write(*facts)

    monkeypatch.setattr(generate, "_write_take", stop)
    assert exit_status(generate.main, "generate", "--out", tmp_path / "data", "--clips", 900) == 130
    assert capsys.readouterr().err.strip() == "stopped"
    assert len(begun) == 2
    assert not list(tmp_path.iterdir())


def test_labels_are_babels_and_lie_within_the_clip(entries: dict[str, dict[str, Any]]) -> None:
    for entry in entries.values():
        for label in entry["labels"]:
            assert set(label) == {"raw_label", "proc_label", "seg_id", "act_cat", "start_t", "end_t"}
            assert -0.3 <= label["start_t"] < label["end_t"] <= entry["dur"] + 0.05


def test_labels_have_the_irregularities_of_the_real_ones(entries: dict[str, dict[str, Any]]) -> None:
    every = [entry["labels"] for entry in entries.values()]
    starts = [[label["start_t"] for label in labels] for labels in every]
    assert any(entry["frame_ann"] is None for entry in entries.values())
    assert any(entry["dur"] * 30 > 1000 for entry in entries.values())
    assert any(label["act_cat"] is None for labels in every for label in labels)
    assert any(len(label["act_cat"] or ()) > 1 for labels in every for label in labels)
    assert any(start != sorted(start) for start in starts)
    assert any(label["end_t"] > entry["dur"] for entry in entries.values() for label in entry["labels"])
    walks = [(walk, other) for labels in every for walk in labels for other in labels if walk["act_cat"] == ["walk"]]
    assert any(
        other["act_cat"] == ["turn"] and walk["start_t"] < other["start_t"] and other["end_t"] < walk["end_t"]
        for walk, other in walks
    )


def test_some_time_is_not_annotated(entries: dict[str, dict[str, Any]]) -> None:
    seen, total = 0, 0
    for entry in entries.values():
        if entry["frame_ann"]:
            t = np.arange(int(30 * entry["dur"])) / 30
            covered = np.zeros(len(t), bool)
            for label in entry["labels"]:
                covered |= (label["start_t"] <= t) & (t < label["end_t"])
            seen, total = seen + covered.sum(), total + len(t)
    assert 0.02 < 1 - seen / total < 0.15


@pytest.mark.parametrize("subset", ["train", "val"])
def test_every_class_occurs(entries: dict[str, dict[str, Any]], subset: str) -> None:
    chosen = [entry for sid, entry in entries.items() if entry["subset"] == subset and int(sid) <= 48]
    found = {name for entry in chosen for label in entry["labels"] for name in label["act_cat"] or ()}
    assert {name for group in GROUPS for name in group} <= found
    assert set(ACTIONS) == {name for group in GROUPS for name in group}


def test_no_performer_is_in_both_subsets(entries: dict[str, dict[str, Any]]) -> None:
    who = {subset: set() for subset in ("train", "val")}
    for entry in entries.values():
        who[entry["subset"]].add(entry["feat_p"].split("/")[2])
    assert who["train"].isdisjoint(who["val"])
