"""The table of configs × seeds: its lists are read strictly, and its figures are those of the runs."""

import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import call

from benchmarks.accuracy import (
    Row,
    Run,
    choose_rows,
    main,
    of_task,
    read_rows,
    runs_of,
    scores_of_run,
    table,
    up_to_date,
)
from utils.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.yaml")), ids=lambda path: path.name)
def test_every_row_of_every_shipped_list_has_valid_settings(path: Path) -> None:
    for row in read_rows(path).values():
        row.settings(seed=5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "list.yaml: is not valid YAML"),
        ("rows: 3", "rows is 3, expected a valid dictionary; expected a list of rows with config, set, script or"),
        ("3", "the file is 3, expected a valid dictionary"),
        (
            "rows: {a: {sets: []}}",
            "rows.a.sets is []: Extra inputs are not permitted; expected a list of rows with",
        ),
        ("common: {evaluate: a}\nrows: {a: }", "list.yaml: common has evaluate: a; give it to single rows instead"),
        ("rows: {a: {set: 3}}", "rows.a.set is 3, expected a valid list"),
        ("rows: {a: , b: {evaluate: c}}", "row 'b' evaluates 'c'; known are: a"),
        ("rows: {a: {script: no.py}}", f"row 'a': there is no file {ROOT / 'no.py'}; correct its script"),
        ("rows: {a: {set: [train.seed=0]}}", "row 'a' sets train.seed, so all its runs would be the same; use --seeds"),
        ("rows: {../a: }", "rows.../a.[key] is '../a': String should match pattern"),
        ("rows: {..: }", "rows....[key] is '..': String should match pattern"),
        ("rows: {3: }", "rows.3.[key] is 3, expected a valid string"),
    ],
)
def test_a_mistaken_list_is_one_message(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(said)):
        read_rows(tmp_path / "list.yaml")


def listed(folder: Path, text: str) -> dict[str, Row]:
    (folder / "list.yaml").write_text(text)
    return read_rows(folder / "list.yaml")


def finish(run: Run) -> None:
    """Leave what a finished run leaves for `Run.changes`."""
    run.folder.mkdir(parents=True)
    script = run.row.script_path()
    digest = hashlib.sha256(script.read_bytes()).hexdigest()
    facts = {"settings": run.row.settings(run.seed).model_dump(), "script": {"name": script.name, "sha256": digest}}
    if run.weights_run:
        facts["weights_sha256"] = hashlib.sha256((run.weights_run.folder / "last.pt").read_bytes()).hexdigest()
    else:
        (run.folder / "last.pt").write_bytes(b"weights")
    (run.folder / "results.json").write_text(json.dumps(facts))


def test_a_run_with_settings_of_another_version_does_not_stop_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    runs = runs_of(listed(tmp_path, "rows: {a: , b: }"), [5], tmp_path)
    for run in runs:
        finish(run)
    path = runs[0].folder / "results.json"
    path.write_text(path.read_text().replace("weight_decay", "decay"))
    assert [run.name for run in up_to_date(runs)] == ["b"]
    assert "a, seed 5: OUTDATED, not in the table: " in capsys.readouterr().err


def test_runs_whose_row_has_changed_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text = "rows: {a: {set: [train.epochs=9]}, b: , again: {evaluate: a}}"
    runs = runs_of(listed(tmp_path, text), [5], tmp_path)
    for run in runs:
        finish(run)
    assert up_to_date(runs) == runs
    machine = "common: {set: [data.root=elsewhere, train.timeout=9]}\n"  # changes no figure
    assert not [run for run in runs_of(listed(tmp_path, machine + text), [5], tmp_path) if run.changes()]

    changed = runs_of(listed(tmp_path, text.replace("9", "7")), [5], tmp_path)
    assert [run.name for run in up_to_date(changed)] == ["b"]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said] == ["a, seed 5", "again, seed 5"]
    assert all("OUTDATED, not in the table: train.epochs was 9 and is 7 in " in line for line in said)
    assert all("to repeat it, rename that folder" in line for line in said)

    (runs[0].folder / "last.pt").write_bytes(b"other weights")
    assert runs[2].changes() == [f"{runs[0].folder / 'last.pt'} was trained again"]
    (runs[0].folder / "results.json").unlink()  # its folder was renamed, to repeat it
    assert runs[2].changes() == [f"the run of its weights in {runs[0].folder} is not finished"]


