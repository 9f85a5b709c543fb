"""Annotations of any recordings: the two formats say the same, and a mistake is reported with its row and remedy."""

import json
from pathlib import Path

import numpy as np
import pytest

from prepare.formats.annotations import COLUMNS, read_annotations
from prepare.formats.labels import AnnotatedClip, dense_labels
from utils.atomic import write_csv
from utils.errors import UserError

HEADER = ",".join(COLUMNS)


def read(path: Path, text: str) -> list[AnnotatedClip]:
    path.write_text(text, encoding="utf-8")
    return read_annotations(path)[0]


def facts(recordings: list[AnnotatedClip]) -> list[tuple]:
    return [(r.sid, r.subset, [(*x.names, x.start, x.end) for x in r.labels]) for r in recordings]


def test_a_table_and_activitynets_json_say_the_same(tmp_path: Path) -> None:
    rows = [
        "a/one,train,walk,0.5,3.2",
        "a/one,Training,Übung\u00a0x,1,2",
        "b,train,wave,,",
        "c,val,walk,0,1",
        "d,test,walk,,",
    ]
    table = "\n".join([HEADER, *rows])
    entries = {
        "a/one": {"subset": "training", "annotations": [{"label": "walk", "segment": [0.5, 3.2]}]},
        "b": {"subset": "training", "duration": 9.5, "annotations": [{"label": "wave"}], "url": "ignored"},
        "c": {"subset": "validation", "annotations": [{"label": "walk", "segment": [0, 1]}]},
        "d": {"subset": "testing"},
    }
    entries["a/one"]["annotations"].append({"label": "Übung\u00a0x", "segment": [1.0, 2.0]})
    found = read(tmp_path / "a.csv", "\ufeff" + table)  # as spreadsheets begin a file in UTF-8
    assert facts(found) == facts(read(tmp_path / "a.json", json.dumps({"version": "1", "database": entries})))
    assert facts(found)[1] == ("b", "train", [("wave", None, None)])
    for file in ("a.csv", "a.json"):
        assert [recording.sid for recording in read_annotations(tmp_path / file)[1]] == ["d"]  # of the test set
    assert read_annotations(tmp_path / "a.json")[0][1].duration == 9.5


def test_names_in_json_that_differ_in_spaces_keep_their_labels(tmp_path: Path) -> None:
    entry = {"subset": "training", "annotations": [{"label": "walk"}]}
    found = read(tmp_path / "a.json", json.dumps({"database": {"a": entry, "a ": entry}}))
    assert [(recording.sid, len(recording.labels)) for recording in found] == [("a", 1), ("a ", 1)]


