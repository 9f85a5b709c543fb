"""Own recordings and annotations become a store and a split, and all that does not fit is reported."""

import json
from pathlib import Path

import motions
import numpy as np
import pytest
import runs

from feeders.dataset import SkeletonClips
from prepare import own_data
from prepare.formats.body_model import load_body
from prepare.formats.labels import AnnotatedClip
from prepare.options import ReadOptions, next_command
from prepare.skeletons import recordings
from prepare.synthetic.body import body_structure
from reporting.animation import clip_texts
from reporting.dataset_card import example_clips
from utils import config
from utils.errors import UserError
from utils.store import Split

HEADER = "recording,subset,label,start,end"
OPTIONS = ReadOptions(body="synthetic")
ROWS = [
    "bvh/one,train,walk,0.5,2",
    "two.npz,train,Walk ,0,1",
    "two.npz,train,wave,1,9",
    "three,train,wave,,",
    "four,val,walk,0,1",
    "four,val,walk,0,1",
    "four,val,wave,1,1.05",
    "four,val,wave,7,8",
    "four,val,walk,0.9,1.0333333333333334",
    "four,val,walk,1.0333333333333334,2",
    "four,val,walk,2.5,2.7",
    "nowhere,val,wave,0,1",
    "damaged,train,wave,0,1",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a recording of 3 s in each format, a damaged one, and one that is not annotated."""
    folder = tmp_path / "motion"
    (folder / "bvh").mkdir(parents=True)
    poses = motions.poses(3.0)
    joints = motions.joints_of(poses)
    motions.write_body_bvh(folder / "bvh" / "one.bvh", poses, named=motions.mixamo_name)
    np.savez(folder / "two.npz", joints=joints, fps=30)
    np.savez(folder / "three.npz", poses=poses, mocap_framerate=np.array(30.0))
    motions.write_ntu(folder / "four.skeleton", len(joints), {"7": (list(range(10, len(joints))), joints[10:])})
    (folder / "damaged.npz").write_bytes(b"PK\x03\x04")
    np.savez(folder / "spare.npz", joints=joints, fps=30)
    return folder


def prepare(folder: Path, rows: list[str], **more) -> Split:
    table = folder.parent / "labels.csv"
    table.write_text("\n".join([HEADER, *rows]) + "\n")
    out = folder.parent / "out"
    own_data.prepare_recordings(folder, table, "mine", out, OPTIONS, **more)
    return Split.open(out, "mine")


def test_recordings_of_every_format_become_a_split(folder: Path, capsys: pytest.CaptureFixture) -> None:
    split = prepare(folder, ROWS)
    assert split.classes == ("Walk", "walk", "wave")
    assert split.clip_ids("train") == ["bvh/one", "two.npz", "three"]
    assert split.clip_ids("val") == ["four"]
    assert np.flatnonzero(split.labels("bvh/one")[:, 1]).tolist() == list(range(15, 60))
    expected = motions.joints_of(motions.poses(3.0))
    np.testing.assert_allclose(split.store.joints("three"), expected, atol=1e-6)
    np.testing.assert_allclose(split.store.joints("four")[:11], np.repeat(expected[10:11], 11, axis=0), atol=1e-5)
    report = (split.folder / "report.txt").read_text()
    for text in (
        "recordings without a file (1): nowhere",
        "recordings that cannot be used (1): damaged.npz ",
        "recordings without annotation (1): spare.npz",
        "look alike, kept apart (1): 'Walk' and 'walk'",
        "cut off there (1): row 4 ('wave', 1 to 9 of 3.00 s)",
        "not used (1): row 9 ('wave', 7 to 8",
        "too short to be detected (1): row 8",
        "one of the same class, counted as one (3): row 7 ('walk', 0 to 1 of",
        "counted as one (3): row 10 ('walk', 0.9 to 1.03",
        "counted as one (3): row 11 ('walk', 1.03",
    ):
        assert text in report, report
    printed = capsys.readouterr().out
    assert "4 of 6 recordings are stored" in printed
    assert (split.folder / "card.html").is_file()


def test_labels_that_count_for_little_are_told(folder: Path, capsys: pytest.CaptureFixture) -> None:
    split = prepare(folder, ["two,train,walk,,", "four,val,walk,0,1", "three,train,Background,0,1"], classes=["walk"])
    assert "train clips with labels without times, which count in no frame: 1" in capsys.readouterr().out
    report = (split.folder / "report.txt").read_text()
    assert "recordings without a label of the classes, not used (1): three" in report
    prepare(folder, ["two,train,walk,,", "four,val,walk,0,1", "three,train,Background,0,1"], replace=True)
    assert "classes that may be background, which needs no label (1): Background" in capsys.readouterr().out


def test_the_first_person_is_used_whatever_the_second_body_is(folder: Path) -> None:
    joints = motions.joints_of(motions.poses(3.0))
    frames = list(range(len(joints)))
    motions.write_ntu(folder / "four.skeleton", len(joints), {"1": (frames, joints), "2": (frames, 0.3 * joints)})
    assert prepare(folder, ROWS).clip_ids("val") == ["four"]


def test_the_workers_share_one_body(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(recordings, "load_body", lambda body: loaded.append(body) or load_body(body))
    recordings.cached_body_joints.cache_clear()
    for name in ("three", "five", "six", "seven"):
        np.savez(folder / f"{name}.npz", poses=motions.poses(3.0), mocap_framerate=np.array(30.0))
    prepare(folder, [f"{name},train,walk,0,1" for name in ("three", "five", "six", "seven")], workers=4)
    assert len(loaded) == 1


def test_an_annotated_duration_is_only_reported(folder: Path) -> None:
    content = {"subset": "training", "duration": 2.0, "annotations": [{"label": "walk", "segment": [0, 3]}]}
    table, out = folder.parent / "labels.json", folder.parent / "out"
    table.write_text(json.dumps({"database": {"two": content}}))
    split = own_data.prepare_recordings(folder, table, "mine", out, OPTIONS)
    assert len(split.labels("two")) == split.labels("two").sum() == 90
    assert "not last as long as annotated (1): 'two': 3.00 s, not 2" in (split.folder / "report.txt").read_text()


def test_a_repeated_run_reads_only_what_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, opened = own_data.read_recording, []
    monkeypatch.setattr(own_data, "read_recording", lambda path, o: opened.append(path.name) or read(path, o))
    first = prepare(folder, ROWS[:3])
    assert sorted(opened) == ["one.bvh", "two.npz"]
    opened.clear()
    np.savez(folder / "two.npz", joints=motions.joints_of(motions.poses(2.0)), fps=30)
    again = prepare(folder, [*ROWS[:3], "three,val,wave,0,2"])
    assert sorted(opened) == ["three.npz", "two.npz"]
    assert again.store.folder == first.store.folder
    assert again.store.clips["two.npz"].frames == 60
    opened.clear()
    assert prepare(folder, ["bvh/one,val,walk,0.5,2", *ROWS[1:3], "three,val,wave,0,2"]).clip_ids("train") == [
        "two.npz"
    ]
    assert not opened  # another subset or label needs no joints


def test_a_recording_that_is_gone_stays_in_the_store_and_is_reported(folder: Path) -> None:
    prepare(folder, ROWS)
    (folder / "two.npz").unlink()
    split = prepare(folder, ROWS)
    assert "two.npz" in split.store.clips
    report = (split.folder / "report.txt").read_text()
    assert "recordings whose file is gone, the stored joints are used (1): two.npz" in report


def test_a_stored_recording_on_a_disk_that_is_gone_stays(folder: Path) -> None:
    elsewhere = folder.parent / "two.npz"
    (folder / "two.npz").rename(elsewhere)
    (folder / "two.npz").symlink_to(elsewhere)
    before = prepare(folder, ROWS)
    elsewhere.unlink()
    assert prepare(folder, ROWS).store.digest == before.store.digest


def test_recordings_of_the_test_set_are_counted_and_not_called_unannotated(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    split = prepare(folder, [*ROWS, "spare,test,walk,0,1"])
    assert "spare" not in (split.folder / "report.txt").read_text()
    assert "test recordings, not used: 1" in capsys.readouterr().out


def test_a_missing_subset_is_told(folder: Path, capsys: pytest.CaptureFixture) -> None:
    prepare(folder, ROWS[:2])
    assert "warning: val has no clip; train.py needs clips in both subsets" in capsys.readouterr().out


def test_another_body_under_the_same_path_makes_another_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["three,train,walk,0,1", "bvh/one,val,walk,0,1"]
    first = prepare(folder, rows)
    body = own_data.load_body("synthetic")
    taller = {**body, "v_template": 1.1 * body["v_template"]}
    monkeypatch.setattr(own_data, "load_body", lambda _: taller)
    assert prepare(folder, rows).store.folder != first.store.folder
    monkeypatch.undo()
    assert prepare(folder, rows).store.folder == first.store.folder


def test_the_same_body_in_another_place_needs_no_other_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, out, opened = folder.parent / "labels.csv", folder.parent / "out", []
    table.write_text(f"{HEADER}\nthree,train,walk,0,1\nbvh/one,val,walk,0,1\n")
    read = own_data.read_recording
    monkeypatch.setattr(own_data, "read_recording", lambda path, o: opened.append(path.name) or read(path, o))
    stores = []
    for place in ("a.npz", "b.npz"):
        np.savez(folder.parent / place, **body_structure())
        options = ReadOptions(body=str(folder.parent / place))
        stores.append(own_data.prepare_recordings(folder, table, "mine", out, options).store.folder)
    assert stores[0] == stores[1]
    assert sorted(opened) == ["one.bvh", "three.npz"]  # once


def test_a_label_without_times_is_enough_for_training(folder: Path, capsys: pytest.CaptureFixture) -> None:
    split = prepare(folder, ["bvh/one,train,walk,,", "two,train,wave,,", "three,train,wave,0,1", "four,val,walk,0,1",
                             "four,val,wave,1,2"])  # fmt: skip
    for gaps in ("background", "removed"):
        clips = SkeletonClips(split, "train", config.load(assignments=[f"data.gaps={gaps}"]).data)
        assert clips.clip_ids == ["bvh/one", "two", "three"]
        assert clips.video_labels.tolist() == [[True, False], [False, True], [False, True]]
        assert not clips.frame_labels(0).any()
        assert clips.lengths[0] == 90
    assert set(clip_texts(split, "bvh/one")) == {"walk (time unknown)"}
    assert ("walk", "bvh/one") in example_clips(split)
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["walk", "1", "0", "1", "30"] in printed
    assert ["wave", "2", "30", "1", "30"] in printed
    with pytest.raises(UserError, match="2 clips have labels without times, such as bvh/one"):
        clips.all_frame_labels()


@pytest.mark.slow
def test_training_on_own_recordings(folder: Path) -> None:
    split = prepare(folder, ["bvh/one,train,walk,,", "two,train,wave,0,1", "four,val,walk,0,1", "four,val,wave,1,2"])
    small = runs.small(split.folder.parent, folder.parent / "run", "data.split=mine")
    assert runs.run("--config", str(runs.ROOT / "config/own_actions.yaml"), *small, pictures=True) == 0
    assert (folder.parent / "run" / "results.json").is_file()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["two,train,walk,15,60", "four,val,walk,30,45"],
            "motion: most segments .* divide them by the frame rate",
        ),
        (["one.bvh,train,walk,0,1", "bvh/one,train,walk,0,1"], "'one.bvh', 'bvh/one' all name the recording"),
        (["zero,train,walk,0,1"], "none of the takes of the annotated clips could be used: zero missing"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_writes_no_split(folder: Path, rows: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(folder, rows)
    assert not (folder.parent / "out" / "mine" / "split.json").exists()
    assert not list((folder.parent / "out").glob("*/parts"))


def test_annotations_without_a_label_are_refused(folder: Path) -> None:
    table = folder.parent / "labels.json"
    table.write_text('{"database": {"two": {"subset": "training", "annotations": []}}}')
    with pytest.raises(UserError, match=r"labels\.json: has no label; expected the actions"):
        own_data.prepare_recordings(folder, table, "mine", folder.parent / "out", OPTIONS)
    assert not (folder.parent / "out").exists()


def test_the_next_command_can_be_copied_from_a_folder_with_a_space() -> None:
    assert next_command("a.yaml", Path("/my data"), "mine").endswith("--set data.split=mine 'data.root=/my data'")


def test_a_name_that_fits_two_files_is_refused(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "one.npy").write_bytes(b"")
    with pytest.raises(UserError, match="'one' may be bvh/one.bvh or other/one.npy"):
        prepare(folder, ["one,train,walk,0,1"])


def test_accented_letters_may_be_one_character_or_two(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "two.npz").rename(folder / "Jose\u0301.npz")
    split = prepare(folder, ["Jos\u00e9,train,caf\u00e9,0,1", "four,val,cafe\u0301,0,1"])
    assert split.clip_ids("train") == ["Jos\u00e9"]
    assert "labels that look alike, kept apart (1): 'cafe\u0301' and 'caf\u00e9'" in capsys.readouterr().out


def test_a_recording_that_is_there_twice_is_told(folder: Path) -> None:
    (folder / "copy.npz").write_bytes((folder / "two.npz").read_bytes())
    split = prepare(folder, [*ROWS, "copy,val,walk,0,1"])
    assert "recordings with the same content (1): 'two.npz' and 'copy'" in (split.folder / "report.txt").read_text()


def test_a_path_may_have_the_backslashes_of_windows() -> None:
    files = own_data.match_files(
        [AnnotatedClip(name, "train", name, []) for name in ("bvh\\one", "bvh\\one.bvh")],
        ["bvh/one.bvh", "bvh\\one.npz"],
        "labels.csv",
    )
    assert files == {"bvh\\one": "bvh\\one.npz", "bvh\\one.bvh": "bvh/one.bvh"}


@pytest.mark.parametrize("count", [1, 500])
def test_any_number_of_classes(folder: Path, count: int) -> None:
    rows = [f"two,train,action {k:03},0,1" for k in range(count)]
    split = prepare(folder, [*rows, "four,val,action 000,0,1"])
    assert len(split.classes) == count
    assert split.labels("two")[:30].all()


def test_chosen_classes_must_be_labels(folder: Path) -> None:
    with pytest.raises(UserError, match="has no label 'wlak'; did you mean 'walk'"):
        prepare(folder, ROWS, classes=["wlak"])
    assert prepare(folder, ROWS, classes=["wave"]).classes == ("wave",)
    with pytest.raises(
        UserError, match="has labels of wave, not of Walk, walk, wave; choose another --name, or give --replace"
    ):
        prepare(folder, ROWS)
    assert len(prepare(folder, ROWS, replace=True).classes) == 3
