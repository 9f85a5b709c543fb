"""The dataset card has the right counts, warns of what looks wrong, and is the same page for the same data."""

import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from commands import call

from prepare import build
from reporting import dataset_card
from reporting.dataset_card import example_clips, subset_stats, upright_and_height, write_card
from tests.reporting.test_player import player_of
from tests.reporting.test_skeleton_view import star
from utils.manifest import SUBSETS
from utils.skeleton import LEFT_FOOT
from utils.store import Split, write_split, write_store

ALL = {"train": [40, 9, 1200], "val": [30, 25]}


def html(split: Split) -> str:
    return write_card(split).read_text(encoding="utf-8")


def text(split: Split) -> str:
    """The text of the page in one line."""
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", html(split), flags=re.DOTALL)).split())


def with_bodies(split: Split, pose: np.ndarray) -> Split:
    """The split, over a store in which all bodies keep this pose."""
    clips = list(split.store.clips.values())
    write_store(split.store.folder, clips, [np.repeat(pose[None], clip.frames, axis=0) for clip in clips], {})
    return Split.open(split.folder.parent, split.name)


def test_counts_are_those_of_the_frames_one_by_one(make_split: Callable[..., Split]) -> None:
    split = make_split(classes=("a", "b", "c"), gaps=True, **ALL)
    for subset in SUBSETS:
        found = subset_stats(split, subset)
        frames, clips, overlap = [0] * 3, [0] * 3, np.zeros((3, 3), int)
        several = unannotated = 0
        for sid in split.clip_ids(subset):
            rows = split.labels(sid).tolist()
            for row in rows:
                several += sum(row) > 1
                for a in range(3):
                    frames[a] += row[a]
                    for b in range(3):
                        overlap[a, b] += row[a] and row[b]
            clips = [n + any(row[a] for row in rows) for a, n in enumerate(clips)]
            unannotated += sum(not seen for seen in split.annotated(sid).tolist())
        assert found.frames.tolist() == frames
        assert found.clips.tolist() == clips
        assert np.array_equal(found.overlap, overlap)
        assert (found.several, found.unannotated) == (several, unannotated)
        assert found.lengths.tolist() == ALL[subset]


def test_the_same_data_give_the_same_page_and_no_other_file(make_split: Callable[..., Split]) -> None:
    split = with_bodies(make_split(**ALL), star())
    before = {path.name for path in split.folder.iterdir()}
    first = write_card(split).read_bytes()
    assert write_card(Split.open(split.folder.parent, "tiny")).read_bytes() == first
    assert {path.name for path in split.folder.iterdir()} == before | {"card.html"}


def test_good_data_get_no_warning(make_split: Callable[..., Split]) -> None:
    said = text(with_bodies(make_split(**ALL), star()))
    assert "Nothing looks wrong." in said
    assert "100% of bodies upright" in said
    assert "clips over 1,000 frames, left out unless data.max_frames is larger 1 0" in said


@pytest.mark.parametrize(
    ("pose", "warning"),
    [
        (star()[:, [0, 2, 1]] * [1, 1, -1], "Only 0% of the bodies are upright: is z the vertical axis"),
        (star() * [1, 1, -1], "Only 0% of the bodies are upright"),
        (star() * 1000, "Bodies are 1581.93 m from foot to head: are the joints in metres?"),
    ],
    ids=["y up", "upside down", "millimetres"],
)
def test_bodies_that_look_wrong_are_warned_of(make_split: Callable[..., Split], pose: np.ndarray, warning: str) -> None:
    said = text(with_bodies(make_split(**ALL), pose))
    assert warning in said
    assert "Nothing looks wrong" not in said


def test_classes_without_clips_are_warned_of(make_split: Callable[..., Split]) -> None:
    split = make_split(**ALL)
    clips = {
        subset: [(sid, split.labels(sid) & (subset == "train"), split.annotated(sid)) for sid in split.clip_ids(subset)]
        for subset in SUBSETS
    }
    facts = {"name": "tiny", "classes": ["walk", "wave"], "skeletons": "skeletons-test"}
    write_split(split.folder, clips, facts)
    said = text(Split.open(split.folder.parent, "tiny"))
    assert "Classes without a val clip, which are not scored: 'walk', 'wave'." in said
    assert "without a train clip" not in said


