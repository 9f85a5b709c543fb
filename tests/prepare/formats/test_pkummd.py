"""PKU-MMD's files: two people in the project's order of joints, and one message with file, row and remedy."""

from pathlib import Path

import numpy as np
import pytest

from prepare.formats.labels import Label
from prepare.formats.pkummd import find_recordings, read_action_names, read_labels, read_skeletons
from prepare.pkummd import ACTION_NAMES
from utils.errors import TakeError, UserError
from utils.skeleton import JOINT_NAMES

ACTIONS = ["bow", "clapping"]


def write_rows(path: Path, rows: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, fmt="%.5f")
    return path


def numbers(frames: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(frames, 150))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A download of three recordings in folders of other names."""
    for name in ("0002-L", "0003-L", "0004-M"):
        write_rows(tmp_path / "PKUMMDv1" / "bodies" / f"{name}.txt", numbers())
        (tmp_path / "PKUMMDv1" / "truth").mkdir(exist_ok=True)
        (tmp_path / "PKUMMDv1" / "truth" / f"{name}.txt").write_text("1,0,2,2\n2,2,4,1\n")
    lists = "Training videos:\n0002-L, 0003-L\nValidataion videos:\n0004-M\n"
    (tmp_path / "cross_view.txt").write_text(lists)
    (tmp_path / "readme.txt").write_text("0002-L")
    return tmp_path


def test_joints_come_in_the_order_of_the_project(tmp_path: Path) -> None:
    row = np.repeat(np.arange(50), 3)[None]  # each number is the index of its joint in the file
    people = read_skeletons(write_rows(tmp_path / "a.txt", row))
    assert (people.shape, people.dtype) == ((1, 2, 25, 3), np.float32)
    first = dict(zip(JOINT_NAMES, people[0, 0, :, 0].astype(int).tolist(), strict=True))
    tips = ("left_index_tip", "left_thumb_tip", "right_index_tip", "right_thumb_tip")
    assert [first[tip] for tip in tips] == [21, 22, 23, 24]
    assert [first[name] for name in JOINT_NAMES[:21]] == list(range(21))
    np.testing.assert_array_equal(people[0, 1], people[0, 0] + 25)


def test_a_second_person_who_never_appears_is_left_out_and_gaps_of_the_first_are_filled(tmp_path: Path) -> None:
    rows = np.tile(np.arange(1.0, 151), (5, 1)) * np.arange(1, 6)[:, None]
    rows[:, 75:] = 0
    rows[2] = 0
    people = read_skeletons(write_rows(tmp_path / "a.txt", rows))
    assert people.shape == (5, 1, 25, 3)
    np.testing.assert_allclose(people[2], (people[1] + people[3]) / 2)
    rows[3, 75:] = 1
    people = read_skeletons(write_rows(tmp_path / "a.txt", rows))
    assert people[:, 1].any(axis=(1, 2)).tolist() == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [lines[0], lines[1].rsplit(" ", 75)[0]], "has 75 numbers in row 2, expected 150"),
        (lambda lines: [lines[0], lines[1].rsplit(" ", 1)[0]], "has 149 numbers in row 2, expected 150"),
        (lambda lines: [lines[0], "", *lines[1:]], "has 0 numbers in row 2"),
        (lambda lines: [*lines, "nan " * 150], r"not finite in row 5, expected 150: .*; download it again"),
        (lambda lines: [*lines, "x " * 150], "no number in row 5"),
        (lambda _: [], "has 0 numbers in row 1"),
        (lambda _: ["0 " * 150], "no first person in any frame"),
    ],
)
def test_a_wrong_row_of_skeletons_is_named(tmp_path: Path, change, said: str) -> None:
    path = write_rows(tmp_path / "a.txt", numbers())
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(TakeError, match=said):
        read_skeletons(path)


def test_a_recording_over_the_limit_is_refused_and_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prepare.formats.frames.MAX_FRAMES", 4)
    assert len(read_skeletons(write_rows(tmp_path / "a.txt", numbers(frames=4)))) == 4
    with pytest.raises(TakeError, match="has more than 4 frames at 30 fps: cut it into shorter ones"):
        read_skeletons(write_rows(tmp_path / "a.txt", numbers(frames=5)))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("3,0,9,2", r"row 2 has the action 3, expected 1 to 2; name a list that has it by --actions"),
        ("0,0,9,2", "row 2 has the action 0"),
        ("1,9,9,2", "row 2 has a segment from frame 9 to 9; correct the row, or remove it"),
        ("1,0,9", r"row 2 is '1,0,9', expected action,start frame,end frame,confidence"),
        ("1,0.5,9,1", "row 2 is '1,0.5,9,1'"),
    ],
)
def test_a_wrong_row_of_labels_is_named(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"2,3,7,1\n{row}\n")
    with pytest.raises(UserError, match=f"a.txt: {said}"):
        read_labels(path, ACTIONS)


def test_recordings_are_found_whatever_the_folders_are_called(root: Path) -> None:
    found = find_recordings(root, "cross-view")
    assert {name: files.subset for name, files in found.items()} == {
        "0002-L": "train",
        "0003-L": "train",
        "0004-M": "val",
    }
    labels = found["0003-L"].labels
    assert (labels.parent.name, found["0003-L"].skeletons.parent.name) == ("truth", "bodies")
    first, second = read_labels(labels, ACTIONS)
    assert first == Label(("bow",), 0, 2 / 30, f"{labels}: row 1")
    assert second == Label(("clapping",), 2 / 30, 4 / 30, f"{labels}: row 2")
    labels.write_text("")  # a recording without actions
    assert find_recordings(root, "cross-view")["0003-L"].labels == labels
    labels.unlink()
    assert find_recordings(root, "cross-view")["0003-L"].labels is None
    found["0002-L"].skeletons.write_text("")  # a damaged download
    assert find_recordings(root, "cross-view")["0002-L"] == found["0002-L"]


def test_what_is_missing_or_there_twice_is_named(root: Path) -> None:
    def refused(said: str, protocol: str = "cross-view") -> None:
        with pytest.raises(UserError, match=said):
            find_recordings(root, protocol)

    refused(r"has no cross-subject\.txt, expected one; unpack the folder 'Split' of PKU-MMD", "cross-subject")
    copy = write_rows(root / "copy" / "0002-L.txt", numbers())
    refused("is the same recording; name the folder of one of them by --root")
    copy.unlink()
    lists = root / "cross_view.txt"
    lists.write_text("Training videos:\n0009-L\nValidation videos:\n0008-L\n")
    missing = "has no skeleton file of the recordings in cross_view.txt, such as 0009-L.txt"
    refused(f"{missing}; unpack the folder 'PKU_Skeleton_Renew'")
    lists.write_text("Training videos:\n0002-L\nValidation videos:\n0002-L\n")
    refused("row 4: '0002-L' is for training and for validation")
    lists.write_text("0002-L\n")
    refused("row 1 is '0002-L', expected a heading, such as Training videos")
    lists.write_text("Training videos:\n0002-L\n")
    refused("does not name training and validation videos")


def test_the_list_of_actions_has_51_names_and_may_be_replaced(tmp_path: Path) -> None:
    names = read_action_names(ACTION_NAMES)
    assert len(names) == 51
    two = [number for number, name in enumerate(names, start=1) if "other" in name or name == "handshaking"]
    assert two == [12, 14, 16, 18, 21, 24, 26, 27]
    own = tmp_path / "own.json"
    for text in ('{2: "b", 1: "a"}', '{"2": "b", "1": "a"}', '{\n\t"2": "b",\n\t"1": "a"\n}'):  # YAML and JSON
        own.write_text(text)
        assert read_action_names(own) == ["a", "b"]
    for text in ("{1: a, 3: b}", "{1: a, 2: a}", "[a, b]", "{1: 2}", "{}", "{1: ''}", r'{1: "\ud800"}'):
        own.write_text(text)
        with pytest.raises(UserError, match=r"own\.json: .*expected the names of the actions 1, 2, 3"):
            read_action_names(own)
