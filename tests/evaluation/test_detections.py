"""Detections files are read as they were written, and a bad file gives one clear message."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.detections import read, write
from evaluation.localization import Detections
from utils.errors import UserError

NAMES, CLASSES = ["10", "7", "a clip"], ["walk", "wave"]
GOOD = {"label": "walk", "score": 0.5, "segment": [0.1, 1.0]}


def file_with(tmp_path: Path, content: Any) -> Path:
    """A file of bytes, of a text, or of any other content as JSON."""
    path = tmp_path / "detections.json"
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def one(entry: Any) -> dict[str, Any]:
    return {"results": {"7": [entry]}}


def same(found: Detections, expected: Detections) -> bool:
    return all(
        np.array_equal(getattr(found, part), getattr(expected, part))
        for part in ("clip", "label", "segments", "scores")
    )


edges = st.tuples(st.integers(0, 200_000), st.integers(0, 200_000)).map(sorted)
row = st.tuples(st.integers(0, 2), st.integers(0, 1), edges, st.floats(-1e6, 1e6))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(row, max_size=20))
def test_whole_frames_and_scores_are_read_as_they_were_written(tmp_path: Path, rows: list) -> None:
    rows.sort(key=lambda detection: detection[0])  # a file holds them by clip
    clip, label, segments, scores = zip(*rows, strict=True) if rows else [()] * 4
    found = Detections.of(clip, label, segments, scores)
    write(tmp_path / "x.json", found, NAMES, CLASSES)
    assert same(read(tmp_path / "x.json", NAMES, CLASSES), found)


def test_the_file_has_activitynets_format(tmp_path: Path) -> None:
    found = Detections.of([1, 1, 0], [0, 1, 1], [[0, 30], [15, 45], [3, 6]], [0.5, 0.25, 1.0])
    write(tmp_path / "x.json", found, NAMES, CLASSES)
    content = json.loads((tmp_path / "x.json").read_text())
    assert sorted(content) == ["external_data", "results", "version"]
    assert content["results"] == {
        "10": [{"label": "wave", "score": 1.0, "segment": [0.1, 0.2]}],
        "7": [
            {"label": "walk", "score": 0.5, "segment": [0.0, 1.0]},
            {"label": "wave", "score": 0.25, "segment": [0.5, 1.5]},
        ],
        "a clip": [],
    }


def test_a_file_needs_results_only(tmp_path: Path) -> None:
    found = read(file_with(tmp_path, {"results": {"7": [{**GOOD, "note": 1}], "10": []}}), NAMES, CLASSES)
    assert same(found, Detections.of(1, 0, [[3, 30]], 0.5))
    assert len(read(file_with(tmp_path, {"results": {}}), NAMES, CLASSES)) == 0


def test_the_escaped_name_of_exported_features_is_the_clip(tmp_path: Path) -> None:
    assert read(file_with(tmp_path, {"results": {"a%20clip": [GOOD]}}), NAMES, CLASSES).clip.tolist() == [2]


def test_accented_letters_may_be_one_character_or_two(tmp_path: Path) -> None:
    one_, two = "Jos\u00e9", "Jose\u0301"
    for written, known in ((one_, two), (two, one_)):
        path = file_with(tmp_path, {"results": {written: [{**GOOD, "label": written}]}})
        found = read(path, ["a", known], ["walk", known])
        assert (found.clip.tolist(), found.label.tolist()) == ([1], [1])
        found = read(path, [written, known], [known, written])  # the same form, if it is there
        assert (found.clip.tolist(), found.label.tolist()) == ([0], [1])


def test_seconds_between_frames_stay_between_frames(tmp_path: Path) -> None:
    found = read(file_with(tmp_path, one({**GOOD, "segment": [0.01, 2]})), NAMES, CLASSES)
    assert found.segments.tolist() == [[pytest.approx(0.3), 60]]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({**GOOD, "label": "wlak"}, r"unknown label 'wlak'; did you mean 'walk'\?"),
        ({**GOOD, "label": "sit"}, r"unknown label 'sit'; known are: walk, wave"),
        ({**GOOD, "label": "x" * 10_000}, r"unknown label 'x+\.\.\.x+'; known are"),
        ({**GOOD, "label": "\ud800"}, r"unknown label '\\ud800'; known are: walk, wave"),
    ],
)
def test_a_detection_of_an_unknown_class_is_named_with_its_place(tmp_path: Path, entry: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"detections\.json: clip '7', detection 1 has the {said}") as caught:
        read(file_with(tmp_path, {"results": {"7": [GOOD, entry]}}), NAMES, CLASSES)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("walk", r" is 'walk', expected a valid dictionary"),
        ({"label": "walk", "score": 1}, r"\.segment is missing"),
        ({**GOOD, "label": 0}, r"\.label is 0, expected a valid string"),
        ({**GOOD, "label": ["walk"]}, r"\.label is \['walk'\], expected a valid string"),
        ({**GOOD, "score": "0.5"}, r"\.score is '0\.5', expected a valid number"),
        ({**GOOD, "score": None}, r"\.score is None, expected a valid number"),
        ({**GOOD, "score": True}, r"\.score is True, expected a valid number"),
        ({**GOOD, "score": float("nan")}, r"\.score is nan, expected a finite number"),
        ({**GOOD, "score": 10**400}, r"\.score is 10+\.\.\.0+, expected a valid number"),
        ({**GOOD, "score": 1e13}, r"\.score is 1\d+\.0, expected less than 1"),
        ({**GOOD, "segment": 3}, r"\.segment is 3, expected a valid list"),
        ({**GOOD, "segment": [1, 2, 3]}, r"\.segment is \[1, 2, 3\]: List should have at most 2 items"),
        ({**GOOD, "segment": ["0", 1]}, r"\.segment\.0 is '0', expected a valid number"),
        ({**GOOD, "segment": [0, float("inf")]}, r"\.segment\.1 is inf, expected a finite number"),
        ({**GOOD, "segment": [0, 10**400]}, r"\.segment\.1 is 10+\.\.\.0+, expected a valid number"),
        ({**GOOD, "segment": [2, 1]}, r"\.segment: found \[2.*, 1.*\], expected 0 <= start <= end, in seconds"),
        ({**GOOD, "segment": [-1, 1]}, r"\.segment: found \[-1.*, 1.*\], expected 0 <= start <= end, in seconds"),
    ],
)
def test_a_bad_detection_is_named_with_its_place(tmp_path: Path, entry: Any, said: str) -> None:
    content = {"results": {"7": [GOOD, entry]}}
    with pytest.raises(UserError, match=rf"detections\.json: results\.7\.1{said}.*; expected Act") as caught:
        read(file_with(tmp_path, content), NAMES, CLASSES)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"results": {"8": []}}, r"clip '8' is unknown; known are: 10, 7, a clip"),
        ({"results": {"a clop": []}}, r"clip 'a clop' is unknown; did you mean 'a clip'\?"),
        ({"results": {"a%20clop": []}}, r"clip 'a%20clop' is unknown; did you mean 'a clip'\?"),
        ({"results": {"7": GOOD}}, r"results\.7 is \{'label'.*\}, expected a valid list"),
        ({"results": {"\ud800": []}}, r"clip '\\ud800' is unknown"),
        ({"results": []}, r"results is \[\], expected a valid dictionary"),
        ({"database": {}}, r"results is missing"),
        ([], r"the file is \[\], expected a valid dictionary"),
        ("", r"is not JSON \(Expecting value"),
        ('{"results": ', r"is not JSON"),
        (b"\xff\xfe", r"is not UTF-8 text"),
        ('{"results": {"7": [], "7": []}}', r"is not JSON \(the key '7' stands twice in one object\)"),
        ("[" * 100_000, r"is not JSON \(maximum recursion depth"),
        ('{"results": {"7": [' + '{"a":' * 100_000, r"is not JSON \(maximum recursion depth"),
        ("9" * 10_000, r"is not JSON \(Exceeds the limit"),
    ],
)
def test_a_file_of_another_format_gives_one_message(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"detections\.json: {said}"):
        read(file_with(tmp_path, content), NAMES, CLASSES)


def test_a_message_stays_short_in_a_large_split_and_a_large_file(tmp_path: Path) -> None:
    names = [f"take {number}" for number in range(50_000)]
    path = file_with(tmp_path, {"results": {"?" * 10_000: []}})
    with pytest.raises(UserError, match=r"clip '\?+\.\.\.\?+' is unknown; known are: take 0, .*\.\.\.$") as caught:
        read(path, names, CLASSES)
    assert len(str(caught.value)) < 500 + len(str(path))
    text = json.dumps({"results": dict.fromkeys(names, [])})
    with pytest.raises(UserError, match="the key 'take 49999' stands twice"):
        read(file_with(tmp_path, text[:-2] + ', "take 49999": []}}'), names, CLASSES)


def test_a_file_that_cannot_be_read_or_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json: cannot be read \(No such file"):
        read(tmp_path / "nowhere.json", NAMES, CLASSES)
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory"):
        read(tmp_path, NAMES, CLASSES)
    monkeypatch.setattr("utils.files.read_bytes.__defaults__", (10,))
    with pytest.raises(UserError, match=r"is larger than 0 GiB; expected ActivityNet's format"):
        read(file_with(tmp_path, {"results": {}}), NAMES, CLASSES)


def test_a_score_that_is_not_a_number_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path / "x.json", Detections.of(0, 0, [[0, 1]], np.nan), NAMES, CLASSES)
    assert list(tmp_path.iterdir()) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["walk", "7", "label"]) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {
        "label": st.sampled_from(CLASSES) | anything,
        "score": st.floats(0, 1) | anything,
        "segment": st.tuples(st.integers(0, 9), st.integers(9, 20)) | anything,
    }
)
by_clip = st.dictionaries(st.sampled_from(NAMES) | st.text(), st.lists(entries | anything, max_size=2), max_size=2)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.fixed_dictionaries({"results": by_clip | anything}) | anything)
def test_any_json_is_read_or_gives_one_message(tmp_path: Path, content: Any) -> None:
    try:
        found = read(file_with(tmp_path, json.dumps(content)), NAMES, CLASSES)
    except UserError as error:
        assert "detections.json: " in str(error)
    else:
        assert np.isfinite(found.segments).all()
        assert np.isfinite(found.scores).all()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60))
def test_random_bytes_give_one_message(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"detections\.json: "):
        read(file_with(tmp_path, content), NAMES, CLASSES)
