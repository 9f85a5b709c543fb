"""Train and score a list of configs × seeds, and print one table: mean ± standard deviation over the seeds.

    python benchmarks/accuracy.py benchmarks/ablation.yaml --seeds 5 6 7 --jobs 2
    python benchmarks/accuracy.py benchmarks/ablation.yaml --task 2/9       # the second ninth, on one of nine machines
    python benchmarks/accuracy.py benchmarks/ablation.yaml --table-only

A list is a YAML file. Its entry `rows` has the rows of the table by name, and `common` the settings of all rows. A row
has `config` (config files) and `set` (assignments). With `evaluate: OTHER`, a row is not trained: the last weights of
the row OTHER are scored again with this row's settings. A run is a row with one seed. Its folder is
<out>/<list>/<row>/seed<n>. Finished runs are not repeated, stopped ones are resumed. If the row of a run has changed
since, the run is reported and is not in the table. --retrain renames the folder of such a run and repeats the run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script

from utils.command_line import argument_parser  # first: utils says what to do if a package is missing

# isort: split
import numpy as np
import yaml

from utils import config
from utils.atomic import write_json
from utils.config import Settings
from utils.errors import UserError, nearest, run_command, shown
from utils.lock import lock_folder
from utils.stored_settings import OF_MACHINE, differences, of_checkpoint, of_weights, read_resolved

ROOT = Path(__file__).parents[1]
ROW_KEYS = ("config", "set", "evaluate")
TIOUS = ("0.3", "0.5", "0.7")


class Row(NamedTuple):
    """A line of the table: config layers and assignments, or the row whose weights it scores again."""

    name: str
    config: list[str]
    assignments: list[str]
    evaluate: str | None

    def settings(self, seed: int) -> Settings:
        """The settings of all groups, as train.py resolves them."""
        return config.load([ROOT / layer for layer in self.config], [f"train.seed={seed}", *self.assignments])


class Run(NamedTuple):
    """A row with one seed, its folder, and for a row that is scored again the run of its weights."""

    row: Row
    seed: int
    folder: Path
    trained: Run | None

    def changes(self) -> list[str]:
        """What has changed in the row since the run began. Empty for a run that has not begun."""
        results, resolved = self.folder / "results.json", self.folder / "config.yaml"
        wanted = self.row.settings(self.seed)
        if not results.exists():
            return differences(read_resolved(resolved), wanted, OF_MACHINE) if resolved.exists() else []
        found, retrained = json.loads(results.read_bytes()), []
        if self.trained:
            weights = self.trained.folder / "last.pt"
            wanted = of_weights(wanted, self.trained.row.settings(self.seed))
            digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None
            if digest and digest != found.get("weights_sha256", digest):  # earlier versions did not store it
                retrained = [f"{weights} was trained again"]
            retrained += self.trained.changes()
        return retrained or differences(of_checkpoint(found["settings"], str(results)), wanted, OF_MACHINE)


def read_rows(path: Path) -> list[Row]:
    """The rows of a list, in its order, each with the common settings first. Raises UserError: the file is no list."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as a list of rows ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("rows"), dict):
        raise UserError(f"{path}: expected 'rows' by name, and 'common' settings beside them")
    common = content.get("common") or {}
    rows = []
    for name, entry in content["rows"].items():
        if not isinstance(name, str) or name != Path(name).name or name == "..":
            raise UserError(f"{path}: the row {shown(name)} needs a name that a folder can have, without /")
        entry = entry or {}
        for key in [*common, *entry]:
            if key not in ROW_KEYS:
                raise UserError(f"{path}: row {name!r} has the unknown key {key!r}; {nearest(key, list(ROW_KEYS))}")
        layers = [*common.get("config", []), *entry.get("config", [])]
        rows.append(Row(name, layers, [*common.get("set", []), *entry.get("set", [])], entry.get("evaluate")))
    trained = [row.name for row in rows if row.evaluate is None]
    for row in rows:
        if row.evaluate and row.evaluate not in trained:
            raise UserError(f"{path}: row {row.name!r} evaluates {row.evaluate!r}; {nearest(row.evaluate, trained)}")
    return rows


def runs_of(rows: list[Row], seeds: list[int], out: Path) -> list[Run]:
    """The runs of a list. Those that are scored again come last, because their weights have to be trained first."""
    runs = {(row.name, n): Run(row, n, out / row.name / f"seed{n}", None) for n in seeds for row in rows}
    again = [run._replace(trained=runs[run.row.evaluate, run.seed]) for run in runs.values() if run.row.evaluate]
    return [run for run in runs.values() if not run.row.evaluate] + again


def up_to_date(runs: list[Run], retrain: list[Run]) -> list[Run]:
    """The runs whose rows have not changed, and the changed ones in `retrain`. Prints the other runs.

    The folder of a changed run in `retrain` is renamed to seed<n>.<time>.
    """
    kept = []
    for one, changed in [(one, one.changes()) for one in runs]:  # all changes are found before a folder is renamed
        if not changed:
            kept.append(one)
        elif one in retrain:
            with lock_folder(one.folder, "training", "choose another --out"):
                one.folder.rename(f"{one.folder}.{time.strftime('%Y%m%d-%H%M%S')}")
            kept.append(one)
        else:
            what = f"{one.row.name}, seed {one.seed}: OUTDATED, not in the table: {'; '.join(changed)} in {one.folder}"
            print(f"{what}; repeat it by --retrain, or choose another --out", file=sys.stderr)
    return kept


