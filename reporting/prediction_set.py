"""The folder --out of prediction. Each command adds its recordings, and the summary files contain all of them.

A recording keeps its name from one command to the next: prediction.json and failed.csv say which file it belongs to.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

from evaluation.detections import Results, write_results
from reporting import predictions
from reporting.predictions import PREDICTION, PredictionFile
from utils.errors import UserError
from utils.text import printable_bytes

FAILED_COLUMNS = ("recording", "reason", "file")
SUMMARY_FILES = ("segments.json", "segments.csv", "failed.csv")
SAME = ("weights", "format")  # facts that all recordings in a folder share


class PredictionSet:
    """The recordings in a folder of predictions.

    Args:
        out: the folder, which no other command writes to.
        made_with: facts of this command, as in prediction.json; those in `SAME` decide which recordings belong to it.
    """

    def __init__(self, out: Path, made_with: dict[str, Any]) -> None:
        self.out, self.made_with = out, made_with
        self.failed = _read_failed(out / "failed.csv")  # file: name and reason

    def names(self, inputs: list[tuple[str, Path]]) -> dict[str, Path]:
        """The name of each recording below `out`, sorted. `inputs`: the path that it should have, and its file.

        The suffix is left out, unless two recordings differ only by it. A recording that is already in the folder keeps
        its name. If another recording has the name, a number is added, as in walk-2.

        Raises:
            UserError: the folder holds other recordings, which another checkpoint made.
        """
        stored = self._stored()
        known = {made.made_from.get("file"): name for name, made in stored.items()}
        known |= {file: name for file, (name, _) in self.failed.items()}
        alike = Counter(_without_suffix(wanted) for wanted in {wanted for wanted, _ in inputs})
        names = {}
        for wanted, path in inputs:
            plain = _without_suffix(wanted)
            file = file_of(path)
            if file not in known:
                known[file] = self._free(wanted if alike[plain] > 1 else plain, set(known.values()))
            names[known[file]] = path
        others = [name for name, made in stored.items() if name not in names and not self._belongs(made)]
        if others:
            raise UserError(
                f"{self.out}: {len(others)} recordings in it, such as {others[0]}, were made by another checkpoint or "
                "version: choose another --out, or give their files too, so that they are made again"
            )
        return dict(sorted(names.items()))

    def done(self, path: Path) -> None:
        """Note that the recording at `path` is complete."""
        self.failed.pop(file_of(path), None)

    def fail(self, name: str, path: Path, reason: str) -> None:
        """Note why a recording failed. Its results by an earlier command become invalid."""
        (self.out / name / PREDICTION).unlink(missing_ok=True)
        self.failed[file_of(path)] = name, reason

    def complete(self) -> dict[str, Results]:
        """The segments of each recording that is complete and belongs to this set, by name, sorted."""
        stored = {name: made.made_from for name, made in self._stored().items() if self._belongs(made)}
        found = {name: predictions.finished(self.out / name, facts) for name, facts in stored.items()}
        return {name: results for name, results in found.items() if results is not None}

    def write_summary_files(self) -> Results:
        """Write segments.json, segments.csv and failed.csv. Returns the segments of all recordings."""
        results: Results = {}
        for found in self.complete().values():
            results |= found
        write_results(self.out / "segments.json", results)
        predictions.write_table(self.out / "segments.csv", results)
        rows = sorted((name, reason, file) for file, (name, reason) in self.failed.items())
        predictions.write_rows(self.out / "failed.csv", FAILED_COLUMNS, rows)
        return results

    def _stored(self) -> dict[str, PredictionFile]:
        """The recordings that earlier commands made, by name, sorted."""
        marks = {path.parent.relative_to(self.out).as_posix(): path for path in self.out.rglob(PREDICTION)}
        stored = {name: predictions.read_prediction_file(marks[name]) for name in sorted(marks)}
        return {name: made for name, made in stored.items() if made.files}

    def _belongs(self, made: PredictionFile) -> bool:
        return all(made.made_from.get(fact) == self.made_with[fact] for fact in SAME)

    def _free(self, name: str, taken: set[str]) -> str:
        candidates = (name if number == 1 else f"{name}-{number}" for number in count(1))
        return next(c for c in candidates if c not in {*taken, *SUMMARY_FILES} and not (self.out / c).is_file())


def file_of(path: Path) -> str:
    """The file of a recording, which tells it from others: its path without links."""
    return printable_bytes(os.path.realpath(path))


def _without_suffix(name: str) -> str:
    return name.removesuffix(Path(name).suffix)


def _read_failed(path: Path) -> dict[str, tuple[str, str]]:
    """The recordings that failed in earlier commands, by file, with name and reason. Deleted files are left out."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(FAILED_COLUMNS)][1:]
    return {source: (name, reason) for name, reason, source in rows if Path(source).exists()}
