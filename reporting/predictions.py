"""What prediction writes of one recording, how a later run knows that it is complete, and all recordings together.

segments.json    ActivityNet's format, seconds      scores.npz       frame and video probabilities
segments.csv     the same as a table                features.npy     the backbone's, one row a frame
time_line.png    what was found, and when           animation.gif    the skeleton with what it does; or .mp4
prediction.json  what these were made from

With several people in a recording, pictures, scores and features are there once for each: person2_time_line.png.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from evaluation import detections
from evaluation.localization import Detections
from reporting.time_lines import time_line
from utils.atomic import whole_file, write_json, write_whole
from utils.skeleton import FPS

FORMAT = 1  # of these files; a change makes a later run do everything anew
MARK = "prediction.json"
COLUMNS = ("recording", "label", "start", "end", "score")
Results = dict[str, list[dict[str, Any]]]  # segments of each recording, or of each person in it


def finished(folder: Path, facts: dict[str, Any]) -> Results | None:
    """What a recording's folder says, if it is complete and was made from the same `facts`; else None."""
    mark = _mark(folder)
    try:
        if mark["made_from"] != facts or not all((folder / name).is_file() for name in mark["files"]):
            return None
        return dict(json.loads((folder / "segments.json").read_bytes())["results"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


@contextmanager
def complete(folder: Path, facts: dict[str, Any]) -> Iterator[list[str]]:
    """A folder for a recording's files, whose names go on the list that it gives.

    Its mark is written when all is done, and files of an earlier run that this one did not write go then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = _mark(folder).get("files", [])
    (folder / MARK).unlink(missing_ok=True)
    files: list[str] = []
    yield files
    write_json(folder / MARK, {"made_from": facts, "files": files})
    for name in set(before) - set(files):
        (folder / Path(name).name).unlink(missing_ok=True)


def write_segments(folder: Path, found: Detections, names: Sequence[str], classes: Sequence[str]) -> Results:
    """Write detections in the recordings or people `names` as JSON and CSV, best first; returns what the JSON says."""
    best = found.where(np.lexsort((found.segments[:, 0], -found.scores, found.clip)))
    detections.write(folder / "segments.json", best, names, classes)
    results = json.loads((folder / "segments.json").read_bytes())["results"]
    write_table(folder / "segments.csv", results)
    return results


def write_table(path: Path, results: Results) -> None:
    """Write segments as CSV, a line for each."""
    rows = [
        (name, s["label"], f"{s['segment'][0]:.3f}", f"{s['segment'][1]:.3f}", f"{s['score']:.4f}")
        for name, segments in results.items()
        for s in segments
    ]
    write_rows(path, COLUMNS, rows)


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file, whole."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_whole(path, text.getvalue().encode("utf-8"))


def write_picture(
    path: Path,
    name: str,
    found: Detections,
    frame_probs: np.ndarray,
    first: int,
    classes: Sequence[str],
    thresholds: Sequence[float],
) -> None:
    """Write the time line of somebody who is there from frame `first` on; `found` counts from the file's start."""
    probs = np.pad(frame_probs, ((first, 0), (0, 0)), constant_values=np.nan)
    with whole_file(path) as file:
        time_line(name, None, found, probs, classes, thresholds).savefig(file, format="png")


def write_scores(path: Path, frame_probs: np.ndarray, video_probs: np.ndarray, classes: Sequence[str]) -> None:
    """Write probabilities, background last, with the names of the classes and the frame rate."""
    with whole_file(path) as file:
        np.savez(
            file,
            frame_probs=frame_probs,
            video_probs=video_probs,
            classes=np.array([*classes, "background"]),
            fps=np.float64(FPS),
        )


@contextmanager
def row_file(path: Path, rows: int, columns: int) -> Iterator[Callable[[np.ndarray], None]]:
    """An .npy file (rows, columns) float32 to be written a few rows at a time, so that its length costs no memory."""
    with whole_file(path) as file:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
        np.lib.format.write_array_header_1_0(file, shape)
        yield lambda some: file.write(np.ascontiguousarray(some, "<f4").tobytes())


def running_labels(found: Detections, frames: int, classes: Sequence[str]) -> list[str]:
    """For each of `frames` the class and score of the best detection there, or nothing."""
    best = np.full(frames, -1)
    order = np.argsort(found.scores, kind="stable")
    for i in order:
        start, end = found.segments[i].astype(np.int64)
        best[start:end] = i
    texts = [f"{classes[label]} {score:.2f}" for label, score in zip(found.label, found.scores, strict=True)]
    return [texts[i] if i >= 0 else "" for i in best]


def _mark(folder: Path) -> dict[str, Any]:
    """A recording's mark; nothing when it is missing or damaged."""
    try:
        mark = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    files = mark.get("files") if isinstance(mark, dict) else None
    sound = isinstance(files, list) and all(isinstance(name, str) and name for name in files)
    return mark if sound else {}
