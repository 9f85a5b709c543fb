"""From downloads to the store: made once, brought up to date, never mixed, never lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prepare.build import build
from prepare.formats.amass import AmassIndex, read_poses
from prepare.formats.smplh_body import load_body
from prepare.skeletons.smplh import SmplhJoints
from utils.errors import UserError
from utils.lock import lock_folder
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
    """Every file of the store and its splits; not what only saves time, nor the pages that the command adds."""
    others = (".lock", "seen.json", "card.html")
    files = (file for file in sorted(out.rglob("*")) if file.is_file() and file.name not in others)
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def take_of(data: Path, split: Split, number: int = 0) -> tuple[str, Path]:
    sid = split.clip_ids("train")[number]
    return sid, data / "amass" / split.store.clips[sid].source["file"]


def test_a_stored_clip_is_its_take_at_30_fps(synthetic: Path, tmp_path: Path) -> None:
    split = prepare(synthetic, tmp_path)
    joints = SmplhJoints(load_body(str(synthetic)))
    for sid in [*split.clip_ids("train")[:3], *split.clip_ids("val")[:2]]:
        clip = split.store.clips[sid]
        index = AmassIndex(synthetic / "amass", {clip.feat_p.split("/")[1]})
        _, blocks = read_poses(synthetic / "amass" / index.find(clip.feat_p))
        whole = joints(np.concatenate(list(blocks)))
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
    monkeypatch.setattr("prepare.store.workers._hash", None)
    monkeypatch.setattr("prepare.skeletons.smplh.read_poses", None)
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


def test_what_is_missing_or_unreadable_is_reported_with_its_download(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    whole = prepare(data, tmp_path / "whole")
    shutil.rmtree(data / "amass" / "BMLrub")
    spoiled = [s for s in whole.clip_ids("train") if not whole.store.clips[s].source["file"].startswith("BMLrub")][:2]
    for sid, spoil in zip(spoiled, (lambda f: f.write_bytes(f.read_bytes()[:-99]), _with_nan), strict=True):
        spoil(data / "amass" / whole.store.clips[sid].source["file"])
    capsys.readouterr()
    left = prepare(data, tmp_path / "left")
    said = capsys.readouterr().out
    lost = {sid for sid, clip in whole.store.clips.items() if "BioMotionLab" in clip.feat_p} | set(spoiled)
    assert lost
    assert set(left.store.clips) == set(whole.store.clips) - lost
    row = next(line for line in said.splitlines() if line.startswith("BioMotionLab_NTroje")).split()
    assert row[1] == "0"
    assert int(row[2]) >= len(lost) - 2
    assert row[-1] == "BMLrub"
    assert "not a whole .npz file" in said
    assert "poses that are not finite (NaN, infinite or too large for 32 bits)" in said
    assert set(left.store.manifest.left_out) >= lost


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


def test_two_runs_at_once_do_not_meet(synthetic: Path, tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path, "preparation", ""),
        pytest.raises(UserError, match=r"another preparation is running.*wait for it"),
    ):
        prepare(synthetic, tmp_path)
    prepare(synthetic, tmp_path)


@pytest.mark.parametrize("moment", [0.05, *(pytest.param(m, marks=pytest.mark.slow) for m in (0.0, 0.1, 0.2, 0.5))])
def test_a_killed_run_resumes_to_the_same_bytes(synthetic: Path, prepared: Path, tmp_path: Path, moment: float) -> None:
    command = [sys.executable, "-m", "prepare.build", "--amass", str(synthetic / "amass"), "--body", "synthetic"]
    command += ["--babel", str(synthetic / "babel_v1.0_release"), "--out", str(tmp_path), "--workers", "2"]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("skeletons-*/parts/*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(moment)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
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


def test_frame_rates_are_compared_with_babels_table(
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    clips = prepare(synthetic, tmp_path / "out").store.clips
    table = {clip.feat_p: clip.fps for clip in clips.values()}
    odd = next(iter(table))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "featp_2_fps.json").write_text(json.dumps({**table, odd: 33.0}))
    prepare(synthetic, tmp_path / "out", babel_code=tmp_path / "code")
    said = capsys.readouterr().out
    assert f"{len(table) - 1} of {len(table)} clips agree" in said
    assert f"{odd} has {table[odd]:g} fps, BABEL's table says 33" in said


def test_names_in_the_labels_never_leave_the_folder(data: Path, tmp_path: Path) -> None:
    path = data / "babel_v1.0_release" / "train.json"
    labels = json.loads(path.read_text())
    sids = list(labels)
    labels["../../escaped"] = labels.pop(sids[0])
    labels[sids[1]]["feat_p"] = "A/../../../../etc/passwd"
    path.write_text(json.dumps(labels))
    inside = {file for file in tmp_path.rglob("*") if "out" not in file.parts}
    store = prepare(data, tmp_path / "out").store
    assert {file for file in tmp_path.rglob("*") if "out" not in file.parts} == inside
    assert sids[1] not in store.clips
    assert "no path below the AMASS folder" in store.manifest.left_out[sids[1]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--amass", "nowhere"], "the AMASS folder nowhere does not exist"),
        (["--amass", "EMPTY"], "holds no AMASS take (.npz): download 'SMPL+H G'"),
        (["--babel", "EMPTY"], "train.json cannot be read"),
        (["--body", "nowhere.pkl"], "the body model nowhere.pkl does not exist"),
        (["--actions", "ACTIONS", "--name", "mine"], "no clip has the action 'wakl'; did you mean 'walk'"),
        (["--actions", "ACTIONS", "--name", "../mine"], "--name '../mine' is not a plain name"),
    ],
)
def test_a_mistake_is_one_clear_message(synthetic: Path, tmp_path: Path, options: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "actions.json").write_text('{"wakl": 0}')
    places = {"EMPTY": str(tmp_path / "empty"), "ACTIONS": str(tmp_path / "actions.json")}
    command = [sys.executable, "-m", "prepare.build", "--amass", str(synthetic / "amass"), "--body", "synthetic"]
    command += ["--babel", str(synthetic / "babel_v1.0_release"), "--out", str(tmp_path / "out")]
    command += [places.get(option, option) for option in options]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("error: ")
    assert said in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (tmp_path / "out").exists()


def _with_nan(file: Path) -> None:
    with np.load(file) as arrays:
        spoiled = dict(arrays)
    spoiled["poses"][5, 7] = np.nan
    np.savez(file, **spoiled)


def test_a_store_is_opened_only_as_what_it_is(prepared: Path) -> None:
    store = Split.open(prepared, "split1").store
    assert SkeletonStore.open(store.folder).digest == store.digest
    assert {"settings", "babel", "versions", "left_out"} <= store.manifest.model_fields_set
