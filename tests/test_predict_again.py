"""Several prediction commands in one folder do again only what changed, and never mix their results."""

import csv
import shutil
from argparse import Namespace
from pathlib import Path

import motions
import numpy as np
import pytest
from predictions import ALL, CLASSES, checkpoint, contents, options, results, run

import predict
from prepare.skeletons import recordings
from reporting import player
from tests.reporting.test_player import player_of
from utils.lock import lock_folder


def test_a_second_run_processes_only_what_changed(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    mine, out = shutil.copytree(motion, tmp_path / "in"), tmp_path / "out"
    made = []
    original = predict.predict
    monkeypatch.setattr(predict, "predict", lambda p, name, *rest: made.append(name) or original(p, name, *rest))
    arguments = options(mine, weights, out)

    def again(*more: object) -> list[str]:
        made.clear()
        assert run(*arguments, *more) == 0
        return list(made)

    assert len(again()) == 5
    before, first = contents(out), results(out)
    capsys.readouterr()
    assert again() == []
    assert "5 of 5 recordings done (5 of them before)" in capsys.readouterr().out
    assert {name: now[0] for name, now in contents(out).items()} == {name: then[0] for name, then in before.items()}
    np.save(mine / "b.npy", motions.joints_of(motions.poses(2.0, seed=5)))
    (out / "c" / "time_line.png").unlink()
    assert again() == ["b", "c"]
    assert results(out)["c"] == first["c"]
    assert results(out)["b"] != first["b"]
    assert again("--person", "1") == ["b", "c", "d", "e", "takes/a_poses"]
    assert {path.name for path in (out / "e").glob("*.png")} == {"time_line.png"}
    assert "e" in results(out)


def test_a_person_who_is_gone_leaves_no_file_and_is_not_on_the_page(
    motion: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, recording = tmp_path / "out", shutil.copy(motion / "e.skeleton", tmp_path)
    line = ["--weights", weights, recording, "--out", out, "--page"]
    assert run(*line) == 0
    assert (out / "e" / "person2_player.json").exists()
    Path(recording).write_text("damaged")
    assert run(*line) == 1
    Path(recording).write_bytes((motion / "e.skeleton").read_bytes())
    assert run(*line, "--person", "1") == 0
    assert not list((out / "e").glob("person*"))
    assert "shows 1 of 1 clips" in capsys.readouterr().out
    assert list(results(out)) == ["e"]


@pytest.mark.parametrize("by_default", [False, True])
def test_another_body_in_the_same_folder_is_another_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_default: bool
) -> None:
    monkeypatch.setattr(predict, "BODY", tmp_path)
    args = Namespace(weights=None, joint_map=None, body=None if by_default else str(tmp_path))
    facts = []
    for content in (b"one", b"another"):
        (tmp_path / "SMPLH_male.npz").write_bytes(content)
        facts.append(predict.command_facts(args))
    assert facts[0] != facts[1]


def test_a_page_shows_all_recordings_also_those_that_were_done_before(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--weights", weights, "--fps", 30, "--out", tmp_path, "--page"]
    given = [motion / "b.npy", motion / "e.skeleton", *more]
    assert run(*given) == 0
    data = player_of((tmp_path / "player.html").read_text(encoding="utf-8"))
    assert [clip["name"] for clip in data["clips"]] == ["b", "e:person1", "e:person2"]
    assert [(clip["first"], clip["frames"]) for clip in data["clips"]] == [(0, 90), (0, 90), (30, 60)]
    assert [len(clip["found"][0]) for clip in data["clips"]] == [len(found) for found in results(tmp_path).values()]
    assert (data["truth"], data["classes"]) == (False, list(CLASSES))
    monkeypatch.setattr(player, "PAGE_BYTES", 1)
    assert run(*given) == 0
    said = capsys.readouterr().out
    assert "2 of them before" in said
    assert "player.html, which shows 1 of 3 clips" in said
    assert len(player_of((tmp_path / "player.html").read_text(encoding="utf-8"))["clips"]) == 1
    (tmp_path / "b" / "player.json").unlink()
    (tmp_path / "b" / "prediction.json").unlink()
    assert run(*given[:1], *given[2:-1]) == 0  # one recording again, without --page
    assert "player.html: shows the results of an earlier command" in capsys.readouterr().out
    assert run(*given[1:]) == 0
    assert "recordings made without --page, not on the page: 1; repeat them" in capsys.readouterr().out


def test_ctrl_c_keeps_finished_recordings_and_ends_with_130(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    arguments = options(motion, weights, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setitem(recordings._READERS, ".bvh", stop)
        assert run(*arguments) == 130
    assert capsys.readouterr().err == "\nstopped\n"
    assert list(results(tmp_path / "out")) == ["b", "c"]
    assert run(*arguments) == 0
    assert "(2 of them before)" in capsys.readouterr().out
    assert list(results(tmp_path / "out")) == ALL


def test_several_commands_make_one_set_and_each_recording_keeps_its_name(
    motion: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    joints, out = np.load(motion / "b.npy"), tmp_path / "out"
    for place, part in {"one": joints, "two": joints[:60]}.items():
        (tmp_path / place).mkdir()
        np.save(tmp_path / place / "walk.npy", part)
    (tmp_path / "two" / "cut.npy").touch()
    told = ["--weights", weights, "--out", out, "--fps", 30]
    assert run(tmp_path / "one", *told) == 0
    first = results(out)
    assert list(first) == ["walk"]
    for _ in range(2):  # the second time nothing changes
        assert run(tmp_path / "two", *told) == 1
        assert list(results(out)) == ["walk", "walk-2"]
        assert results(out)["walk"] == first["walk"] != results(out)["walk-2"]
        rows = list(csv.DictReader((out / "segments.csv").open()))
        assert {row["recording"] for row in rows} == {"walk", "walk-2"}
        assert [row["recording"] for row in csv.DictReader((out / "failed.csv").open())] == ["cut"]
    assert run(tmp_path / "one", *told) == 0
    assert "1 of 1 recordings done (1 of them before)" in capsys.readouterr().out
    assert not list(csv.DictReader((out / "failed.csv").open()))
    np.save(tmp_path / "one" / "walk.npy", joints * 100)  # what was made of it before no longer counts
    assert run(tmp_path / "one", *told) == 1
    assert list(results(out)) == ["walk-2"]


def test_a_recording_in_a_folder_with_the_name_of_a_result_gets_another_name(
    motion: Path, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "in" / "walk").mkdir(parents=True)
    for name in ("walk.npy", "walk/segments.json.npy", "walk/prediction.json.npy"):
        shutil.copy(motion / "b.npy", tmp_path / "in" / name)
    assert run(tmp_path / "in", "--weights", weights, "--out", tmp_path / "out", "--fps", 30) == 0
    assert list(results(tmp_path / "out")) == ["walk", "walk/prediction.json-2", "walk/segments.json-2"]


def test_recordings_of_two_checkpoints_are_not_mixed(
    motion: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out, other = tmp_path / "out", checkpoint(tmp_path / "other.pt", "model.cosine_scale=4.0")
    told = ["--out", out, "--fps", 30]
    assert run(motion / "c.npz", "--weights", weights, *told) == 0
    before = contents(out)
    assert run(motion / "b.npy", "--weights", other, *told) == 2
    assert "out: 1 recordings in it, such as c, were made by another checkpoint" in capsys.readouterr().err
    assert contents(out) == before


def test_a_second_command_in_the_same_folder_waits_for_no_one(
    motion: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with lock_folder(tmp_path, "prediction", "wait"):
        assert run(motion / "b.npy", "--weights", weights, "--out", tmp_path, "--fps", 30) == 2
    assert "another prediction is running in this folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
