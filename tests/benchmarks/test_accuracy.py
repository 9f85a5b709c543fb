"""The table of configs × seeds: its lists are read strictly, and its figures are those of the runs."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from benchmarks.accuracy import Row, Run, figures, of_task, read_rows, runs_of, table, up_to_date
from utils import config
from utils.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.yaml")), ids=lambda path: path.name)
def test_every_row_of_every_shipped_list_has_valid_settings(path: Path) -> None:
    for row in read_rows(path):
        config.load([ROOT / layer for layer in row.config], row.assignments)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "cannot be read as a list of rows"),
        ("rows: 3", "expected 'rows' by name"),
        ("rows: {a: {sets: []}}", "row 'a' has the unknown key 'sets'; did you mean 'set'"),
        ("rows: {a: , b: {evaluate: c}}", "row 'b' evaluates 'c'; known are: a"),
        ("rows: {../a: }", "the row '../a' needs a name that a folder can have"),
        ("rows: {..: }", "the row '..' needs a name that a folder can have"),
        ("rows: {3: }", "the row 3 needs a name that a folder can have"),
    ],
)
def test_a_mistaken_list_is_one_message(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(said)):
        read_rows(tmp_path / "list.yaml")


def listed(folder: Path, text: str) -> list[Row]:
    (folder / "list.yaml").write_text(text)
    return read_rows(folder / "list.yaml")


def finish(run: Run) -> None:
    """Leave what a finished run leaves for `Run.changes`."""
    run.folder.mkdir(parents=True)
    facts = {"settings": run.row.settings(run.seed).model_dump()}
    if run.trained:
        facts["weights_sha256"] = hashlib.sha256((run.trained.folder / "last.pt").read_bytes()).hexdigest()
    else:
        (run.folder / "last.pt").write_bytes(b"weights")
    (run.folder / "results.json").write_text(json.dumps(facts))


def test_runs_whose_row_has_changed_are_reported_and_repeated_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    text = "rows: {a: {set: [train.epochs=9]}, again: {evaluate: a}, b: }"
    runs = runs_of(listed(tmp_path, text), [5], tmp_path)
    assert [run.row.name for run in runs] == ["a", "b", "again"]  # weights are trained first
    for run in runs:
        finish(run)
    assert up_to_date(runs, []) == runs
    machine = "common: {set: [data.root=elsewhere, train.timeout=9]}\n"  # changes no figure
    assert not [run for run in runs_of(listed(tmp_path, machine + text), [5], tmp_path) if run.changes()]

    changed = runs_of(listed(tmp_path, text.replace("9", "7")), [5], tmp_path)
    assert [run.row.name for run in up_to_date(changed, [])] == ["b"]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["a, seed 5", "again, seed 5"]
    assert all("OUTDATED, not in the table: train.epochs was 9 and is 7 in " in line for line in said)
    assert all("repeat it by --retrain" in line for line in said)

    assert up_to_date(changed, changed) == changed
    assert [run.folder.exists() for run in changed] == [False, True, False]
    assert len(list(tmp_path.glob("a/seed5.*/results.json"))) == 1  # put aside, not deleted
    finish(changed[0])
    finish(changed[2])
    assert not [run for run in changed if run.changes()]
    (changed[0].folder / "last.pt").write_bytes(b"other weights")
    assert changed[2].changes() == [f"{changed[0].folder / 'last.pt'} was trained again"]


@pytest.mark.parametrize("tasks", [1, 2, 4, 9])
def test_tasks_do_every_run_once_and_score_again_what_they_trained(tmp_path: Path, tasks: int) -> None:
    rows = listed(tmp_path, "rows: {a: , again: {evaluate: a}, b: }")
    shares = [of_task(f"{i}/{tasks}", rows, [5, 6]) for i in range(1, tasks + 1)]
    runs = [(name, seed) for name in ("a", "again", "b") for seed in (5, 6)]
    assert sorted(run for share in shares for run in share) == runs
    assert all((("a", seed) in share) == (("again", seed) in share) for share in shares for seed in (5, 6))


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "-1/3", "1/x", "1/2/3"])
def test_a_task_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"--task {text}: expected I/N")):
        of_task(text, [], [5])


def test_the_table_has_mean_and_deviation_over_the_seeds_that_are_done(tmp_path: Path) -> None:
    rows = listed(tmp_path, "rows: {a: , b: }")
    for seed, value in ((5, 10.0), (6, 20.0)):
        folder = tmp_path / "a" / f"seed{seed}"
        folder.mkdir(parents=True)
        scores = {"mAP": value, "mAP_at_tIoU": dict.fromkeys(("0.3", "0.5", "0.7"), value)}
        scores |= {"classification_mAP": 1.0, "frame_accuracy": 2.0, "segmental_F1": {"F1@50": 4.0}}
        epochs = [{"seconds": 15 * (seed - 4), "corrected": {"mAP": value + epoch}} for epoch in range(4)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in epochs))
        (folder / "results.json").write_text(json.dumps({"corrected": scores, "released": {"mAP": 3.0}}))
    text, found = table(rows, runs_of(rows, [5, 6, 7], tmp_path))
    assert "| a | 2 | 15.0 ± 7.1 |" in text
    assert "| b | 0 | not measured |" in text
    assert found["a"]["mAP"] == [10.0, 20.0]
    assert found["a"]["minutes"] == [1.0, 2.0]
    assert found["a"]["last quarter"] == [1.0, 1.0]  # from the third to the fourth of four epochs
    assert figures(tmp_path / "b" / "seed5") is None
    (tmp_path / "a" / "seed6" / "metrics.jsonl").unlink()  # as of a row that is scored again
    text, found = table(rows, runs_of(rows, [5, 6], tmp_path))
    assert found["a"]["minutes"] == [1.0, None]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "| - | - |" in text
