"""Train and score a list of configs × seeds, and print one table: mean ± standard deviation over the seeds.

    python benchmarks/accuracy.py benchmarks/ablation.yaml --seeds 5 6 7 --jobs 2
    python benchmarks/accuracy.py benchmarks/ablation.yaml --task 2/9       # the second ninth, on one of nine machines
    python benchmarks/accuracy.py benchmarks/ablation.yaml --table-only

A list is a YAML file: `common` settings of all rows, and `rows` by name. A row has `config` (layers) and `set`
(assignments), or `evaluate`: the name of a row whose last weights are scored again under this row's settings. Every run
has a folder of its own, <out>/<list>/<row>/seed<n>. Finished runs are not repeated, stopped ones are resumed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script

from utils.command_line import argument_parser  # first: utils says what to do if a package is missing

# isort: split
import numpy as np
import yaml

from utils.atomic import write_json
from utils.errors import UserError, nearest, run_command

ROOT = Path(__file__).parents[1]
ROW_KEYS = ("config", "set", "evaluate")
TIOUS = ("0.3", "0.5", "0.7")


class Row(NamedTuple):
    """A line of the table: config layers and assignments, or the row whose weights it scores again."""

    name: str
    config: list[str]
    assignments: list[str]
    evaluate: str | None


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


def run(row: Row, seed: int, out: Path, threads: int) -> str:
    """Train or score one run, unless it is done; returns one line about it."""
    folder = out / row.name / f"seed{seed}"
    if (folder / "results.json").exists():
        return f"{row.name}, seed {seed}: done before"
    command = [sys.executable, str(ROOT / "train.py"), "--work-dir", str(folder)]
    command += ["--config", *row.config] if row.config else []
    command += ["--set", f"train.seed={seed}", *row.assignments]
    if row.evaluate:
        command += ["--phase", "test", "--weights", str(out / row.evaluate / f"seed{seed}" / "last.pt")]
    elif (folder / "config.yaml").exists():
        command.append("--resume")
    folder.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with folder.with_suffix(".log").open("a") as log:
        status = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log).returncode
    return f"{row.name}, seed {seed}: {'done' if status == 0 else f'FAILED, see {log.name}'}"


def figures(folder: Path) -> dict[str, float | None] | None:
    """The table's figures of a finished run, in percent, and its minutes; None while it is not finished."""
    try:
        results: dict[str, Any] = json.loads((folder / "results.json").read_bytes())
    except FileNotFoundError:
        return None
    corrected, released = results["corrected"], results["released"]
    return {
        "mAP": corrected["mAP"],
        **{f"@{tiou}": corrected["mAP_at_tIoU"][tiou] for tiou in TIOUS},
        "released mAP": released["mAP"],
        "cls mAP": corrected["classification_mAP"],
        "frame acc": corrected["frame_accuracy"],
        **corrected["segmental_F1"],
        **training(folder),
    }


def training(folder: Path) -> dict[str, float | None]:
    """By how much mAP rose in the last quarter of a run's epochs, and the run's minutes; None where that is unknown."""
    try:
        epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    except FileNotFoundError:
        return {"last quarter": None, "minutes": None}
    last, before = (epochs[i - 1].get("corrected") for i in (len(epochs), len(epochs) * 3 // 4))
    gain = last["mAP"] - before["mAP"] if last and before else None
    return {"last quarter": gain, "minutes": sum(row["seconds"] for row in epochs) / 60}


def table(rows: list[Row], seeds: list[int], out: Path) -> tuple[str, dict[str, dict[str, list[float | None]]]]:
    """The Markdown table, and the figures behind it by row, column and seed."""
    found: dict[str, dict[str, list[float | None]]] = {}
    for row in rows:
        done = [f for seed in seeds if (f := figures(out / row.name / f"seed{seed}"))]
        if done:
            found[row.name] = {column: [f[column] for f in done] for column in done[0]}
    columns = list(next(iter(found.values()), {}))
    lines = ["| row | seeds | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for row in rows:
        values = found.get(row.name)
        cells = [_cell(values[column]) for column in columns] if values else ["not measured"] * len(columns)
        lines.append(f"| {row.name} | {len(values['mAP']) if values else 0} | " + " | ".join(cells) + " |")
    return "\n".join(lines), found


def of_task(task: str, rows: list[Row], seeds: list[int]) -> set[tuple[str, int]]:
    """The runs (row, seed) of task "I/N"; a row that is scored again belongs to the task that trains its weights.

    Raises:
        UserError: the text names no task.
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


def main() -> int:
    parser = argument_parser(__doc__, "python benchmarks/accuracy.py")
    parser.add_argument("list", type=Path, metavar="LIST.yaml", help="the list, such as benchmarks/ablation.yaml")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[5, 6, 7], metavar="SEED", help="of each row (default: 5 6 7)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "work_dir" / "accuracy",
        metavar="FOLDER",
        help="where the runs go (default: work_dir/accuracy)",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each run (default: 1)")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="only these rows (default: all)")
    parser.add_argument("--task", metavar="I/N", help="only the I-th of N parts of the runs (default: all)")
    parser.add_argument("--table-only", action="store_true", help="train nothing, print the table of the finished runs")
    args = parser.parse_args()
    rows = read_rows(args.list)
    names = [row.name for row in rows]
    for name in args.only or ():
        if name not in names:
            raise UserError(f"--only {name}: {nearest(name, names)}")
    out = args.out / args.list.stem
    chosen = [row for row in rows if not args.only or row.name in args.only]
    own = of_task(args.task or "1/1", chosen, args.seeds)
    failed = False
    for trains in (True, False):  # what is scored again has to be trained first
        runs = [(row, seed) for seed in args.seeds for row in chosen if (row.evaluate is None) == trains]
        runs = [] if args.table_only else [(row, seed) for row, seed in runs if (row.name, seed) in own]
        with ThreadPoolExecutor(max(1, args.jobs)) as pool:
            for line in pool.map(lambda r: run(*r, out, args.threads), runs):
                failed |= "FAILED" in line
                print(line, file=sys.stderr, flush=True)
    if args.task:
        return int(failed)  # the last task to end prints no table either: others may be running
    text, found = table(rows, args.seeds, out)
    print(text)
    if found:
        write_json(out / "table.json", found)
    return int(failed)


if __name__ == "__main__":
    run_command(main)
