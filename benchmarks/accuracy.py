"""Train and score a list of configs × seeds, and print one table: mean ± standard deviation over the seeds.

    python benchmarks/accuracy.py benchmarks/ablation.yaml --seeds 5 6 7 --jobs 2
    python benchmarks/accuracy.py benchmarks/ablation.yaml --task 2/9       # the second ninth, on one of nine machines
    python benchmarks/accuracy.py benchmarks/ablation.yaml --table-only

A list is a YAML file. Its entry `rows` has the rows of the table by name, and `common` the settings of all rows. A row
has `config` (config files) and `set` (assignments). A row of your own method (docs/network.md) has `script`: a file
with the options of train.py. With `evaluate: OTHER`, a row is not trained: the last weights of the row OTHER are scored
again with this row's settings, except those that the weights depend on. A run is a row with one seed. Its folder is
<out>/<list>/<row>/seed<n>. Finished runs are not repeated, stopped ones are resumed. If the row of a finished run or
its script has changed since, the run is reported and is not in the table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # when run as a script

from utils.command_line import argument_parser, number  # first: utils says what to do if a package is missing

# isort: split
import numpy as np
from pydantic import Field, TypeAdapter

from utils import config
from utils.config import ROOT, Settings
from utils.errors import UserError, nearest, run_command
from utils.files import StrictModel, read_yaml, sha256
from utils.stored_settings import OF_MACHINE, differences, read_stored, with_settings_of_weights

TIOUS = ("0.3", "0.5", "0.7")
RUNNING: list[subprocess.Popen] = []  # trainings and evaluations that this command has started
FolderName = Annotated[str, Field(pattern=r"^[^/]*[^/.][^/]*$")]  # no slash, and not only dots


class Row(StrictModel):
    """A line of the table: its config files, assignments and script, and the row whose last weights it scores again."""

    config: list[str] = []
    set: list[str] = []
    script: str | None = None  # None: train.py
    evaluate: str | None = None

    def settings(self, seed: int) -> Settings:
        """The settings of all groups, as train.py resolves them."""
        return config.load([ROOT / layer for layer in self.config], [f"train.seed={seed}", *self.set])

    def script_path(self) -> Path:
        """The file that trains or scores the row."""
        return ROOT / (self.script or "train.py")


class RowList(StrictModel):
    """The content of a list. An empty row has the common settings alone."""

    common: Row = Row()
    rows: dict[FolderName, Row | None]


class Run(NamedTuple):
    """A row with one seed and its folder. A row that is scored again also has the run of its weights."""

    name: str
    row: Row
    seed: int
    folder: Path
    weights_run: Run | None

    def changes(self) -> list[str]:
        """What has changed in the row since the run. Empty for a run that is not finished."""
        results = self.folder / "results.json"
        if not results.exists():
            return []
        found, wanted = json.loads(results.read_bytes()), self.row.settings(self.seed)
        if self.weights_run:
            if not (self.weights_run.folder / "results.json").exists():
                return [f"the run of its weights in {self.weights_run.folder} is not finished"]
            weights = self.weights_run.folder / "last.pt"
            wanted = with_settings_of_weights(wanted, self.weights_run.row.settings(self.seed))
            digest = sha256(weights) if weights.exists() else None
            if digest and digest != found.get("weights_sha256", digest):  # earlier versions did not store it
                return [f"{weights} was trained again"]
            if changes := self.weights_run.changes():
                return changes
        script, made_by = self.row.script_path(), found.get("script", {"name": "train.py"})  # earlier: not stored
        if made_by["name"] != script.name:
            return [f"script was {made_by['name']} and is {script.name}"]
        if self.row.script and made_by.get("sha256") != sha256(script):
            return [f"{script.name} differs from that of the run"]
        try:
            return differences(read_stored(found["settings"], str(results)), wanted, OF_MACHINE)
        except UserError as error:  # settings of another version
            return [str(error)]


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a list by name, each with the common settings first. Raises UserError if the file is no list."""
    expected = "a list of rows with config, set, script or evaluate, as in benchmarks/ablation.yaml"
    content: RowList = read_yaml(path, expected, TypeAdapter(RowList))
    common, rows = content.common, {}
    if common.evaluate is not None:
        raise UserError(f"{path}: common has evaluate: {common.evaluate}; give it to single rows instead")
    for name, row in content.rows.items():
        own = row or Row()
        of_weights = content.rows.get(own.evaluate) or Row()  # a row that is scored again has the script of its weights
        layers = {"config": common.config + own.config, "set": common.set + own.set}
        rows[name] = own.model_copy(update={**layers, "script": own.script or of_weights.script or common.script})
    trained = [name for name, row in rows.items() if row.evaluate is None]
    for name, row in rows.items():
        if row.evaluate and row.evaluate not in trained:
            raise UserError(f"{path}: row {name!r} evaluates {row.evaluate!r}; {nearest(row.evaluate, trained)}")
        if not row.script_path().is_file():
            raise UserError(f"{path}: row {name!r}: there is no file {row.script_path()}; correct its script")
        try:
            row.settings(seed=0)  # a mistake in the last row should not show after hours
        except UserError as error:
            raise UserError(f"{path}: row {name!r}: {error}") from None
        if any(assignment.partition("=")[0].strip() == "train.seed" for assignment in row.set):
            raise UserError(f"{path}: row {name!r} sets train.seed, so all its runs would be the same; use --seeds")
    return rows


