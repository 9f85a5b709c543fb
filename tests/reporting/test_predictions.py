"""The files of a recording, the rule by which they count as complete, and the removal of outdated ones."""

import json
from pathlib import Path

import pytest

from evaluation.localization import Detections
from reporting.predictions import PREDICTION, read_finished, recording_folder, write_segments
from utils.atomic import write_csv

CLASSES = ("walk", "wave")
FACTS = {"weights": "abc", "window": 1000, "fps": None}
FOUND = Detections.of([0, 0, 1], [1, 0, 1], [[30, 75], [0, 30.5], [3, 6]], [0.25, 0.75, 0.5])


def write(folder: Path, *names: str, facts: dict = FACTS) -> None:
    with recording_folder(folder, facts) as files:
        for name in names:
            (folder / name).write_text(name)
        write_segments(folder, FOUND, ["a", "b"], CLASSES)
        files += [*names, "segments.json", "segments.csv"]


def test_segments_are_in_seconds_and_best_first_in_both_files(tmp_path: Path) -> None:
    results = write_segments(tmp_path, FOUND, ["a", 'b, "c"'], CLASSES)
    expected = {
        "a": [{"label": "walk", "score": 0.75, "segment": [0.0, 30.5 / 30]},
              {"label": "wave", "score": 0.25, "segment": [1.0, 2.5]}],
        'b, "c"': [{"label": "wave", "score": 0.5, "segment": [0.1, 0.2]}],
    }  # fmt: skip
    assert results == json.loads((tmp_path / "segments.json").read_text())["results"] == expected
    lines = (tmp_path / "segments.csv").read_text().splitlines()
    assert lines[0] == "recording,label,start,end,score"
    assert lines[1:] == [
        "a,walk,0.000,1.017,0.7500", "a,wave,1.000,2.500,0.2500", '"b, ""c""",wave,0.100,0.200,0.5000',
    ]  # fmt: skip


def test_a_recording_without_detections_has_an_empty_list(tmp_path: Path) -> None:
    assert write_segments(tmp_path, Detections.concatenate([]), ["a"], CLASSES) == {"a": []}
    assert (tmp_path / "segments.csv").read_text().splitlines() == ["recording,label,start,end,score"]


def test_a_folder_is_finished_only_for_the_facts_that_it_was_made_from(tmp_path: Path) -> None:
    write(tmp_path / "r", "time_line.png")
    assert list(read_finished(tmp_path / "r", FACTS)) == ["a", "b"]
    assert read_finished(tmp_path / "r", FACTS | {"window": 30}) is None
    assert read_finished(tmp_path / "nowhere", FACTS) is None


@pytest.mark.parametrize("name", ["time_line.png", "segments.json", "segments.csv", PREDICTION])
def test_a_folder_without_one_of_its_files_is_not_finished(name: str, tmp_path: Path) -> None:
    write(tmp_path / "r", "time_line.png")
    (tmp_path / "r" / name).unlink()
    assert read_finished(tmp_path / "r", FACTS) is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"files": 3}', '{"files": [3]}', '{"made_from": {}}', "\x00", '{"results": [3]}']
)
@pytest.mark.parametrize("name", ["segments.json", PREDICTION])
def test_a_folder_with_a_damaged_file_is_not_finished_and_is_made_anew(name: str, content: str, tmp_path: Path) -> None:
    write(tmp_path / "r", "time_line.png")
    (tmp_path / "r" / name).write_text(content)
    assert read_finished(tmp_path / "r", FACTS) is None
    write(tmp_path / "r", "time_line.png")
    assert read_finished(tmp_path / "r", FACTS)


def test_an_interrupted_folder_is_not_finished(tmp_path: Path) -> None:
    write(tmp_path / "r", "time_line.png")
    with pytest.raises(KeyboardInterrupt), recording_folder(tmp_path / "r", FACTS):
        raise KeyboardInterrupt
    assert read_finished(tmp_path / "r", FACTS) is None


def test_outdated_files_of_an_earlier_run_are_deleted_and_those_of_others_stay(tmp_path: Path) -> None:
    write(tmp_path / "r", "person1_time_line.png", "person2_time_line.png")
    (tmp_path / "r" / "notes.txt").touch()
    write(tmp_path / "r", "person1_time_line.png")
    left = {path.name for path in (tmp_path / "r").iterdir()}
    assert left == {"person1_time_line.png", "segments.json", "segments.csv", PREDICTION, "notes.txt"}


def test_a_false_prediction_file_deletes_nothing_outside_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "r", "time_line.png")
    (tmp_path / "precious").touch()
    mark = {"made_from": {}, "files": ["../precious"]}
    (tmp_path / "r" / PREDICTION).write_text(json.dumps(mark))
    write(tmp_path / "r", "time_line.png")
    assert (tmp_path / "precious").exists()


def test_a_table_keeps_commas_and_quotes(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ("recording", "reason"), [("a.npy", 'has "x", not y')])
    assert (tmp_path / "t.csv").read_text() == 'recording,reason\na.npy,"has ""x"", not y"\n'
