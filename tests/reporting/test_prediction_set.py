"""The names of recordings in a folder of predictions: readable, one for each file, and the same for every command."""

import json
from pathlib import Path

import pytest

from reporting.predictions import PREDICTION, PredictionSet, file_of, read_finished, recording_folder
from utils.atomic import write_json
from utils.errors import UserError

COMMAND_FACTS = {"weights": "abc", "format": 2}


def names(out: Path, *inputs: tuple[str, str], **changed_facts: object) -> list[tuple[str, str]]:
    found = PredictionSet(out, {**COMMAND_FACTS, **changed_facts}).assign_names(
        [(wanted, Path(file)) for wanted, file in inputs]
    )
    return [(name, str(path)) for name, path in found.items()]


def store(out: Path, name: str, file: str, **changed_facts: object) -> None:
    with recording_folder(out / name, {**COMMAND_FACTS, **changed_facts, "file": file_of(Path(file))}) as files:
        write_json(out / name / "segments.json", {"results": {name: []}})
        files += ["segments.json"]


def test_a_name_has_no_suffix_and_recordings_that_differ_by_it_are_numbered(tmp_path: Path) -> None:
    given = [("s/a.npz", "/x/s/a.npz"), ("s/b.bvh", "/x/s/b.bvh"), ("s/b.npz", "/x/s/b.npz"), ("v.1.npy", "/x/v.1.npy")]
    assert [name for name, _ in names(tmp_path, *given)] == ["s/a", "s/b", "s/b-2", "v.1"]
    for name, file in names(tmp_path, *given):
        store(tmp_path, name, file)
    assert names(tmp_path, given[2]) == [("s/b-2", "/x/s/b.npz")]  # alone it keeps its name


def test_recordings_of_one_name_from_several_places_are_numbered_and_keep_their_numbers(tmp_path: Path) -> None:
    store(tmp_path, "a", "/one/a.npy")
    both = [("a.npy", "/three/a.npy"), ("a.npy", "/two/a.npy"), ("a.npy", "/one/a.npy")]
    assert names(tmp_path, *both[:2]) == [("a-2", "/three/a.npy"), ("a-3", "/two/a.npy")]
    store(tmp_path, "a-2", "/two/a.npy")
    assert names(tmp_path, *both) == [("a", "/one/a.npy"), ("a-2", "/two/a.npy"), ("a-3", "/three/a.npy")]


@pytest.mark.parametrize("name", ["player.html", "segments.json", "player.html.tmp", "e:person1"])
def test_names_that_other_files_or_people_have_are_numbered(tmp_path: Path, name: str) -> None:
    assert names(tmp_path, (f"{name}.npy", f"/x/{name}.npy")) == [(f"{name}-2", f"/x/{name}.npy")]


def test_a_link_is_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.npy").touch()
    (tmp_path / "link.npy").symlink_to(tmp_path / "a.npy")
    store(tmp_path / "out", 'mine, "a"', str(tmp_path / "a.npy"))
    assert names(tmp_path / "out", ("link.npy", str(tmp_path / "link.npy")))[0][0] == 'mine, "a"'


def test_failed_recordings_are_listed_with_their_reasons(tmp_path: Path) -> None:
    failing = PredictionSet(tmp_path, COMMAND_FACTS)
    failing.add_failure('mine, "a"', tmp_path / "a.npy", "is empty")
    failing.write_summary_files()
    said = (tmp_path / "failed.csv").read_text()
    assert said == f'recording,reason,file\n"mine, ""a""",is empty,{tmp_path / "a.npy"}\n'


def test_the_summary_files_hold_what_is_complete_and_of_this_checkpoint(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        store(tmp_path, name, f"/x/{name}.npy", weights="old" if name == "c" else "abc")
    (tmp_path / "b" / "segments.json").unlink()
    assert PredictionSet(tmp_path, COMMAND_FACTS).write_summary_files() == {"a": []}
    assert json.loads((tmp_path / "segments.json").read_text())["results"] == {"a": []}


def test_recordings_of_another_checkpoint_are_refused_unless_they_are_made_again(tmp_path: Path) -> None:
    store(tmp_path, "a", "/x/a.npy")
    assert names(tmp_path, ("b.npy", "/x/b.npy")) == [("b", "/x/b.npy")]
    assert names(tmp_path, ("a.npy", "/x/a.npy"), weights="new") == [("a", "/x/a.npy")]
    for other in ({"weights": "new"}, {"format": 3}):
        with pytest.raises(UserError, match="1 recordings in it, such as a, were made by another"):
            names(tmp_path, ("b.npy", "/x/b.npy"), **other)


def test_no_recording_takes_the_name_of_a_summary_file(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    given = [("segments.json.npy", "/x/1.npy"), ("notes.npy", "/x/2.npy")]
    assert [name for name, _ in names(tmp_path, *given)] == ["notes-2", "segments.json-2"]


def test_what_was_made_of_a_recording_that_fails_now_no_longer_counts(tmp_path: Path) -> None:
    store(tmp_path, "a", "/x/a.npy")
    together = PredictionSet(tmp_path, COMMAND_FACTS)
    together.add_failure("a", Path("/x/a.npy"), "is damaged")
    assert together.write_summary_files() == {}
    assert not (tmp_path / "a" / PREDICTION).exists()
    assert read_finished(tmp_path / "a", COMMAND_FACTS) is None


def test_recordings_of_a_version_that_did_not_store_their_files_need_another_folder(tmp_path: Path) -> None:
    store(tmp_path, "a", "/one/a.npy", format=1)
    made = json.loads((tmp_path / "a" / PREDICTION).read_text())
    del made["made_from"]["file"]
    write_json(tmp_path / "a" / PREDICTION, made)
    with pytest.raises(UserError, match=r"were made by another checkpoint or version: choose another --out$"):
        names(tmp_path, ("a.npy", "/one/a.npy"))
