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

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints, TypeAdapter, ValidationError

from prepare.formats.labels import ONE_LINE, AnnotatedClip, Label
from utils.errors import UserError, first_problem, shown
from utils.files import PartialModel, read_json, read_text
from utils.skeleton import FPS

COLUMNS = ("recording", "subset", "label", "start", "end")
LONG_NAMES = {"training": "train", "validation": "val", "testing": "test"}
ACTIVITYNET = 'ActivityNet\'s ground truth, such as {"database": {"anna": {"subset": "training", "annotations": []}}}'
ROUNDING = 4e-4  # seconds; the time of a frame, rounded to milliseconds, changes by at most a third of one


def _short_subset(name: Any) -> str:
    name = str(name).strip().lower()
    return LONG_NAMES.get(name, name)


def _unrounded(seconds: float) -> float:
    """The time of a frame, if `seconds` may be this time rounded; else `seconds`."""
    frame = round(seconds * FPS) / FPS
    return frame if abs(frame - seconds) < ROUNDING else seconds


Subset = Annotated[Literal["train", "val", "test"], BeforeValidator(_short_subset)]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False), AfterValidator(_unrounded)]
Cell = Annotated[Seconds | None, BeforeValidator(lambda text: text.strip() or None)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
LabelText = Annotated[Text, ONE_LINE]
# Name of a recording in JSON. Spaces around it stay, because without them two names could become one
Key = Annotated[str, Field(min_length=1, max_length=500)]


class Row(BaseModel):
    """A row of the table. Times are seconds, or None if the cell is empty."""

    recording: Text
    subset: Subset
    label: LabelText
    start: Cell
    end: Cell


class Annotation(PartialModel):
    """A label of a recording, and its time unless it is a video-level label."""

    label: LabelText
    segment: Annotated[list[Seconds], Field(min_length=2, max_length=2)] | None = None


class Recording(PartialModel):
    """A recording in `database`."""

    subset: Subset
    duration: Annotated[Seconds, Field(gt=0)] | None = None
    annotations: list[Annotation] = []


class GroundTruth(PartialModel):
    """The JSON file."""

    database: dict[Key, Recording]


def read_annotations(path: Path) -> tuple[list[AnnotatedClip], list[AnnotatedClip]]:
    """The training and validation recordings in the order of the file, and the test recordings.

    Raises UserError when the file differs from the layout above. Most messages name the place in the file.
    """
    rows = _read_json(path) if path.suffix.lower() == ".json" else _read_table(path)
    recordings: dict[str, AnnotatedClip] = {}
    for row in rows:  # several rows may have labels of one recording
        recording = recordings.setdefault(row.sid, replace(row, labels=[]))
        for label in row.labels:
            where, of_recording = f"{path}: {label.where}", f"the recording {shown(row.sid)}"
            if row.subset != recording.subset:  # checked for each label, because the message names its place
                raise UserError(f"{where}: {of_recording} is in {recording.subset} and in {row.subset}; choose one")
            if label.start is None and row.subset == "val":
                raise UserError(
                    f"{where}: the label {shown(label.names[0])} of {of_recording} has no times. "
                    "Validation compares times: add them, or move the recording to train"
                )
            if label.start is not None and label.end <= label.start:
                segment = f"the segment from {label.start:g} to {label.end:g} s"
                raise UserError(f"{where}: {segment} does not end after its start")
        recording.labels.extend(row.labels)
    used = [recording for recording in recordings.values() if recording.subset != "test"]
    if not used:
        raise UserError(f"{path}: holds no training or validation recording")
    return used, [recording for recording in recordings.values() if recording.subset == "test"]


def _read_json(path: Path) -> Iterator[AnnotatedClip]:
    """The recordings of an ActivityNet file."""
    content: GroundTruth = read_json(path, TypeAdapter(GroundTruth), ACTIVITYNET)
    for name, recording in content.database.items():
        labels = [
            Label((annotation.label,), *(annotation.segment or (None, None)), f"annotation {number} of {shown(name)}")
            for number, annotation in enumerate(recording.annotations, start=1)
        ]
        yield AnnotatedClip(name, recording.subset, name, labels, recording.duration)


def _read_table(path: Path) -> Iterator[AnnotatedClip]:
    """A recording with one label from each row of a table."""
    text = read_text(path, "annotations as .csv in UTF-8 or as .json")
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        if sorted(header) != sorted(COLUMNS):
            more = [name for name in header if name not in COLUMNS]
            remedy = f"; remove {shown(', '.join(more))}" if set(COLUMNS) <= set(header) and more else ""
            found = shown(",".join(header))
            expected = f"{','.join(COLUMNS)}, separated by commas{remedy}"
            raise UserError(f"{path}: the first row is {found}, expected {expected}")
        for number, cells in enumerate(rows, start=2):
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(COLUMNS):
                remedy = "write 0.5 instead of 0,5, and put text with a comma between quotes"
                raise UserError(f"{path}: row {number} has {len(cells)} cells, expected {len(COLUMNS)}: {remedy}")
            try:
                row = Row(**dict(zip(header, cells, strict=True)))
            except ValidationError as error:
                raise UserError(f"{path}: row {number}: {first_problem(error)}") from None
            if (row.start is None) != (row.end is None):
                raise UserError(f"{path}: row {number}: has only one of start and end; give both, or none")
            label = Label((row.label,), row.start, row.end, f"row {number}")
            yield AnnotatedClip(row.recording, row.subset, row.recording, [label])
    except csv.Error as error:
        raise UserError(f"{path}: line {rows.line_num} is not CSV ({error}); check the quotes") from None
