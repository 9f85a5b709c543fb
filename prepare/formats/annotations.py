"""Annotations of any recordings: a CSV table, or ActivityNet's ground-truth JSON (Caba Heilbron et al., CVPR 2015).

A table has the columns recording, subset, label, start and end. Times are seconds. A row without times is a video-level
label: the recording contains the action at an unknown time.

    recording,subset,label,start,end
    walks/anna_01,train,walk,0.5,3.2
    walks/anna_02,train,wave,,

In the JSON, `database` maps the name of each recording to its subset, duration in seconds (optional) and annotations,
each with a label and a segment (optional): {"database": {"walks/anna_01": {"subset": "training", "annotations":
[{"label": "walk", "segment": [0.5, 3.2]}]}}}.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from prepare.formats.files import read_text
from utils.atomic import write_whole
from utils.errors import UserError, first_problem, shown
from utils.json_text import parse_json

COLUMNS = ("recording", "subset", "label", "start", "end")
SUBSET_NAMES = {"train": "train", "training": "train", "val": "val", "validation": "val", "test": None, "testing": None}
MAX_SECONDS = 1e6

Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Entries(BaseModel):
    """Entries of the JSON file that are used; others are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, str_strip_whitespace=True)


class Segment(Entries):
    """`annotations` of a recording: a label, and its time unless it is a video-level label."""

    label: Text
    segment: Annotated[list[Seconds], Field(min_length=2, max_length=2)] | None = None


class Entry(Entries):
    """A recording in `database`."""

    subset: str
    duration: Annotated[Seconds, Field(gt=0)] | None = None
    annotations: list[Segment] = []


DATABASE = TypeAdapter(dict[Text, Entry])


@dataclass(frozen=True)
class Label:
    """An action in a recording, from `start` to `end` in seconds; both are None for a video-level label."""

    name: str
    start: float | None
    end: float | None
    place: str  # where the file says so, such as "row 7"


@dataclass(frozen=True)
class Recording:
    """The annotations of one recording. duration: seconds, if the file gives it."""

    name: str
    subset: str  # train or val
    duration: float | None = None
    labels: list[Label] = field(default_factory=list)


def read_annotations(path: Path) -> tuple[list[Recording], int]:
    """The training and validation recordings in the order of the file, and the number of test recordings.

    Raises UserError, which names the row and the remedy, for anything that is not as the module says.
    """
    text = read_text(path, "annotations as .csv in UTF-8 or as .json")
    entries = _json_entries(text, path) if path.suffix.lower() == ".json" else _csv_entries(text, path)
    recordings: dict[str, Recording] = {}
    tests: set[str] = set()
    for name, subset, duration, labels in entries:
        place = labels[0].place if labels else f"recording {shown(name)}"
        if subset.strip().lower() not in SUBSET_NAMES:
            raise UserError(f"{path}: {place}: the subset is {shown(subset)}, expected train or val")
        subset = SUBSET_NAMES[subset.strip().lower()]
        if subset is None:
            tests.add(name)
            continue
        recording = recordings.setdefault(name, Recording(name, subset, duration))
        if recording.subset != subset:
            raise UserError(f"{path}: {place}: the recording {shown(name)} is in train and in val; choose one")
        for label in labels:
            _check(label, recording, path)
        recording.labels.extend(labels)
    if not recordings:
        raise UserError(f"{path}: holds no training or validation recording")
    return list(recordings.values()), len(tests)


def write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    """Write a table of annotations; each row has the values of COLUMNS."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    write_whole(path, text.getvalue().encode())


def _check(label: Label, recording: Recording, path: Path) -> None:
    if label.start is None and recording.subset == "val":
        raise UserError(
            f"{path}: {label.place}: the validation recording {shown(recording.name)} has the label "
            f"{shown(label.name)} without times. Validation compares times: add them, or move the recording to train"
        )
    if label.start is not None and label.end <= label.start:
        raise UserError(
            f"{path}: {label.place}: the segment ends at {label.end:g} s, before its start {label.start:g} s"
        )


Rows = Iterator[tuple[str, str, float | None, list[Label]]]


def _json_entries(text: str, path: Path) -> Rows:
    """Name, subset, duration and labels of each recording in an ActivityNet file."""
    try:
        content = parse_json(text)
        if not isinstance(content, dict) or "database" not in content:
            raise ValueError('it has no entry "database"')
        database = DATABASE.validate_python(content["database"])
    except ValidationError as error:
        raise UserError(f"{path}: is not ActivityNet's ground truth: database.{first_problem(error)}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not ActivityNet's ground truth in JSON ({error})") from None
    for name, entry in database.items():
        labels = []
        for number, found in enumerate(entry.annotations, start=1):
            start, end = found.segment or (None, None)
            labels.append(Label(found.label, start, end, f"annotation {number} of {shown(name)}"))
        yield name, entry.subset, entry.duration, labels


def _csv_entries(text: str, path: Path) -> Rows:
    """Name, subset, no duration and the one label of each row of a table."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        if set(header) != set(COLUMNS) or len(header) != len(COLUMNS):
            found = shown(",".join(header))
            remedy = "; its columns are not separated by commas" if len(header) == 1 else ""
            raise UserError(f"{path}: the first row is {found}, expected {','.join(COLUMNS)}{remedy}")
        for number, cells in enumerate(rows, start=2):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(COLUMNS):
                remedy = "write 0.5 instead of 0,5, and put text with a comma between quotes"
                raise UserError(f"{path}: row {number} has {len(cells)} cells, expected {len(COLUMNS)}: {remedy}")
            row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            for column in ("recording", "label"):
                if not row[column]:
                    raise UserError(f"{path}: row {number}: the {column} is empty")
            start, end = (_seconds(row[column], f"{path}: row {number}: {column}") for column in ("start", "end"))
            if (start is None) != (end is None):
                raise UserError(f"{path}: row {number}: has only one of start and end; give both, or none")
            yield row["recording"], row["subset"], None, [Label(row["label"], start, end, f"row {number}")]
    except csv.Error as error:
        raise UserError(f"{path}: row {rows.line_num} is no row of a CSV table ({error})") from None


def _seconds(cell: str, where: str) -> float | None:
    """A cell's number of seconds; None if it is empty."""
    if not cell:
        return None
    try:
        seconds = float(cell)
    except ValueError:
        hint = "; write the decimal point as a point" if "," in cell else ""
        raise UserError(f"{where} is {shown(cell)}, expected seconds such as 3.2{hint}") from None
    if not 0 <= seconds <= MAX_SECONDS:
        raise UserError(f"{where} is {cell}, expected seconds from 0 to {MAX_SECONDS:g}")
    return seconds
