"""From downloads to the store: what is made of them, and what is said of those that cannot be used."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import change_take, content, prepare
from commands import exit_status

from prepare.build import main
from prepare.formats.amass import find_takes, read_poses
from prepare.formats.body_model import load_body
from prepare.formats.flavours import SMPLH
from prepare.skeletons.body_joints import BodyJoints
from prepare.store.splits import check_split
from reporting.dataset_card import write_card
from utils.errors import UserError
from utils.manifest import OTHER_DURATION
from utils.store import SkeletonStore, Split


def test_a_stored_clip_is_its_take_at_30_fps(synthetic: Path, tmp_path: Path) -> None:
    split = prepare(synthetic, tmp_path)
    joints = BodyJoints(load_body(str(synthetic)))
    for sid in [*split.clip_ids("train")[:3], *split.clip_ids("val")[:2]]:
        clip = split.store.clips[sid]
        (file,) = find_takes(synthetic / "amass", SMPLH, [clip.feat_p]).values()
        whole = joints(read_poses(synthetic / "amass" / file, SMPLH)[1])
        assert clip.frames == min(int(30 * clip.duration + 1e-6), len(whole))
        assert np.allclose(split.store.joints(sid), whole[: clip.frames], atol=1e-5)
        assert len(split.labels(sid)) == len(split.annotated(sid)) == clip.frames
        assert split.labels(sid).any()


def test_the_number_of_workers_changes_no_byte(synthetic: Path, tmp_path: Path) -> None:
    prepare(synthetic, tmp_path / "one", workers=1)
    prepare(synthetic, tmp_path / "two", workers=2)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_store_is_opened_and_says_where_it_comes_from(prepared: Path) -> None:
    split = Split.open(prepared, "split1")
    assert split.manifest.left_out["train"] == {"without a chosen class": 11, "without frame labels": 1}
    store = split.store
    assert SkeletonStore.open(store.folder).digest == store.digest
    assert {"settings", "babel", "versions", "left_out"} <= store.manifest.model_fields_set


SPOILS: list[tuple[Callable[[Path], Any], str]] = [  # how a take is spoiled, and what is said of it
    (lambda file: file.write_bytes(file.read_bytes()[:-99]), "is not a whole .npz file"),
    (
        lambda file: change_take(file, lambda p: np.where(np.arange(156) == 7, np.nan, p)),
        "has poses that are not finite",
    ),
    (lambda file: change_take(file, faster=2), OTHER_DURATION),
    (lambda file: change_take(file, faster=0.5), OTHER_DURATION),
    (lambda file: change_take(file, lambda poses: poses[: len(poses) // 3]), OTHER_DURATION),
    (lambda file: (file.unlink(), os.mkfifo(file)), "cannot be read (it is a named pipe, not a regular file)"),
    (lambda file: (file.unlink(), file.symlink_to("/dev/zero")), "cannot be read (it is a device, not a regular file)"),
    (lambda file: (file.unlink(), file.symlink_to(file.name)), "cannot be read (Too many levels of symbolic links)"),
]


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
    assert len(spoiled) == len(SPOILS) < len(lost)
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
    synthetic: Path, tmp_path: Path, capsys: pytest.CaptureFixture, options: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "actions.json").write_text('{"wakl": 0}')
    places = {"EMPTY": str(tmp_path / "empty"), "ACTIONS": str(tmp_path / "actions.json")}
    command = ["prepare.build", "--amass", str(synthetic / "amass"), "--body", "synthetic"]
    command += ["--babel", str(synthetic / "babel_v1.0_release"), "--out", str(tmp_path / "out")]
    command += [places.get(option, option) for option in options]
    assert exit_status(main, *command) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not (tmp_path / "out").exists()
