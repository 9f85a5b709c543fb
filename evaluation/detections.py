"""Detections as files in ActivityNet's format."""

import textwrap
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote

import numpy as np
from pydantic import AfterValidator, FailFast, Field, TypeAdapter

from evaluation.localization import Detections
from utils.atomic import write_json
from utils.errors import UserError, composed, nearest, shown
from utils.files import PartialModel, read_json
from utils.skeleton import FPS

LONGEST_NAME = 200  # characters of `escaped_name`; names of files have at most 255
ROUNDING = 1e-6  # frames; a time this close to the edge of a frame is that edge

Number = Annotated[float, Field(gt=-1e12, lt=1e12, allow_inf_nan=False)]


def _ordered(segment: list[float]) -> list[float]:
    if not 0 <= segment[0] <= segment[1]:
        raise ValueError(f"found {segment}, expected 0 <= start <= end, in seconds")
    return segment


class Detection(PartialModel):
    """One detection."""

    label: str  # the name of a class
    score: Number
    segment: Annotated[list[Number], Field(min_length=2, max_length=2), AfterValidator(_ordered)]  # seconds


class DetectionsFile(PartialModel):
    """ActivityNet's detection format: a list of detections by the clip's name."""

    results: dict[str, Annotated[list[Detection], FailFast()]]


EXPECTED = 'ActivityNet\'s format, such as {"results": {"clip": [{"label": "run", "score": 0.9, "segment": [0.5, 2]}]}}'
Results = dict[str, list[dict[str, Any]]]  # label, score and segment of each detection, by the clip's name


def write(path: Path, detections: Detections, names: Sequence[str], classes: Sequence[str]) -> Results:
    """Write detections and return them by name. Clips without one get an empty list. `names[n]` is that of clip n."""
    results: Results = {name: [] for name in names}
    columns = (detections.clip, detections.label, detections.scores, detections.segments / FPS)
    for clip, label, score, segment in zip(*(column.tolist() for column in columns), strict=True):
        results[names[clip]].append({"label": classes[label], "score": score, "segment": segment})
    write_results(path, results)
    return results


def write_results(path: Path, results: Results) -> None:
    """Write detections by the clip's name."""
    write_json(path, {"version": "1.0", "results": results, "external_data": {}})


def escaped_name(clip_id: str) -> str:
    """The name of a clip in files of features: escaped as in URLs. The end of a long name is replaced by a hash."""
    name = quote(clip_id, safe="")
    return name if len(name) <= LONGEST_NAME else f"{name[:180]}~{sha256(clip_id.encode()).hexdigest()[:16]}"


def read(path: Path, names: Sequence[str], classes: Sequence[str]) -> Detections:
    """Read detections; seconds become frames. `names[n]` is that of clip n. Accented letters may have any form.

    Raises UserError when the file is missing, too large or not of this format, or names an unknown clip or class.
    """
    clips = {escaped_name(name): index for index, name in enumerate(names)} | _indices(names)
    labels = _indices(classes)
    rows = []
    file: DetectionsFile = read_json(path, TypeAdapter(DetectionsFile), EXPECTED)
    for given, entries in file.results.items():
        clip = _index(given, clips)
        if clip is None:
            hint = textwrap.shorten(nearest(unquote(given)[:100], list(names)[:10_000]), 300, placeholder=" ...")
            raise UserError(f"{path}: clip {shown(given)} is unknown; {hint}")
        for number, entry in enumerate(entries):
            label = _index(entry.label, labels)
            if label is None:
                where, hint = f"{path}: clip {given!r}, detection {number}", nearest(entry.label[:100], list(classes))
                raise UserError(f"{where} has the unknown label {shown(entry.label)}; {hint}")
            rows.append((clip, label, *entry.segment, entry.score))
    clip, label, start, end, scores = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    frames = np.stack([start, end], axis=1) * FPS
    whole = np.round(frames)
    return Detections.of(clip, label, np.where(np.abs(frames - whole) < ROUNDING, whole, frames), scores)


def _indices(names: Sequence[str]) -> dict[str, int]:
    """The index of each name, under the name itself and with its accented letters as one character."""
    index = {name: number for number, name in enumerate(names)}
    return {composed(name): number for name, number in index.items()} | index


def _index(name: str, indices: dict[str, int]) -> int | None:
    return indices.get(name, indices.get(composed(name)))