def execute(run: Run, threads: int) -> str:
    """Train or score one run, unless it is done. Returns one line about it."""
    row, seed, folder = run.row, run.seed, run.folder
    if (folder / "results.json").exists():
        return f"{row.name}, seed {seed}: done before"
    command = [sys.executable, str(ROOT / "train.py"), "--work-dir", str(folder)]
    command += ["--config", *row.config] if row.config else []
    command += ["--set", f"train.seed={seed}", *row.assignments]
    if row.evaluate:
        command += ["--phase", "test", "--weights", str(run.trained.folder / "last.pt")]
    elif (folder / "config.yaml").exists():
        command.append("--resume")
    folder.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with folder.with_suffix(".log").open("a") as log:
        status = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log).returncode
    return f"{row.name}, seed {seed}: {'done' if status == 0 else f'FAILED, see {log.name}'}"


def figures(folder: Path) -> dict[str, float | None] | None:
    """The table's figures of a finished run, or None while it is not finished.

    Scores are in percent. "last quarter" is the gain in mAP over the last quarter of the epochs, "minutes" the time of
    training; they are None where they are not known.
    """
    if not (folder / "results.json").exists():
        return None
    results: dict[str, Any] = json.loads((folder / "results.json").read_bytes())
    corrected, gain, minutes = results["corrected"], None, None
    if (folder / "metrics.jsonl").exists():  # a row that is scored again has none
        epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        last, before = (epochs[i - 1].get("corrected") for i in (len(epochs), len(epochs) * 3 // 4))
        gain = last["mAP"] - before["mAP"] if last and before else None
        minutes = sum(row["seconds"] for row in epochs) / 60
    return {
        "mAP": corrected["mAP"],
        **{f"@{tiou}": corrected["mAP_at_tIoU"][tiou] for tiou in TIOUS},
        "released mAP": results["released"]["mAP"],
        "cls mAP": corrected["classification_mAP"],
        "frame acc": corrected["frame_accuracy"],
        **corrected["segmental_F1"],
        "last quarter": gain,
        "minutes": minutes,
    }


def table(rows: list[Row], runs: list[Run]) -> tuple[str, dict[str, dict[str, list[float | None]]]]:
    """The Markdown table of the runs, and the figures behind it by row, column and seed."""
    found: dict[str, dict[str, list[float | None]]] = {}
    for row in rows:
        done = [f for run in runs if run.row == row and (f := figures(run.folder))]
        if done:
            found[row.name] = {column: [f[column] for f in done] for column in done[0]}
    columns = list(next(iter(found.values()), {}))
    lines = ["| row | seeds | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for row in rows:
        values = found.get(row.name, {})
        cells = [_cell(values[column]) if values else "not measured" for column in columns]
        lines.append(f"| {row.name} | {len(values.get('mAP', []))} | " + " | ".join(cells) + " |")
    return "\n".join(lines), found


def of_task(task: str, rows: list[Row], seeds: list[int]) -> set[tuple[str, int]]:
    """The runs (row, seed) of task "I/N"; a row that is scored again belongs to the task that trains its weights.

    Raises UserError when the text names no task.
    """
    number, _, of = task.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise UserError(f"--task {task}: expected I/N, the I-th of N parts, from 1/N to N/N, as in --task 2/8")
    trained = list(dict.fromkeys((row.evaluate or row.name, seed) for seed in seeds for row in rows))
    own = trained[int(number) - 1 :: int(of)]
    return {(row.name, seed) for seed in seeds for row in rows if (row.evaluate or row.name, seed) in own}


def _cell(values: list[float | None]) -> str:
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
    add("--jobs", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    add("--threads", type=int, default=1, metavar="N", help="threads of each run (default: 1)")
    add("--only", nargs="+", metavar="ROW", help="only these rows (default: all)")
    add("--task", metavar="I/N", help="only the I-th of N parts of the runs (default: all)")
    add("--retrain", action="store_true", help="repeat runs whose row has changed since")
    add("--table-only", action="store_true", help="train nothing, print the table of the finished runs")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    rows = read_rows(args.list)
    names = [row.name for row in rows]
    for name in args.only or ():
        if name not in names:
            raise UserError(f"--only {name}: {nearest(name, names)}")
    out = args.out / args.list.stem
    chosen = [row for row in rows if not args.only or row.name in args.only]
    own = of_task(args.task or "1/1", chosen, args.seeds)
    everything = runs_of(rows, args.seeds, out)
    todo = [] if args.table_only else [one for one in everything if (one.row.name, one.seed) in own]
    wanted = todo if args.task else everything  # all of them are in the table
    runs = up_to_date(wanted, todo if args.retrain else [])
    failed = len(runs) < len(wanted)
    for again in (False, True):
        now = [one for one in runs if one in todo and bool(one.trained) == again]
        with ThreadPoolExecutor(max(1, args.jobs)) as pool:
            for line in pool.map(lambda one: execute(one, args.threads), now):
                failed |= "FAILED" in line
                print(line, file=sys.stderr, flush=True)
    if args.task:
        return int(failed)  # no table: other tasks may still be running; --table-only prints it afterwards
    text, found = table(rows, runs)
    print(text)
    if found:
        write_json(out / "table.json", found)
    return int(failed)


if __name__ == "__main__":
    run_command(main)