def test_a_written_table_is_read_again(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", COLUMNS, [("x", "train", 'says "hi", waves', "0.0000", "1.5000")])
    (recording,) = read_annotations(tmp_path / "a.csv")[0]
    assert (recording.labels[0].names, recording.labels[0].end) == (('says "hi", waves',), 1.5)


def test_a_label_is_one_line(tmp_path: Path) -> None:
    entry = {"subset": "train", "annotations": [{"label": "sit\u2028down\t"}]}
    for found in (read(tmp_path / "a.csv", f'{HEADER}\na,train,"sit\r\ndown",,\n'),
                  read(tmp_path / "a.json", json.dumps({"database": {"a": entry}}))):  # fmt: skip
        assert found[0].labels[0].names == ("sit down",)


@pytest.mark.parametrize("digits", [3, 4, 6, 17])
def test_rounded_times_of_frames_cover_the_same_frames(digits: int, tmp_path: Path) -> None:
    times = [(n / 30, (n + 2) / 30) for n in range(300)]
    rows = "".join(f"{n},train,walk,{start:.{digits}f},{end:.{digits}f}\n" for n, (start, end) in enumerate(times))
    for n, recording in enumerate(read(tmp_path / "a.csv", f"{HEADER}\n{rows}")):
        dense, _ = dense_labels(recording.labels, ["walk"], 400)
        assert np.flatnonzero(dense).tolist() == [n, n + 1]


def test_other_times_are_used_as_they_are(tmp_path: Path) -> None:
    entry = {"label": "walk", "segment": [0.066, 0.068]}
    (found,) = read(tmp_path / "a.json", json.dumps({"database": {"a": {"subset": "train", "annotations": [entry]}}}))
    assert (found.labels[0].start, found.labels[0].end) == (0.066, 0.068)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["first row is ''", HEADER]),
        ("recording,subset,label,begin,end\n", ["first row", "begin", HEADER]),
        (f"{HEADER},note\n", ["first row", f"expected {HEADER}, separated by commas; remove 'note'"]),
        (HEADER.replace(",", ";") + "\na;train;walk;0;1\n", ["first row", "separated by commas"]),
        (f"{HEADER}\na,train,walk,0,5,3,2\n", ["row 2 has 7 cells", "0.5 instead of 0,5"]),
        (f'{HEADER}\na,train,walk,"0,5",3\n', ["row 2: start is '0,5'", "expected a valid number"]),
        (f"{HEADER}\na,train,walk,nan,3\n", ["row 2: start is 'nan'", "expected a finite number"]),
        (f"{HEADER}\na,train,walk,-1,3\n", ["row 2: start is '-1', expected greater than or equal to 0"]),
        (f"{HEADER}\na,train,walk,one,3\n", ["row 2: start is 'one'", "expected a valid number"]),
        (f"{HEADER}\na,train,walk,3,\n", ["row 2", "only one of start and end"]),
        (f"{HEADER}\na,train,walk,3,3\n", ["row 2: the segment from 3 to 3 s does not end after its start"]),
        (f"{HEADER}\na,train,,1,3\n", ["row 2: label is ''", "at least 1 character"]),
        (f"{HEADER}\n\n,train,walk,1,3\n", ["row 3: recording is ''", "at least 1 character"]),
        (f"{HEADER}\na,dev,walk,1,3\n", ["row 2", "subset is 'dev'", "expected 'train', 'val' or 'test'"]),
        (f"{HEADER}\na,train,walk,1,3\na,val,walk,4,5\n", ["row 3", "'a' is in train and in val"]),
        (
            f"{HEADER}\na,val,walk,,\n",
            ["row 2", "'walk' of the recording 'a' has no times", "to train"],
        ),
        (f"{HEADER}\na,test,walk,1,2\n", ["no training or validation recording"]),
        (f'{HEADER}\na,train,"walk,1,2\n', ["line 2 is not CSV", "check the quotes"]),
        (f'{HEADER}\na,train,"two\nlines",1,2\na,train,"walk,1,2\n', ["line 4 is not CSV"]),
    ],
)
def test_a_mistake_in_a_table_is_told_with_row_and_remedy(text: str, parts: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path / "a.csv", text)
    assert str(error.value).startswith(str(tmp_path / "a.csv"))
    assert "\n" not in str(error.value)
    assert all(part in str(error.value) for part in parts), error.value


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "the file is [], expected a valid dictionary"),
        ('{"database": {"a": {"annotations": []}}}', "a.subset is missing"),
        ('{"database": {"a": {"subset": "training"}, "a": {"subset": "training"}}}', "the key 'a' stands twice"),
        ('{"database": {"a": {"subset": "training", "annotations": [{"label": "x", "segment": [1]}]}}}', "segment"),
        (
            '{"database": {"a": {"subset": "training", "annotations": [{"label": "x", "segment": [1, NaN]}]}}}',
            "segment",
        ),
        (
            '{"database": {"a": {"subset": "training", "annotations": [{"label": "x", "segment": [2, 1]}]}}}',
            "from 2 to 1 s does not end after its start",
        ),
        ('{"database": {"a": {"subset": "training", "duration": -3}}}', "duration"),
    ],
)
def test_a_mistake_in_json_is_told(text: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path / "a.json", text)
    assert part in str(error.value)
    assert len(str(error.value)) < 500


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_annotations(tmp_path / "a.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_annotations(tmp_path / "b.csv")
