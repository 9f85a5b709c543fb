"""The data set card: right counts, a warning where something looks wrong, and the same page for the same data."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from prepare import build
from reporting import dataset_card as card
from reporting import dataset_stats as stock
from reporting.dataset_card import write_card
from reporting.dataset_stats import chosen_clips, count, look_at_bodies
from tests.reporting.test_skeleton_view import star
from utils.errors import UserError
from utils.store import SUBSETS, Split, write_split, write_store

ALL = {"train": [40, 9, 1200], "val": [30, 25]}


def html(split: Split) -> str:
    return write_card(split).read_text(encoding="utf-8")


def text(split: Split) -> str:
    """The page's text without tags, in one line."""
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", html(split), flags=re.DOTALL)).split())


def with_bodies(split: Split, pose: np.ndarray) -> Split:
    """The split over a store in which everybody stands still in this pose."""
    clips = list(split.store.clips.values())
    write_store(split.store.folder, clips, [np.repeat(pose[None], clip.frames, axis=0) for clip in clips], {})
    return Split.open(split.folder.parent, split.name)


def test_counts_are_those_of_the_frames_one_by_one(make_split: Callable[..., Split]) -> None:
    split = make_split(classes=("a", "b", "c"), gaps=True, **ALL)
    for subset in SUBSETS:
        found = count(split, subset)
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
    assert "clips over 1,000 frames, left out on loading by default 1 0" in said


@pytest.mark.parametrize(
    ("pose", "warning"),
    [
        (star()[:, [0, 2, 1]] * [1, 1, -1], "Only 0% of the bodies are upright: is z the vertical axis"),
        (star() * [1, 1, -1], "Only 0% of the bodies are upright"),
        (star() * 1000, "Bodies are 1581.93 m from foot to head: are the joints in metres?"),
        (np.full((25, 3), np.nan), "Joints that are no numbers are in the clips 'train0', 'train1', 'train2', 'val0'"),
    ],
    ids=["y up", "upside down", "millimetres", "no numbers"],
)
def test_bodies_that_look_wrong_are_warned_of(make_split: Callable[..., Split], pose: np.ndarray, warning: str) -> None:
    said = text(with_bodies(make_split(**ALL), pose))
    assert warning in said
    assert "Nothing looks wrong" not in said


def test_classes_without_clips_are_warned_of(make_split: Callable[..., Split]) -> None:
    split = make_split(**ALL)
    labels = [split.labels(sid) & (subset == "train") for subset in SUBSETS for sid in split.clip_ids(subset)]
    annotated = [split.annotated(sid) for subset in SUBSETS for sid in split.clip_ids(subset)]
    facts = {"name": "tiny", "classes": ["walk", "wave"], "skeletons": "skeletons-test"}
    write_split(split.folder, split.manifest.clips, labels, annotated, facts)
    said = text(Split.open(split.folder.parent, "tiny"))
    assert "No val clip has 'walk', 'wave': that cannot be scored." in said
    assert "No train clip" not in said


def test_what_was_left_out_is_named_with_its_reason(make_split: Callable[..., Split]) -> None:
    split = make_split(**ALL)
    here = {"train": {"without a chosen class": 83}, "val": {"without frame labels": 2}}
    there = {str(n): "missing" for n in range(7)} | {"x": "is no .npz file <b>"}
    split.manifest = split.manifest.model_copy(update={"left_out": here})
    split.store.manifest = split.store.manifest.model_copy(update={"left_out": there})
    said = text(split)
    assert "without a chosen class 83 0 without frame labels 0 2" in said
    assert "its take is missing 7 is no .npz file <b> 1" in said
    assert "More clips are missing from the store (8) than are in it (5)." in said


def test_a_split_that_was_not_made_from_babel_says_so(make_split: Callable[..., Split]) -> None:
    assert "Not recorded: this split was not made from BABEL's annotations." in text(make_split(**ALL))


@pytest.mark.filterwarnings("error")
def test_any_names_of_classes_are_shown_and_none_is_run(make_split: Callable[..., Split]) -> None:
    odd = ("<script>x</script>", "$\\frac$", "\ud800", "日本", "zero\x00", "long " * 60, "")
    split = make_split(classes=odd, **ALL)
    page = html(split)
    assert "<script" not in page
    assert "<script>x</script>" in unescape(page)


def test_of_many_classes_the_largest_overlaps_are_listed_and_few_clips_are_shown(
    make_split: Callable[..., Split],
) -> None:
    split = make_split(classes=tuple(f"class {n}" for n in range(30)), train=[20] * 12, val=[20])
    page = html(split)
    assert "435 pairs of classes share frames" in page
    assert page.count("Poses of clip") == card.STRIPS
    assert len(page) < 600_000


def test_shown_clips_are_of_middle_length_and_all_different(make_split: Callable[..., Split]) -> None:
    split = make_split(train=[10, 50, 30, 20, 40], val=[5])
    assert chosen_clips(split, 8) == [("walk", "train2"), ("wave", "train4")]
    assert chosen_clips(split, 1) == [("walk", "train2")]


def test_a_split_without_clips_has_a_page_too(make_split: Callable[..., Split]) -> None:
    split = make_split(train=[5])
    write_split(
        split.folder,
        {"train": [], "val": []},
        [],
        [],
        {"name": "tiny", "classes": ["walk"], "skeletons": "skeletons-test"},
    )
    said = text(Split.open(split.folder.parent, "tiny"))
    assert "No train clip has 'walk'" in said


def test_preparation_ends_with_the_cards_and_names_them(
    stand_in: Path,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    shutil.copytree(prepared, out)
    inputs = ["--amass", str(stand_in / "amass"), "--babel", str(stand_in / "babel_v1.0_release")]
    monkeypatch.setattr(sys, "argv", ["build", *inputs, "--body", "synthetic", "--out", str(out), "--workers", "1"])
    assert build.main() == 0
    printed = capsys.readouterr().out
    for name in ("split1", "split2", "split3"):
        path = out / name / "card.html"
        assert f"look: {path}\n" in printed
        assert "100% of bodies upright" in " ".join(re.sub(r"<[^>]*>", " ", path.read_text()).split())


def test_the_command_makes_the_card_of_a_split_that_is_there(
    make_split: Callable[..., Split], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_split(**ALL).folder.parent
    monkeypatch.setattr(sys, "argv", ["card", "--data", str(root), "--split", "tiny"])
    card.main()
    assert capsys.readouterr().out == f"written: {root / 'tiny' / 'card.html'}\n"
    monkeypatch.setattr(sys, "argv", ["card", "--data", str(root), "--split", "tinny"])
    with pytest.raises(UserError, match="holds no split 'tinny'"):
        card.main()


def test_bodies_are_looked_at_in_the_middle_of_their_clips(make_split: Callable[..., Split]) -> None:
    split = make_split(train=[9])
    joints = np.repeat(star()[None], 9, axis=0) * [1, 1, -1]
    joints[4] = star()
    write_store(split.store.folder, list(split.store.clips.values()), [joints], {})
    found = look_at_bodies(Split.open(split.folder.parent, "tiny"))
    assert (found.upright, found.broken) == (1.0, [])
    assert found.height == pytest.approx(np.linalg.norm(star()[3] - star()[stock.FOOT]), abs=1e-5)