def test_reasons_for_leaving_clips_out_are_counted(make_split: Callable[..., Split]) -> None:
    split = make_split(**ALL)
    here = {"train": {"without a chosen class": 83}, "val": {"without frame labels": 2}}
    there = {str(n): "missing" for n in range(7)} | {"x": "is no .npz file <b>"}
    split.manifest = split.manifest.model_copy(update={"left_out": here})
    split.store.manifest = split.store.manifest.model_copy(update={"left_out": there})
    said = text(split)
    assert "without a chosen class 83 0 without frame labels 0 2" in said
    assert "its take is missing 7 is no .npz file <b> 1" in said
    assert "More clips are missing from the store (8) than are in it (5)." in said


def test_a_split_that_was_imported_says_so(make_split: Callable[..., Split]) -> None:
    assert "Not recorded: this split was imported." in text(make_split(**ALL))


def test_without_overlaps_there_is_no_table_of_them(make_split: Callable[..., Split]) -> None:
    assert "Pairs of classes that share frames: 0. Left out" in text(make_split(classes=("walk",), **ALL))


@pytest.mark.filterwarnings("error")
def test_hostile_class_names_are_shown_as_text(make_split: Callable[..., Split]) -> None:
    odd = ("<script>x</script>", "$\\frac$", "\ud800", "日本", "zero\x00", "long " * 60, "")
    split = make_split(classes=odd, **ALL)
    page = html(split)
    assert "<script>x" not in page
    assert "<script>x</script>" in unescape(page)
    assert player_of(page)["classes"][:2] == ["<script>x</script>", "$\\frac$"]


def test_of_many_classes_the_largest_overlaps_and_few_example_clips_are_shown(make_split: Callable[..., Split]) -> None:
    split = make_split(classes=tuple(f"class {n}" for n in range(30)), train=[20] * 12, val=[20])
    page = html(split)
    assert "Pairs of classes that share frames: 435" in page
    shown = [clip["name"] for clip in player_of(page)["clips"]]
    assert len(shown) == len(set(shown)) == 12
    assert "For each of the 20 most frequent classes, up to 3 training clips" in " ".join(page.split())


def test_example_clips_have_middle_lengths_and_are_all_different(
    make_split: Callable[..., Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = make_split(train=[10, 80, 30, 20, 40, 70, 50, 60], val=[5])  # all have both classes
    of_walk = [("walk", "train2"), ("walk", "train6"), ("walk", "train5")]  # of 30, 50 and 70 frames
    assert example_clips(split) == [*of_walk, ("wave", "train3"), ("wave", "train4"), ("wave", "train7")]
    monkeypatch.setattr(dataset_card, "MAX_CLASSES", 1)
    assert example_clips(split) == of_walk


def test_a_split_without_clips_has_a_page_too(make_split: Callable[..., Split]) -> None:
    split = make_split(train=[5])
    facts = {"name": "tiny", "classes": ["walk"], "skeletons": "skeletons-test"}
    write_split(split.folder, {"train": [], "val": []}, facts)
    said = text(Split.open(split.folder.parent, "tiny"))
    assert "Classes without a train clip, which cannot be learnt: 'walk'." in said


def test_preparation_ends_with_the_cards_and_names_them(
    synthetic: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(prepared, out)
    inputs = ["--amass", synthetic / "amass", "--babel", synthetic / "babel_v1.0_release"]
    call(build.main, "build", *inputs, "--body", "synthetic", "--out", out, "--workers", 1)
    printed = capsys.readouterr().out
    for name in ("split1", "split2", "split3"):
        path = out / name / "card.html"
        assert f"overview: {path}\n" in printed
        assert "100% of bodies upright" in " ".join(re.sub(r"<[^>]*>", " ", path.read_text()).split())


def test_poses_are_those_in_the_middle_of_the_clips(make_split: Callable[..., Split]) -> None:
    split = make_split(train=[9])
    joints = np.repeat(star()[None], 9, axis=0) * [1, 1, -1]
    joints[4] = star()
    write_store(split.store.folder, list(split.store.clips.values()), [joints], {})
    upright, height = upright_and_height(Split.open(split.folder.parent, "tiny"))
    assert upright == 1.0
    assert height == pytest.approx(np.linalg.norm(star()[3] - star()[LEFT_FOOT]), abs=1e-5)


def test_a_split_without_clips_has_a_card(make_split: Callable[..., Split]) -> None:
    split = make_split()
    assert np.isnan(upright_and_height(split)).all()
    assert "upright" not in text(split)