def choose_rows(rows: dict[str, Row], names: list[str]) -> dict[str, Row]:
    """The rows with these names, each after the row whose weights it scores again.

    Raises UserError if a name is unknown.
    """
    for name in names:
        if name not in rows:
            raise UserError(f"--only {name}: {nearest(name, list(rows))}")
    with_weights = [wanted for name in names for wanted in (rows[name].evaluate, name) if wanted]
    return {name: rows[name] for name in with_weights}


def runs_of(rows: dict[str, Row], seeds: list[int], out: Path) -> list[Run]:
    """The runs of a list."""
    runs = {(name, n): Run(name, row, n, out / name / f"seed{n}", None) for n in seeds for name, row in rows.items()}
    return [run._replace(weights_run=runs.get((run.row.evaluate, run.seed))) for run in runs.values()]


def of_task(task: str, runs: list[Run]) -> list[Run]:
    """The runs of task "I/N"; a run that is scored again belongs to the task that trains its weights.

    Raises UserError when the text names no task.
    """
    number, _, of = task.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise UserError(f"--task {task}: expected I/N, the I-th of N parts, from 1/N to N/N, as in --task 2/8")
    own_training = [run for run in runs if not run.weights_run][int(number) - 1 :: int(of)]
    return [run for run in runs if (run.weights_run or run) in own_training]


def up_to_date(runs: list[Run]) -> list[Run]:
    """The runs whose rows have not changed. Prints the others."""
    kept = []
    for run in runs:
        if changes := run.changes():
            what = f"OUTDATED, not in the table: {'; '.join(changes)} in {run.folder}"
            hint = "to repeat it, rename that folder or choose another --out"
            print(f"{run.name}, seed {run.seed}: {what}; {hint}", file=sys.stderr)
        else:
            kept.append(run)
    return kept


def execute(run: Run, threads: int) -> tuple[bool, str]:
    """Train or score one run, unless it is done. Returns whether it is done now, and one line about it."""
    row, folder = run.row, run.folder
    if (folder / "results.json").exists():
        return True, f"{run.name}, seed {run.seed}: done before"
    if run.weights_run and not (run.weights_run.folder / "results.json").exists():
        return False, f"{run.name}, seed {run.seed}: NOT SCORED, because the run of its weights is not finished"
    command = [sys.executable, str(row.script_path()), "--work-dir", str(folder)]
    command += ["--config", *row.config] if row.config else []
    command += ["--set", f"train.seed={run.seed}", *row.set]
    if run.weights_run:
        command += ["--phase", "test", "--weights", str(run.weights_run.folder / "last.pt")]
    else:
        command.append("--resume-or-start")
    folder.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with folder.with_suffix(".log").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        RUNNING.append(process)
        status = process.wait()
    return status == 0, f"{run.name}, seed {run.seed}: {'done' if status == 0 else f'FAILED, see {log.name}'}"