def test_runs_of_another_or_an_edited_script_are_reported(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("1")
    plain, own = "rows: {a: }", f"common: {{script: {tmp_path / 'mine.py'}}}\nrows: {{a: }}"
    for text, other, found in (
        (plain, own, "script was train.py and is mine.py"),
        (own, plain, "script was mine.py and is train.py"),
    ):
        folder = tmp_path / found
        [run] = runs_of(listed(tmp_path, text), [5], folder)
        finish(run)
        assert run.changes() == []
        assert runs_of(listed(tmp_path, other), [5], folder)[0].changes() == [found]
    again = listed(tmp_path, f"rows: {{a: {{script: {tmp_path / 'mine.py'}}}, again: {{evaluate: a}}}}")["again"]
    assert again.script_path() == tmp_path / "mine.py"
    (tmp_path / "mine.py").write_text("2")
    assert run.changes() == ["mine.py differs from that of the run"]


def test_a_chosen_row_brings_the_row_of_its_weights(tmp_path: Path) -> None:
    rows = listed(tmp_path, "rows: {a: , b: , again: {evaluate: a}, c: }")
    assert list(choose_rows(rows, ["again"])) == ["a", "again"]
    assert list(choose_rows(rows, ["c", "a", "again"])) == ["c", "a", "again"]
    assert [run.name for run in runs_of(choose_rows(rows, ["again"]), [5], tmp_path)] == ["a", "again"]
    with pytest.raises(UserError, match="--only d: known are: a, b, again, c"):
        choose_rows(rows, ["d"])


@pytest.mark.parametrize("tasks", [1, 2, 4, 9])
def test_tasks_do_every_run_once_and_score_again_what_they_trained(tmp_path: Path, tasks: int) -> None:
    every = runs_of(listed(tmp_path, "rows: {a: , again: {evaluate: a}, b: }"), [5, 6], tmp_path)
    shares = [[(run.name, run.seed) for run in of_task(f"{i}/{tasks}", every)] for i in range(1, tasks + 1)]
    runs = [(name, seed) for name in ("a", "again", "b") for seed in (5, 6)]
    assert sorted(run for share in shares for run in share) == runs
    assert all((("a", seed) in share) == (("again", seed) in share) for share in shares for seed in (5, 6))


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "-1/3", "1/x", "1/2/3"])
def test_a_task_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"--task {text}: expected I/N")):
        of_task(text, [])


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
    text = table(rows, runs_of(rows, [5, 6, 7], tmp_path))
    assert "| classification mAP | frame accuracy | F1@50 | gain at the end |" in text  # as in docs/results.md
    assert "| a | 2 | 15.0 ± 7.1 |" in text
    assert "| 1.0 ± 0.0 | 1.5 ± 0.7 |\n" in text  # gain from the third to the fourth of four epochs, minutes
    assert "| b | 0 | not measured |" in text
    assert scores_of_run(tmp_path / "b" / "seed5") is None
    first = tmp_path / "a" / "seed5" / "results.json"  # of an earlier version, which had no F1
    first.write_text(first.read_text().replace("segmental_F1", "other"))
    assert "| F1@50 |" in table(rows, runs_of(rows, [5, 6], tmp_path))
    metrics = tmp_path / "a" / "seed6" / "metrics.jsonl"
    metrics.write_text(json.dumps({"seconds": 60, "corrected": {"mAP": 1.0}}) + "\n")
    assert scores_of_run(metrics.parent)["gain at the end"] is None  # one epoch has no gain
    metrics.unlink()  # as of a row that is scored again
    assert "| - | - |" in table(rows, runs_of(rows, [5, 6], tmp_path))


def test_a_relative_folder_of_runs_is_one_of_the_callers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list.yaml").write_text(f"rows: {{a: {{script: {tmp_path / 'script.py'}}}}}")
    script = "import sys, pathlib\npathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1], 'ran').parent.mkdir()"
    (tmp_path / "script.py").write_text(script)
    monkeypatch.chdir(tmp_path)
    assert call(main, "accuracy.py", "list.yaml", "--seeds", 5, "--out", "runs") == 0
    assert (tmp_path / "runs" / "list" / "a" / "seed5").is_dir()


def test_weights_of_a_run_that_failed_are_not_scored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    script = f"common: {{script: {tmp_path / 'fails.py'}}}\n"
    (tmp_path / "list.yaml").write_text(script + "rows: {trained: , again: {evaluate: trained}}")
    (tmp_path / "fails.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert call(main, "accuracy.py", "list.yaml", "--seeds", 5, "--out", "runs") == 1
    told = capsys.readouterr().err
    assert "trained, seed 5: FAILED" in told
    assert "again, seed 5: NOT SCORED, because the run of its weights is not finished" in told
    assert not (tmp_path / "runs" / "list" / "again").exists()


def test_sigterm_stops_the_trainings_too(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text(f"common: {{script: {tmp_path / 'sleeps.py'}}}\nrows: {{a: , b: }}")
    (tmp_path / "sleeps.py").write_text("import time\nprint('started', flush=True)\ntime.sleep(600)")
    line = ["list.yaml", "--seeds", "5", "--out", "runs", "--jobs", "2"]
    started = subprocess.Popen([sys.executable, ROOT / "benchmarks" / "accuracy.py", *line], cwd=tmp_path)
    logs = [tmp_path / "runs" / "list" / row / "seed5.log" for row in "ab"]
    try:
        while started.poll() is None and not all(log.exists() and log.read_text() == "started\n" for log in logs):
            time.sleep(0.1)
        started.terminate()
        assert started.wait(60) == 130
    finally:
        started.kill()
