"""Computed takes: a later run finds their cache files, and computes damaged ones again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import prepare.formats.amass
from prepare.formats.body_model import load_body
from prepare.formats.labels import AnnotatedClip
from prepare.skeletons.body_joints import BodyJoints
from prepare.store import update
from prepare.store.update import TakeSource, compute_takes, read_computed, update_store
from utils.errors import TakeError, UserError
from utils.manifest import MISSING, Clip
from utils.store import SkeletonStore


def takes_below(amass: Path) -> TakeSource:
    joints_of = BodyJoints(load_body("synthetic"))

    def read(path: Path, clip: AnnotatedClip) -> tuple[float, np.ndarray]:
        fps, poses = prepare.formats.amass.read_poses(path, joints_of.flavour, clip.duration)
        return fps, joints_of(poses[:20])

    return TakeSource(amass, read, {}, {})


def computed(amass: Path, folder: Path, clip: AnnotatedClip) -> Clip | TakeError:
    return compute_takes(takes_below(amass), folder, [clip], {clip.sid: clip.take}, workers=1)[clip.sid]


@pytest.fixture()
def clip(synthetic: Path) -> AnnotatedClip:
    """A clip whose take is named by its file below the folder of takes."""
    take = min((synthetic / "amass").rglob("*.npz"))
    with np.load(take) as arrays:
        seconds = len(arrays["poses"]) / next(arrays[name] for name in arrays if name.startswith("mocap_frame"))
    return AnnotatedClip("a", "train", str(take.relative_to(synthetic / "amass")), [], seconds)


def test_a_computed_take_is_found_again_and_a_damaged_one_is_computed_again(
    synthetic: Path, tmp_path: Path, clip: AnnotatedClip
) -> None:
    take = computed(synthetic / "amass", tmp_path, clip)
    assert isinstance(take, Clip)
    found, joints = read_computed(tmp_path, clip)
    assert found == take
    assert joints.shape == (20, 1, 25, 3)
    assert read_computed(tmp_path, replace(clip, duration=None)) is None  # more frames are needed now
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    half = len(whole) // 2
    for damaged in (b"", b"{}\n", whole[:-4], whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]):
        file.write_bytes(damaged)
        assert read_computed(tmp_path, clip) is None
    assert computed(synthetic / "amass", tmp_path, clip) == take
    assert np.array_equal(read_computed(tmp_path, clip)[1], joints)


def test_a_take_that_changes_while_it_is_read_is_not_used(
    synthetic: Path, tmp_path: Path, clip: AnnotatedClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    amass, read = tmp_path / "amass", prepare.formats.amass.read_poses
    (amass / clip.take).parent.mkdir(parents=True)
    (amass / clip.take).write_bytes((synthetic / "amass" / clip.take).read_bytes())

    def read_and_change(path: Path, *options: Any) -> tuple:
        found = read(path, *options)
        path.write_bytes(path.read_bytes() + b"x")
        return found

    monkeypatch.setattr(prepare.formats.amass, "read_poses", read_and_change)
    outcome = computed(amass, tmp_path / "cache", clip)
    assert isinstance(outcome, TakeError)
    assert str(outcome) == "was changed while it was read: run the command again"


@pytest.fixture()
def takes(synthetic: Path, tmp_path: Path, clip: AnnotatedClip) -> TakeSource:
    """A folder that holds the take of the clip alone."""
    file = tmp_path / "amass" / clip.take
    file.parent.mkdir(parents=True)
    file.write_bytes((synthetic / "amass" / clip.take).read_bytes())
    return takes_below(tmp_path / "amass")


def test_a_store_stays_although_no_take_can_be_used_any_more(
    takes: TakeSource, tmp_path: Path, clip: AnnotatedClip
) -> None:
    before = update_store(tmp_path, takes, [clip], {"a": clip.take}, 1, {"a"})
    (takes.folder / clip.take).write_bytes(b"damaged")
    with pytest.raises(UserError, match="none of the takes of the annotated clips could be used"):
        update_store(tmp_path, takes, [clip], {"a": clip.take}, 1, {"a"})
    assert SkeletonStore.open(before.folder).digest == before.digest


def test_the_store_says_the_present_reason_why_a_clip_is_left_out(
    takes: TakeSource, tmp_path: Path, clip: AnnotatedClip
) -> None:
    clips, files = [clip, replace(clip, sid="b")], {"a": clip.take}
    assert update_store(tmp_path, takes, clips, files, 1, {"a"}).manifest.left_out == {"b": MISSING}
    (takes.folder / "b.npz").write_bytes(b"damaged")
    left_out = update_store(tmp_path, takes, clips, {**files, "b": "b.npz"}, 1, {"a", "b"}).manifest.left_out
    assert left_out["b"].startswith("is not a whole .npz file")


def test_a_take_that_is_gone_is_a_problem_of_this_take_alone(
    synthetic: Path, tmp_path: Path, clip: AnnotatedClip
) -> None:
    takes, files = takes_below(synthetic / "amass"), {"gone": "gone.npz", "a": clip.take}
    outcomes = compute_takes(takes, tmp_path, [replace(clip, sid="gone"), clip], files, workers=2)
    assert str(outcomes["gone"]) == "cannot be read (No such file or directory)"
    assert isinstance(outcomes["a"], Clip)


def test_takes_are_computed_on_one_thread_and_the_number_of_threads_is_restored(tmp_path: Path) -> None:
    (tmp_path / "take.npz").write_bytes(b"a")

    def read(*_: Any) -> tuple[float, np.ndarray]:
        return torch.get_num_threads(), np.zeros((1, 25, 3))  # in place of the frame rate

    clip, before = AnnotatedClip("a", "train", "A/B/take", []), torch.get_num_threads()
    torch.set_num_threads(2)
    takes = TakeSource(tmp_path, read, {}, {})
    assert compute_takes(takes, tmp_path / "cache", [clip], {"a": "take.npz"}, workers=1)["a"].fps == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_a_cache_file_that_is_lost_before_the_store_is_written_is_told(
    synthetic: Path, tmp_path: Path, clip: AnnotatedClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute_and_lose(takes: TakeSource, cache: Path, *others: Any) -> dict[str, Clip | TakeError]:
        found = compute_takes(takes, cache, *others)
        next(cache.iterdir()).unlink()
        return found

    monkeypatch.setattr(update, "compute_takes", compute_and_lose)
    with pytest.raises(UserError, match=r"parts: the joints of .*\.npz are gone or damaged; run the command again"):
        update_store(tmp_path, takes_below(synthetic / "amass"), [clip], {"a": clip.take}, 1, {"a"})
