"""A store is brought up to date, never mixed with another, and never lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import motions
import numpy as np
import pytest
from building import change_take, content, prepare
from commands import ROOT

from prepare.build import build
from prepare.formats.body_model import load_body
from prepare.formats.labels import PAPER_SPLITS
from utils.errors import UserError
from utils.lock import lock_folder
from utils.store import Split


def take_of(data: Path, split: Split) -> tuple[str, Path]:
    sid = split.clip_ids("train")[0]
    return sid, data / "amass" / split.store.clips[sid].source["file"]


def test_a_second_run_reads_no_take_again(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(data, tmp_path / "out")
    before = content(tmp_path / "out")
    monkeypatch.setattr("prepare.build.read_poses", None)
    split = prepare(data, tmp_path / "out")
    assert content(tmp_path / "out") == before
    assert not (split.store.folder / "parts").exists()


def test_a_changed_take_is_noticed_and_redone_alone(data: Path, tmp_path: Path) -> None:
    before = prepare(data, tmp_path / "out")
    old = {sid: before.store.joints(sid).copy() for sid in before.store.clips}
    sid, file = take_of(data, before)
    change_take(file, lambda poses: poses * 0.9)
    after = prepare(data, tmp_path / "out").store
    assert not np.allclose(after.joints(sid), old[sid])
    assert all(np.array_equal(after.joints(other), old[other]) for other in old if other != sid)
    assert after.digest != before.store.digest


def test_what_was_made_of_a_take_stays_when_the_take_is_gone(data: Path, tmp_path: Path) -> None:
    before = prepare(data, tmp_path / "out")
    sid, file = take_of(data, before)
    file.unlink()
    assert sid in prepare(data, tmp_path / "out").store.clips


def test_a_run_with_a_limit_is_a_beginning_of_the_whole(synthetic: Path, tmp_path: Path) -> None:
    some = prepare(synthetic, tmp_path / "grown", limit=2)
    assert [len(some.clip_ids(subset)) for subset in ("train", "val")] == [2, 2]
    prepare(synthetic, tmp_path / "grown")
    prepare(synthetic, tmp_path / "grown", limit=1)  # takes nothing away
    prepare(synthetic, tmp_path / "whole")
    assert content(tmp_path / "grown") == content(tmp_path / "whole")


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
    build(synthetic / "amass", synthetic / "babel_v1.0_release", "synthetic", tmp_path, PAPER_SPLITS)
    assert content(tmp_path) == content(prepared)


def test_a_damaged_store_is_made_anew(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    store = prepare(data, tmp_path / "out").store
    before = content(tmp_path / "out")
    joints = store.folder / store.manifest.joints_file
    joints.write_bytes(joints.read_bytes()[:-10])
    prepare(data, tmp_path / "out")
    said = f"warning: {store.folder} is damaged, or of another version, and is written again"
    assert said in capsys.readouterr().out.splitlines()
    assert content(tmp_path / "out") == before


def test_two_runs_at_once_do_not_meet(synthetic: Path, tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path, "preparation", ""),
        pytest.raises(UserError, match=r"another preparation is running.*wait for it"),
    ):
        prepare(synthetic, tmp_path)
    prepare(synthetic, tmp_path)


def test_another_body_or_other_labels_make_another_store(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
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
    why = f"made from other data, with other options or by another version than {second.folder.name}, which stays"
    assert f"mine now uses {third.folder.name}, {why}" in capsys.readouterr().out
    assert len({first.folder, second.folder, third.folder}) == 3
    assert content(first.folder) == kept


def test_other_hands_make_another_store(synthetic: Path, tmp_path: Path) -> None:
    plain, released = (prepare(synthetic, tmp_path, limit=1, hands=hands).store for hands in ("as-is", "released"))
    assert plain.folder != released.folder
    assert [store.manifest.settings["hands"] for store in (plain, released)] == ["as-is", "released"]
    for sid in plain.clips:
        apart = np.abs(plain.joints(sid) - released.joints(sid)).max(axis=(0, 2))
        assert (apart > 1e-3).tolist() == [False] * 21 + [True] * 4


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
        change_take(shutil.copy(file, twin), motions.as_smplx)
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


def test_a_split_is_not_replaced_by_one_of_other_classes_without_being_asked(synthetic: Path, tmp_path: Path) -> None:
    prepare(synthetic, tmp_path, limit=2)
    before = content(tmp_path)
    sources = synthetic / "amass", synthetic / "babel_v1.0_release", "synthetic"
    for classes in (["wave"], ["sit", "walk", "wave"]):
        with pytest.raises(
            UserError, match="mine: has labels of walk, sit, wave, not of .*; choose .*, or give --replace"
        ):
            build(*sources, tmp_path, {"mine": classes}, limit=2)
    assert content(tmp_path) == before
    build(*sources, tmp_path, {"mine": ["wave"]}, limit=2, replace=True)
    assert Split.open(tmp_path, "mine").classes == ("wave",)
