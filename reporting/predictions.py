"""The files that prediction writes for a recording, and the check that they are complete and up to date.

docs/predict.md lists the files. prediction.json is written last and says what the others were made from.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from evaluation import detections
from evaluation.detections import Results
from evaluation.localization import Detections
from utils.atomic import whole_file, write_json, write_whole
from utils.skeleton import FPS

FORMAT = 2  # of these files; files of another format are written again
PREDICTION = "prediction.json"
COLUMNS = ("recording", "label", "start", "end", "score")


class PredictionFile(BaseModel):
    """prediction.json. made_from: options and inputs of a recording's files; files: the names of these files."""

    made_from: dict[str, Any] = {}
    files: list[Annotated[str, Field(pattern=r"^\w+\.\w+$")]] = []


class SegmentsFile(BaseModel):
    """The part of segments.json that is read again."""

    results: Results  # of the recording, or of each person in it


def read_prediction_file(path: Path) -> PredictionFile:
    """Read a prediction.json. If it is missing or damaged, the result lists no files."""
    try:
        return PredictionFile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return PredictionFile()


def finished(folder: Path, facts: dict[str, Any]) -> Results | None:
    """The segments in a recording's folder. None if it is incomplete or was made from other `facts`."""
    made = read_prediction_file(folder / PREDICTION)
    if not made.files or made.made_from != facts or not all((folder / name).is_file() for name in made.files):
        return None
    try:
        return SegmentsFile.model_validate_json((folder / "segments.json").read_bytes()).results
    except (OSError, ValidationError):
        return None


@contextmanager
def recording_folder(folder: Path, facts: dict[str, Any]) -> Iterator[list[str]]:
    """Context that prepares a recording's folder. The caller appends the name of each file it writes to the list.

    At the end, prediction.json is written. Files of an earlier command that are not in the list are deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_prediction_file(folder / PREDICTION).files
    (folder / PREDICTION).unlink(missing_ok=True)
    files: list[str] = []
    yield files
    write_json(folder / PREDICTION, {"made_from": facts, "files": files})
    for name in set(before) - set(files):
        (folder / name).unlink(missing_ok=True)


def write_segments(folder: Path, found: Detections, names: Sequence[str], classes: Sequence[str]) -> Results:
    """Write segments.json and segments.csv, best segments first. Returns the segments by name.

    The clips of `found` are `names`: a recording, or each person in it.
    """
    best = found.where(np.lexsort((found.segments[:, 0], -found.scores, found.clip)))
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
    write_rows(path, COLUMNS, rows)


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_whole(path, text.getvalue().encode("utf-8"))


def write_scores(path: Path, frame_probs: np.ndarray, video_probs: np.ndarray, classes: Sequence[str]) -> None:
    """Write scores.npz: class activation sequence, video probabilities, class names (background last), frame rate."""
    names = np.array([*classes, "background"])
    with whole_file(path) as file:
        np.savez(file, frame_probs=frame_probs, video_probs=video_probs, classes=names, fps=np.float64(FPS))


@contextmanager
def row_file(path: Path, rows: int, columns: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Write an .npy file (rows, columns) float32, a few rows at a time, so that memory does not grow with `rows`."""
    with whole_file(path) as file:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
        np.lib.format.write_array_header_1_0(file, shape)
        yield lambda some: file.write(np.ascontiguousarray(some, "<f4").tobytes())
