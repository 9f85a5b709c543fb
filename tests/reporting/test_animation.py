"""Animations play at the clip's own speed, show its labels, and are written whole or not at all."""

import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from evaluation.localization import Detections
from reporting import animation
from reporting.animation import animate, clip_texts, draw_pictures, found_texts
from reporting.skeleton_view import SkeletonView
from utils.errors import UserError
from utils.store import Split, write_split

RNG = np.random.default_rng(0)
MOTION = RNG.normal(size=(1, 25, 3)) + 0.05 * RNG.normal(size=(21, 25, 3)).cumsum(axis=0)
UNLABELLED = len(MOTION) * [""]


def gif(path: Path) -> tuple[int, float]:
    """The number of pictures and the seconds of a GIF."""
    with Image.open(path) as image:
        waits = []
        for number in range(image.n_frames):
            image.seek(number)
            waits.append(image.info["duration"])
    return len(waits), sum(waits) / 1000


def mp4(path: Path) -> tuple[int, float]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        return sum(1 for _ in container.decode(stream)), float(stream.duration * stream.time_base)


@pytest.mark.parametrize(("suffix", "read", "step"), [("gif", gif, 2), ("mp4", mp4, 1)])
def test_an_animation_lasts_as_long_as_the_clip(
    tmp_path: Path, suffix: str, read: Callable[[Path], tuple[int, float]], step: int
) -> None:
    path = tmp_path / f"clip.{suffix}"
    animate(path, MOTION, UNLABELLED, "clip")
    pictures, seconds = read(path)
    assert pictures == -(-len(MOTION) // step)
    assert seconds == pytest.approx(pictures * step / 30, abs=0.011)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_gif_skips_frames_that_are_too_many_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.gif"
    monkeypatch.setattr(animation, "GIF_PICTURES", 5)
    animate(path, MOTION, UNLABELLED, "long")
    assert gif(path) == (5, pytest.approx(25 / 30, abs=0.011))


def test_each_picture_has_the_label_of_its_frame() -> None:
    named = [("walk" if frame == 10 else "") for frame in range(len(MOTION))]
    pictures, unlabelled = (
        [np.asarray(image) for image in draw_pictures(MOTION, labels, "title", 10)] for labels in (named, UNLABELLED)
    )
    assert [np.array_equal(*pair) for pair in zip(pictures, unlabelled, strict=True)] == [True, False, True]


def test_the_time_counts_from_the_first_frame_of_the_recording() -> None:
    whole, late = (list(draw_pictures(MOTION[[5, 5]], ["", ""], "title", 1, first)) for first in (0, 1))
    assert whole[1] == late[0] != whole[0]


def test_all_pictures_have_one_even_size_whatever_the_labels() -> None:
    labels = ["true: walk\nfound: a very long name of a class " * (1 + frame % 3) for frame in range(len(MOTION))]
    sizes = {image.size for image in draw_pictures(MOTION, labels, "t", 1)}
    assert len(sizes) == 1
    assert all(side % 2 == 0 for size in sizes for side in size)


@pytest.mark.parametrize("name", ["clip.png", "clip", "clip.avi"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name}: an animation is a .gif or an .mp4"):
        animate(tmp_path / name, MOTION, UNLABELLED, "clip")


def test_without_the_encoder_gifs_are_still_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        UserError, match=r"clip\.mp4: \.mp4 needs the package av .*install requirements.txt, or write a"
    ):
        animate(tmp_path / "clip.mp4", MOTION, UNLABELLED, "clip")
    animate(tmp_path / "clip.gif", MOTION[:2], UNLABELLED, "clip")
    assert [file.name for file in tmp_path.iterdir()] == ["clip.gif"]


def test_joints_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    joints = MOTION.copy()
    joints[5, 3] = np.nan
    with pytest.raises(UserError, match=r"clip\.gif: this clip has joints that are not finite"):
        animate(tmp_path / "clip.gif", joints, UNLABELLED, "clip")


@pytest.mark.parametrize("name", ["clip.gif", "clip.mp4"])
def test_a_failure_midway_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"before")
    drawn = SkeletonView.draw

    def fail_later(self: SkeletonView, joints: np.ndarray) -> Image.Image:
        if np.array_equal(joints, MOTION[4]):
            raise OSError(28, "No space left on device")
        return drawn(self, joints)

    monkeypatch.setattr(SkeletonView, "draw", fail_later)
    with pytest.raises(OSError, match="No space"):
        animate(path, MOTION, UNLABELLED, "clip")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def tiny(make_split: Callable[..., Split], labels: np.ndarray, annotated: np.ndarray) -> Split:
    split = make_split(train=[6], val=[6])
    facts = {"name": "tiny", "classes": ["walk", "wave"], "skeletons": "skeletons-test"}
    write_split(split.folder, {subset: [(f"{subset}0", labels, annotated)] for subset in ("train", "val")}, facts)
    return Split.open(split.folder.parent, "tiny")


@pytest.fixture()
def split(make_split: Callable[..., Split]) -> Split:
    """Clips of six frames: not annotated, background, walk, walk and wave, wave, wave."""
    labels = np.array([[0, 0], [0, 0], [1, 0], [1, 1], [0, 1], [0, 1]], bool)
    return tiny(make_split, labels, np.arange(6) > 0)


def test_a_frame_is_labelled_with_all_its_true_classes(split: Split) -> None:
    assert clip_texts(split, "val0") == ["not annotated", "background", "walk", "walk, wave", "wave", "wave"]


def test_detections_are_named_below_the_true_classes_best_first(split: Split) -> None:
    found = Detections.of(0, [0, 0, 1], [[1, 3], [2, 4], [1.6, 3.4]], [0.5, 0.25, 0.75])
    lines = [text.split("\n")[1] for text in clip_texts(split, "val0", found)]
    none, both = "found: nothing", "found: wave 0.75, walk 0.50"
    assert lines == [none, "found: walk 0.50", both, "found: walk 0.25", none, none]


def test_the_label_of_a_frame_is_its_best_detections() -> None:
    found = Detections.of(0, [0, 1, 0], [[0, 6], [4, 8], [5, 6]], [0.5, 0.9, 0.1])
    expected = ["walk 0.50"] * 4 + ["wave 0.90, walk 0.50"] * 2 + ["wave 0.90"] * 2 + [""] * 2
    assert found_texts(found, 10, ("walk", "wave")) == expected
    assert found_texts(Detections.concatenate([]), 2, ("walk", "wave")) == ["", ""]
