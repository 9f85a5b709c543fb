"""The files that prediction writes for a recording, and how a later run knows that they are complete.

segments.json    ActivityNet's format, seconds      scores.npz       frame and video probabilities
segments.csv     the same as a table                features.npy     backbone features, one row a frame
time_line.png    what was found, and when           animation.gif    the skeleton with what it does; or .mp4
prediction.json  what the other files were made from

With several people in a recording, each has pictures, scores and features of its own: person2_time_line.png.
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
from evaluation.localization import Detections
from utils.atomic import whole_file, write_json, write_whole
from utils.skeleton import FPS

FORMAT = 1  # of these files; results of another format are made anew
MARK = "prediction.json"
COLUMNS = ("recording", "label", "start", "end", "score")
Results = dict[str, list[dict[str, Any]]]  # segments of each recording, or of each person in it


class Mark(BaseModel):
    """prediction.json. made_from: options and inputs of a recording's files; files: the names of these files."""

    made_from: dict[str, Any] = {}
    files: list[Annotated[str, Field(pattern=r"^\w+\.\w+$")]] = []


class SegmentsFile(BaseModel):
    """segments.json, as far as it is read again."""

    results: Results


def finished(folder: Path, facts: dict[str, Any]) -> Results | None:
    """The segments in a recording's folder, if it is complete and was made from the same `facts`; else None."""
    mark = _read_mark(folder)
    if not mark.files or mark.made_from != facts or not all((folder / name).is_file() for name in mark.files):
        return None
    try:
        return SegmentsFile.model_validate_json((folder / "segments.json").read_bytes()).results
    except (OSError, ValidationError):
        return None


@contextmanager
def complete(folder: Path, facts: dict[str, Any]) -> Iterator[list[str]]:
    """A folder for a recording's files. The caller appends the names of the files to the list.

    The mark is written at the end. Files of an earlier run that this one did not write are deleted then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = _read_mark(folder).files
    (folder / MARK).unlink(missing_ok=True)
    files: list[str] = []
    yield files
    write_json(folder / MARK, {"made_from": facts, "files": files})
    for name in set(before) - set(files):
        (folder / name).unlink(missing_ok=True)


def write_segments(folder: Path, found: Detections, names: Sequence[str], classes: Sequence[str]) -> Results:
    """Write detections in the recordings or people `names` as JSON and CSV, best first; returns the JSON's results."""
    best = found.where(np.lexsort((found.segments[:, 0], -found.scores, found.clip)))
    detections.write(folder / "segments.json", best, names, classes)
    results = SegmentsFile.model_validate_json((folder / "segments.json").read_bytes()).results
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
    """Write class activation sequence and video probabilities, background last, with class names and frame rate."""
    names = np.array([*classes, "background"])
    with whole_file(path) as file:
        np.savez(file, frame_probs=frame_probs, video_probs=video_probs, classes=names, fps=np.float64(FPS))


@contextmanager
def row_file(path: Path, rows: int, columns: int) -> Iterator[Callable[[np.ndarray], None]]:
    """An .npy file (rows, columns) float32 that is written some rows at a time, so that its length costs no memory."""
    with whole_file(path) as file:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
        np.lib.format.write_array_header_1_0(file, shape)
        yield lambda some: file.write(np.ascontiguousarray(some, "<f4").tobytes())


def running_labels(found: Detections, frames: int, classes: Sequence[str]) -> list[str]:
    """For each of `frames` the class and score of the best detection that covers it, or an empty text."""
    texts = [""] * frames
    for i in np.argsort(found.scores, kind="stable"):  # better ones overwrite
        start, end = found.segments[i].astype(np.int64)
        texts[start:end] = [f"{classes[found.label[i]]} {found.scores[i]:.2f}"] * len(texts[start:end])
    return texts


def _read_mark(folder: Path) -> Mark:
    """A recording's mark; an empty one when it is missing or damaged."""
    try:
        return Mark.model_validate_json((folder / MARK).read_bytes())
    except (OSError, ValidationError):
        return Mark()
