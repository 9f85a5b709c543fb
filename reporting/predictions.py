"""The files that prediction writes: a folder for each recording, and the tables of all recordings in --out.

docs/predict.md lists the files. In a recording's folder, prediction.json is written last. It has the recording's path,
so that later commands use the same folder for it, and the options and inputs from which the other files were made.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from evaluation import detections
from evaluation.detections import DetectionsFile, Results, write_results
from evaluation.localization import Detections
from utils.atomic import write_csv, write_json
from utils.errors import UserError, printable_name

FORMAT = 2  # of these files. Those of another format are refused, unless their recordings are given again
PREDICTION = "prediction.json"
# Files of a recording besides prediction.json
OF_PERSON = r"player\.json|time_line\.png|features\.npy|scores\.npz|animation\.(gif|mp4)"
RESULT = re.compile(rf"segments\.(json|csv)|(person\d+_)?({OF_PERSON})")
# Names that no folder of a recording gets: those of files, and those of people in segments.json (walk:person2)
RESERVED = re.compile(rf"{RESULT.pattern}|prediction\.json|failed\.csv|player\.html|.*\.tmp|.*:person\d+")
SHARED_FACTS = ("weights", "format")  # facts that all recordings in a folder share


class PredictionFile(BaseModel):
    """prediction.json. made_from: options and inputs of a recording's files; files: the names of these files."""

    made_from: dict[str, Any] = {}
    files: list[Annotated[str, Field(pattern=r"^\w+\.\w+$")]] = Field(min_length=1)


def read_finished(folder: Path, facts: dict[str, Any]) -> Results | None:
    """The segments in a recording's folder. None if it is incomplete or was made from other `facts`."""
    made, segments = _read(folder / PREDICTION, PredictionFile), _read(folder / "segments.json", DetectionsFile)
    if made and segments and made.made_from == facts and all((folder / name).is_file() for name in made.files):
        return segments.model_dump()["results"]
    return None


def _read(path: Path, model: type[BaseModel]) -> Any:
    """The content of a JSON file; None if the file is missing or damaged."""
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


@contextmanager
def recording_folder(folder: Path, facts: dict[str, Any]) -> Iterator[list[str]]:
    """Context that prepares a recording's folder. The caller appends the name of each file it writes to the list.

    At the end, prediction.json is written. Files of earlier commands that are not in the list are deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PREDICTION).unlink(missing_ok=True)
    files: list[str] = []
    yield files
    write_json(folder / PREDICTION, {"made_from": facts, "files": files})
    for path in folder.iterdir():
        if RESULT.fullmatch(path.name) and path.name not in files and path.is_file():
            path.unlink()


def write_segments(folder: Path, found: Detections, names: Sequence[str], classes: Sequence[str]) -> Results:
    """Write segments.json and segments.csv, best segments first. Returns the segments by name.

    names: of each clip, the recording or one of its people.
    """
    best = found.select(np.lexsort((found.segments[:, 0], -found.scores, found.clip)))
    results = detections.write(folder / "segments.json", best, names, classes)
    write_table(folder / "segments.csv", results)
    return results


def write_table(path: Path, results: Results) -> None:
    """Write segments as CSV, one line each."""
    rows = [
        (name, s["label"], f"{s['segment'][0]:.3f}", f"{s['segment'][1]:.3f}", f"{s['score']:.4f}")
        for name, segments in results.items()
        for s in segments
    ]
    write_csv(path, ("recording", "label", "start", "end", "score"), rows)


class PredictionSet:
    """The recordings in the folder `out`. The caller holds its lock.

    command_facts: facts of this command, which its recordings share. prediction.json has these, and the recording's
    own: its file, size and time. A recording belongs to the set if its SHARED_FACTS equal those of this command.
    """

    def __init__(self, out: Path, command_facts: dict[str, Any]) -> None:
        self.out, self.command_facts = out, command_facts
        self.failed: list[tuple[str, str, str]] = []  # name, reason and file of recordings of this command

    def assign_names(self, inputs: list[tuple[str, Path]]) -> dict[str, Path]:
        """Choose a name below `out` for each recording: {name: file}, sorted. `inputs`: (wanted path, file) of each.

        The suffix is left out. A recording that is already in the folder keeps its name. If another recording has the
        name, a number is added, as in walk-2. Raises UserError when the folder holds other recordings, which another
        checkpoint made.
        """
        stored = self._stored()
        known = {made.made_from.get("file"): name for name, made in stored.items()}
        names = {}
        for wanted, path in inputs:
            file = file_of(path)
            if file not in known:
                known[file] = self._free(wanted.removesuffix(path.suffix), set(known.values()))
            names[known[file]] = path
        others = [name for name, made in stored.items() if name not in names and not self._belongs(made)]
        if others:
            # Earlier versions did not store the file of a recording, so it would get another name
            recognized = all("file" in stored[name].made_from for name in others)
            remedy = ", or give their files too, so that they are made again" if recognized else ""
            raise UserError(
                f"{self.out}: {len(others)} recordings in it, such as {others[0]}, were made by another checkpoint or "
                f"version: choose another --out{remedy}"
            )
        return dict(sorted(names.items()))

    def add_failure(self, name: str, path: Path, reason: str) -> None:
        """Note why a recording failed. Its results by an earlier command become invalid."""
        (self.out / name / PREDICTION).unlink(missing_ok=True)
        self.failed.append((name, reason, file_of(path)))

    def finished_results(self) -> dict[str, Results]:
        """The segments of each recording that is complete and belongs to this set, by name, sorted."""
        return {
            name: results
            for name, made in self._stored().items()
            if self._belongs(made) and (results := read_finished(self.out / name, made.made_from)) is not None
        }

    def write_summary_files(self) -> Results:
        """Write segments.json, segments.csv and failed.csv. Returns the segments of all recordings."""
        results: Results = {}
        for found in self.finished_results().values():
            results |= found
        write_results(self.out / "segments.json", results)
        write_table(self.out / "segments.csv", results)
        write_csv(self.out / "failed.csv", ("recording", "reason", "file"), self.failed)
        return results

    def _stored(self) -> dict[str, PredictionFile]:
        """The recordings whose results are in the folder now, by name, sorted."""
        names = sorted(path.parent.relative_to(self.out).as_posix() for path in self.out.rglob(PREDICTION))
        return {name: made for name in names if (made := _read(self.out / name / PREDICTION, PredictionFile))}

    def _belongs(self, made: PredictionFile) -> bool:
        return all(made.made_from.get(fact) == self.command_facts[fact] for fact in SHARED_FACTS)

    def _free(self, name: str, taken: set[str]) -> str:
        name = "/".join(f"{part}-2" if RESERVED.fullmatch(part) else part for part in name.split("/"))
        candidates = (name if number == 1 else f"{name}-{number}" for number in count(1))
        return next(c for c in candidates if c not in taken and not (self.out / c).is_file())


def file_of(path: Path) -> str:
    """The file of a recording, which tells it from others: its path without links."""
    return printable_name(os.path.realpath(path))
