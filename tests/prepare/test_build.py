"""From downloads to the store: made once, brought up to date, never mixed, never lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import motions
import numpy as np
import pytest

from prepare.build import build, main
from prepare.formats.amass import AmassIndex, read_poses
from prepare.formats.body_model import load_body
from prepare.skeletons.body_joints import BodyJoints
from prepare.store.splits import check_split
from reporting.dataset_card import write_card
from utils.errors import UserError, run_command
from utils.lock import lock_folder
from utils.manifest import OTHER_DURATION
from utils.store import SkeletonStore, Split

SETS = {"mine": ["walk", "sit", "wave"]}
ROOT = Path(__file__).parents[2]


@pytest.fixture()
def data(synthetic: Path, tmp_path: Path) -> Path:
    """A copy of the synthetic data that a test may spoil; times of files are kept."""
    return Path(shutil.copytree(synthetic, tmp_path / "data"))


def prepare(data: Path, out: Path, **options: Any) -> Split:
    build(data / "amass", data / "babel_v1.0_release", options.pop("body", "synthetic"), out, SETS, **options)
    return Split.open(out, "mine")


def content(out: Path) -> dict[str, bytes]:
    """Every file of the store and its splits; not the pages that the command adds."""
    others = (".lock", "card.html")
    files = (file for file in sorted(out.rglob("*")) if file.is_file() and file.name not in others)
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def take_of(data: Path, split: Split, number: int = 0) -> tuple[str, Path]:
    sid = split.clip_ids("train")[number]
    return sid, data / "amass" / split.store.clips[sid].source["file"]


def changed(change: Callable[[np.ndarray, float], tuple[np.ndarray, float]]) -> Callable[[Path], None]:
    """Changes a take's poses and frame rate."""

    def spoil(file: Path) -> None:
        with np.load(file) as arrays:
            content = dict(arrays)
        rate = next(name for name in content if name.startswith("mocap_frame"))
        content["poses"], content[rate] = change(content["poses"], content[rate])
        np.savez(file, **content)

    return spoil


def linked(target: str) -> Callable[[Path], None]:
    return lambda file: (file.unlink(), file.symlink_to(target.format(name=file.name)))