def scores_of_run(folder: Path) -> dict[str, float | None] | None:
    """The table's numbers of a finished run, or None while it is not finished.

    Scores are in percent. "gain at the end" is the gain in mAP over the last quarter of the epochs, "minutes" the time
    of training; they are None where they are not known.
    """
    if not (folder / "results.json").exists():
        return None
    results: dict[str, Any] = json.loads((folder / "results.json").read_bytes())
    corrected, gain, minutes = results["corrected"], None, None
    if (folder / "metrics.jsonl").exists():  # a row that is scored again has none
        epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        last, before = epochs[-1].get("corrected"), epochs[len(epochs) * 3 // 4 - 1].get("corrected")
        gain = last["mAP"] - before["mAP"] if last and before and len(epochs) > 1 else None
        minutes = sum(row["seconds"] for row in epochs) / 60
    return {
        "mAP": corrected["mAP"],
        **{f"@{tiou}": corrected["mAP_at_tIoU"].get(tiou) for tiou in TIOUS},
        "released mAP": results["released"]["mAP"],
        "classification mAP": corrected["classification_mAP"],
        "frame accuracy": corrected["frame_accuracy"],
        **corrected.get("segmental_F1", {}),  # earlier versions wrote none
        "gain at the end": gain,
        "minutes": minutes,
    }


def table(rows: dict[str, Row], runs: list[Run]) -> str:
    """The Markdown table of the finished runs."""
    found = {name: [row for run in runs if run.name == name and (row := scores_of_run(run.folder))] for name in rows}
    # Runs of an earlier version may lack a score
    columns = max((list(row) for done in found.values() for row in done), key=len, default=["mAP"])
    lines = ["| row | seeds | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for name, done in found.items():
        cells = [_cell([row.get(column) for row in done]) for column in columns]
        lines.append(f"| {name} | {len(done)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float | None]) -> str:
    if not values:
        return "not measured"
    if None in values:
        return "-"
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python benchmarks/accuracy.py")
    add, folder = parser.add_argument, ROOT / "work_dir" / "accuracy"
    add("list", type=Path, metavar="LIST.yaml", help="the list, such as benchmarks/ablation.yaml")
    add("--seeds", type=int, nargs="+", default=[5, 6, 7], metavar="SEED", help="of each row (default: 5 6 7)")
    add("--out", type=Path, default=folder, metavar="FOLDER", help="where the runs go (default: work_dir/accuracy)")
    add("--jobs", type=number(1), default=1, metavar="N", help="runs at a time (default: 1)")
    add("--threads", type=number(1), default=1, metavar="N", help="threads of each run (default: 1)")
    only = "only these rows, and the rows OTHER whose weights they score again (default: all)"
    add("--only", nargs="+", metavar="ROW", help=only)
    add("--task", metavar="I/N", help="only the I-th of N parts of the runs, without a table (default: all)")
    add("--table-only", action="store_true", help="train nothing, print the table of the finished runs")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    rows = read_rows(args.list)
    rows = choose_rows(rows, args.only or list(rows))
    wanted = runs_of(rows, args.seeds, args.out.resolve() / args.list.stem)  # train.py runs in ROOT
    if args.task:
        wanted = of_task(args.task, wanted)
    runs, failed = [], False
    for scored_again in (False, True):  # weights first
        now = up_to_date([run for run in wanted if bool(run.weights_run) == scored_again])
        with ThreadPoolExecutor(args.jobs) as pool:
            todo = () if args.table_only else now
            try:
                for done, line in pool.map(lambda run: execute(run, args.threads), todo):
                    failed |= not done
                    print(line, file=sys.stderr, flush=True)
            except KeyboardInterrupt:  # SIGTERM reaches only this process
                for process in RUNNING:
                    process.terminate()
                raise
        runs += now
    failed |= len(runs) < len(wanted)
    if not args.task:  # other tasks may still be running; --table-only prints the table afterwards
        print(table(rows, runs))
    return int(failed)


if __name__ == "__main__":
    run_command(main)