SPOILS: list[tuple[Callable[[Path], Any], str]] = [  # how a take is spoiled, and what is said of it
    (lambda file: file.write_bytes(file.read_bytes()[:-99]), "is not a whole .npz file"),
    (changed(lambda poses, fps: (np.where(np.arange(156) == 7, np.nan, poses), fps)), "has poses that are not finite"),
    (changed(lambda poses, fps: (poses, 2 * fps)), OTHER_DURATION),
    (changed(lambda poses, fps: (poses, fps / 2)), OTHER_DURATION),
    (changed(lambda poses, fps: (poses[: len(poses) // 3], fps)), OTHER_DURATION),
    (lambda file: (file.unlink(), os.mkfifo(file)), "cannot be read (it is a named pipe, not a regular file)"),
    (linked("/dev/zero"), "cannot be read (it is a device, not a regular file)"),
    (linked("{name}"), "cannot be read (Too many levels of symbolic links)"),
]


def test_a_stored_clip_is_its_take_at_30_fps(synthetic: Path, tmp_path: Path) -> None:
    split = prepare(synthetic, tmp_path)
    joints = BodyJoints(load_body(str(synthetic)))
    for sid in [*split.clip_ids("train")[:3], *split.clip_ids("val")[:2]]:
        clip = split.store.clips[sid]
        index = AmassIndex(synthetic / "amass")
        whole = joints(read_poses(synthetic / "amass" / index.find(clip.feat_p))[1])
        assert clip.frames == min(int(30 * clip.duration + 1e-6), len(whole))
        assert np.allclose(split.store.joints(sid), whole[: clip.frames], atol=1e-5)
        assert len(split.labels(sid)) == len(split.annotated(sid)) == clip.frames
        assert split.labels(sid).any()


def test_the_number_of_workers_changes_no_byte(synthetic: Path, tmp_path: Path) -> None:
    prepare(synthetic, tmp_path / "one", workers=1)
    prepare(synthetic, tmp_path / "two", workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_second_run_reads_no_take_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(data, tmp_path / "out")
    before = content(tmp_path / "out")
    monkeypatch.setattr("prepare.skeletons.body_joints.read_poses", None)
    split = prepare(data, tmp_path / "out")
    assert content(tmp_path / "out") == before
    assert not (split.store.folder / "parts").exists()


def test_a_changed_take_is_noticed_and_redone_alone(data: Path, tmp_path: Path) -> None:
    before = prepare(data, tmp_path / "out")
    old = {sid: before.store.joints(sid).copy() for sid in before.store.clips}
    sid, file = take_of(data, before)
    with np.load(file) as arrays:
        changed = {**arrays, "poses": arrays["poses"] * 0.9}
    np.savez(file, **changed)
    after = prepare(data, tmp_path / "out").store
    assert not np.allclose(after.joints(sid), old[sid])
    assert all(np.array_equal(after.joints(other), old[other]) for other in old if other != sid)
    assert after.digest != before.store.digest


def test_a_run_with_a_limit_is_a_beginning_of_the_whole(synthetic: Path, tmp_path: Path) -> None:
    some = prepare(synthetic, tmp_path / "grown", limit=2)
    assert [len(some.clip_ids(subset)) for subset in ("train", "val")] == [2, 2]
    prepare(synthetic, tmp_path / "grown")
    prepare(synthetic, tmp_path / "grown", limit=1)  # takes nothing away
    prepare(synthetic, tmp_path / "whole")
    assert content(tmp_path / "grown") == content(tmp_path / "whole")


def test_what_is_missing_or_unusable_is_reported_with_its_download(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    whole = prepare(data, tmp_path / "whole")
    shutil.rmtree(data / "amass" / "BMLrub")
    others = [clip for clip in whole.store.clips.values() if not clip.source["file"].startswith("BMLrub")]
    spoiled = dict(zip([clip.sid for clip in others], SPOILS, strict=False))
    for sid, (spoil, _) in spoiled.items():
        spoil(data / "amass" / whole.store.clips[sid].source["file"])
    capsys.readouterr()
    left = prepare(data, tmp_path / "left")
    said = capsys.readouterr().out
    lost = {sid for sid, clip in whole.store.clips.items() if "BioMotionLab" in clip.feat_p} | set(spoiled)
    assert len(spoiled) == len(SPOILS)
    assert lost
    assert set(left.store.clips) == set(whole.store.clips) - lost
    row = next(line for line in said.splitlines() if line.startswith("BioMotionLab_NTroje")).split()
    assert row[1] == "0"
    assert int(row[2]) >= len(lost) - len(SPOILS)
    assert row[-1] == "BMLrub"
    for sid, (_, why) in spoiled.items():
        assert f"unusable: {whole.store.clips[sid].feat_p} {why}" in said
        assert left.store.manifest.left_out[sid].startswith(why)
    assert set(left.store.manifest.left_out) >= lost
    card = write_card(left).read_text()
    assert f"{len(SPOILS)} clips are left out because their takes cannot be used." in card
    assert re.search(rf"{OTHER_DURATION}</td>\s*<td[^>]*>3<", card)
    assert "Nothing looks wrong" not in card


def test_what_was_made_of_a_take_stays_when_the_take_is_gone(data: Path, tmp_path: Path) -> None:
    before = prepare(data, tmp_path / "out")
    sid, file = take_of(data, before)
    file.unlink()
    assert sid in prepare(data, tmp_path / "out").store.clips


def test_another_body_or_other_labels_make_another_store(data: Path, tmp_path: Path) -> None:
    first = prepare(data, tmp_path / "out").store
    kept = content(first.folder)
    body = load_body("synthetic")
    del body["parents"]
    kintree = np.stack([load_body("synthetic")["parents"] % 2**32, np.arange(52)])
    np.savez(tmp_path / "taller.npz", **{**body, "v_template": body["v_template"] * 1.1}, kintree_table=kintree)
    second = prepare(data, tmp_path / "out", body=str(tmp_path / "taller.npz")).store
    path = data / "babel_v1.0_release" / "train.json"
    labels = json.loads(path.read_text())
    next(iter(labels.values()))["dur"] -= 1
    path.write_text(json.dumps(labels))
    third = prepare(data, tmp_path / "out").store
    assert len({first.folder, second.folder, third.folder}) == 3
    assert content(first.folder) == kept


def test_a_store_is_of_one_flavour_and_names_the_missing_download(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    body = str(motions.write_smplx_body(tmp_path / "SMPLX_NEUTRAL.npz"))
    smplh = prepare(data, tmp_path / "out", limit=3).store
    with pytest.raises(UserError) as caught:
        prepare(data, tmp_path / "none", body=body, limit=3)
    said = "has poses (T, 156) of type float32, those of SMPL-X are (T, 165) floats: download 'SMPL-X G'"
    assert str(caught.value).count(said) == 1  # once for all takes
    sids = list(smplh.clips)
    for sid in sids[1:]:  # beside the takes of SMPL-H, which have the exact name; the first has no twin
        file = data / "amass" / smplh.clips[sid].source["file"]
        twin = data / "amass" / "SMPL-X" / smplh.clips[sid].source["file"].replace("_poses", "_stageii")
        twin.parent.mkdir(parents=True, exist_ok=True)
        changed(lambda poses, fps: (motions.as_smplx(poses), fps))(shutil.copy(file, twin))
        if file.name == twin.name:
            file.unlink()
    (data / "amass" / smplh.clips[sids[-1]].source["file"]).unlink(missing_ok=True)
    capsys.readouterr()
    smplx = prepare(data, tmp_path / "out", body=body, limit=3).store
    assert f"unusable: {smplh.clips[sids[0]].feat_p} {said}" in capsys.readouterr().out
    assert (smplh.manifest.settings["model"], smplx.manifest.settings["model"]) == ("SMPL-H", "SMPL-X")
    assert set(smplx.clips) >= set(sids[1:])
    for sid in sids[1:]:
        np.testing.assert_allclose(smplx.joints(sid)[:, :21], smplh.joints(sid)[:, :21], atol=1e-5)


def test_other_hands_make_another_store(synthetic: Path, tmp_path: Path) -> None:
    plain, released = (prepare(synthetic, tmp_path, limit=1, hands=hands).store for hands in ("as-is", "released"))
    assert plain.folder != released.folder
    assert [store.manifest.settings["hands"] for store in (plain, released)] == ["as-is", "released"]
    for sid in plain.clips:
        apart = np.abs(plain.joints(sid) - released.joints(sid)).max(axis=(0, 2))
        assert (apart > 1e-3).tolist() == [False] * 21 + [True] * 4


def test_a_split_is_not_replaced_by_one_of_other_classes_without_being_asked(synthetic: Path, tmp_path: Path) -> None:
    prepare(synthetic, tmp_path, limit=2)
    before = content(tmp_path)
    sources = synthetic / "amass", synthetic / "babel_v1.0_release", "synthetic"
    for classes in (["wave"], ["sit", "walk", "wave"]):
        with pytest.raises(UserError, match="mine: has labels of walk, sit, wave; choose .*, or give --replace"):
            build(*sources, tmp_path, {"mine": classes}, limit=2)
    assert content(tmp_path) == before
    build(*sources, tmp_path, {"mine": ["wave"]}, limit=2, replace=True)
    assert Split.open(tmp_path, "mine").classes == ("wave",)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("skeletons-12345678", "names that begin with 'skeletons-' are those of stores"),
        ("Skeletons-1", "names that begin with"),
        ("split2", "is the split of the paper with sit, run, stand up, kick; choose another"),
        ("../mine", "is not a plain name"),
    ],
)
def test_reserved_names_are_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"^--name .*{said}"):
        check_split(tmp_path, name, ["walk"], replace=True)


def test_two_runs_at_once_do_not_meet(synthetic: Path, tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path, "preparation", ""),
        pytest.raises(UserError, match=r"another preparation is running.*wait for it"),
    ):
        prepare(synthetic, tmp_path)
    prepare(synthetic, tmp_path)


@pytest.mark.parametrize(
    ("moment", "sent"),
    [
        (0.05, signal.SIGKILL),
        *(pytest.param(moment, signal.SIGKILL, marks=pytest.mark.slow) for moment in (0.0, 0.1, 0.2, 0.5)),
        *(pytest.param(0.05, sent, marks=pytest.mark.slow) for sent in (signal.SIGTERM, signal.SIGINT)),
    ],
)
def test_a_stopped_run_resumes_to_the_same_bytes(
    synthetic: Path, prepared: Path, tmp_path: Path, moment: float, sent: signal.Signals
) -> None:
    command = [sys.executable, "-m", "prepare.build", "--amass", str(synthetic / "amass"), "--body", "synthetic"]
    command += ["--babel", str(synthetic / "babel_v1.0_release"), "--out", str(tmp_path), "--workers", "2"]
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    started = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **output)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("skeletons-*/parts/*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(moment)
    os.killpg(started.pid, sent)
    said = started.communicate(timeout=60)[1]
    if sent != signal.SIGKILL:
        assert started.returncode == 130, said
        assert said.strip().splitlines()[-1] == "stopped; run the same command again to resume"  # after any progress
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert content(tmp_path) == content(prepared)


def test_a_damaged_store_is_made_anew(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    store = prepare(data, tmp_path / "out").store
    before = content(tmp_path / "out")
    joints = store.folder / store.manifest.joints_file
    joints.write_bytes(joints.read_bytes()[:-10])
    prepare(data, tmp_path / "out")
    assert "made anew" in capsys.readouterr().out
    assert content(tmp_path / "out") == before


def test_names_in_the_labels_never_leave_the_folder(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = data / "babel_v1.0_release" / "train.json"
    labels = json.loads(path.read_text())
    sids = list(labels)
    labels["../../escaped"] = labels.pop(sids[0])
    labels[sids[1]]["feat_p"] = "A/../../../../etc/passwd"
    labels[sids[2]]["feat_p"] = "KIT/\ud800/\x1b[31m.npz"  # half a surrogate pair, and a colour of the terminal
    path.write_text(json.dumps(labels))
    inside = {file for file in tmp_path.rglob("*") if "out" not in file.parts}
    store = prepare(data, tmp_path / "out").store
    assert {file for file in tmp_path.rglob("*") if "out" not in file.parts} == inside
    for sid in sids[1:3]:
        assert sid not in store.clips
        assert store.manifest.left_out[sid] == "missing"
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--amass", "nowhere"], "nowhere holds no AMASS take"),
        (["--amass", "EMPTY"], "holds no AMASS take (.npz): download 'SMPL+H G'"),
        (["--babel", "EMPTY"], "train.json: cannot be read"),
        (["--body", "nowhere.pkl"], "nowhere.pkl: cannot be read (No such file or directory); expected a body model"),
        (["--actions", "ACTIONS", "--name", "mine"], "no clip has the action 'wakl'; did you mean 'walk'"),
        (["--actions", "ACTIONS", "--name", "../mine"], "--name '../mine' is not a plain name"),
        (["--actions", "ACTIONS", "--name", "split1"], "is the split of the paper with walk, stand, turn, jump"),
        (["--actions", "ACTIONS", "--name", "skeletons-1"], "names that begin with 'skeletons-' are those of stores"),
    ],
)
def test_a_mistake_is_one_clear_message(
    synthetic: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    options: list[str],
    said: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "actions.json").write_text('{"wakl": 0}')
    places = {"EMPTY": str(tmp_path / "empty"), "ACTIONS": str(tmp_path / "actions.json")}
    command = ["prepare.build", "--amass", str(synthetic / "amass"), "--body", "synthetic"]
    command += ["--babel", str(synthetic / "babel_v1.0_release"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command + [places.get(option, option) for option in options])
    with pytest.raises(SystemExit) as caught:
        run_command(main)
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not (tmp_path / "out").exists()


def test_a_store_is_opened_only_as_what_it_is(prepared: Path) -> None:
    store = Split.open(prepared, "split1").store
    assert SkeletonStore.open(store.folder).digest == store.digest
    assert {"settings", "babel", "versions", "left_out"} <= store.manifest.model_fields_set
