"""predict.py gives one message for a wrong command, a damaged file or a full disk, and goes on where it can."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from predictions import options, results, run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--weights": "nowhere.pt"}, "nowhere.pt: no such file"),
        ({"--weights": "bare.pt"}, "holds weights alone, without classes and settings"),
        (
            {"--joint-map": "nowhere.yaml"},
            "nowhere.yaml: cannot be read (No such file or directory); expected a joint map",
        ),
        ({"--body": "nowhere.pkl"}, "nowhere.pkl: cannot be read (No such file or directory); expected a body model"),
        ({"--fps": "0"}, "argument --fps: 0: expected 1 to 2000"),
        ({"--fps": "nan"}, "argument --fps: nan: expected 1 to 2000"),
        ({"--scale": "0"}, "argument --scale: 0: expected 1e-06 to 1000000"),
        ({"--scale": "cm"}, "argument --scale: invalid float value: 'cm'"),
        ({"--person": "0"}, "argument --person: 0: expected 1 or more"),
        ({"--window": "3"}, "argument --window: 3: expected 30 or more"),
        ({"--up": "w"}, "argument --up: invalid choice"),
        ({"--out": "bare.pt"}, "--out: bare.pt: expected a folder"),
        ({"--out": "."}, "is both an input and --out"),
        ({"--wait": "1"}, "unrecognized arguments"),
    ],
)
def test_a_wrong_command_writes_nothing_and_ends_with_2_and_one_message(
    changes: dict[str, str], message: str, weights: Path, motion: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    torch.save({"l1.bn.weight": torch.ones(3)}, "bare.pt")
    shutil.copy(motion / "b.npy", "b.npy")
    given = {"--weights": str(weights), "--out": "out", "--fps": "30"} | changes
    assert run(".", *[part for pair in given.items() for part in pair]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().splitlines()[-1].startswith(("error: ", "predict.py: error: "))
    assert {path.name for path in tmp_path.iterdir()} == {"bare.pt", "b.npy"}


def test_a_damaged_recording_is_reported_and_the_others_are_processed(
    motion: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mine, out = tmp_path / "in", tmp_path / "out"
    mine.mkdir()
    joints = np.load(motion / "b.npy")
    np.save(mine / "good.npy", joints)
    np.save(mine / "giant.npy", joints * 100)
    (mine / "cut.bvh").write_text("HIERARCHY\nROOT Hips\n")
    (mine / "caf\udce9 $x$.npz").write_bytes(b"PK")
    (mine / "empty.skeleton").touch()
    arguments = [mine, "--weights", weights, "--out", out, "--fps", 30]
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 4
    assert "1 of 5 recordings done" in printed.out
    assert "4 failed" in printed.out
    failed = {row["recording"]: row["reason"] for row in csv.DictReader((out / "failed.csv").open())}
    assert set(failed) == {"giant", "cut", "caf\\xe9 $x$", "empty"}
    assert "--scale 0.01" in failed["giant"]
    assert list(results(out)) == ["good"]
    for name in ("cut.bvh", "caf\udce9 $x$.npz", "empty.skeleton"):
        (mine / name).unlink()
    np.save(mine / "giant.npy", joints)
    assert run(*arguments) == 0
    assert list(results(out)) == ["giant", "good"]
    assert (out / "failed.csv").read_text() == "recording,reason,file\n"


@pytest.mark.parametrize("value", [float("nan"), 1e38])
def test_weights_that_are_not_finite_or_overflow_give_one_message(
    motion: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture, value: float
) -> None:
    content = torch.load(weights)
    for tensor in content["model"].values():
        if tensor.is_floating_point():
            tensor.fill_(value)
    torch.save(content, tmp_path / "damaged.pt")
    told = ["--weights", tmp_path / "damaged.pt", "--out", tmp_path / "out", "--fps", 30]
    assert run(motion / "b.npy", *told) == 1
    said = capsys.readouterr().err
    assert "the network gave probabilities that are not finite" in said
    assert "Traceback" not in said
    assert said.count("\n") == 1


def test_a_full_disk_gives_one_message(
    motion: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("utils.atomic.sync", full)
    assert run(*options(motion, weights, tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert "time_line.png: No space left on device" in error
    assert "Traceback" not in error
    assert not list(tmp_path.rglob("*.tmp"))


def test_help_gives_examples_and_a_default_for_every_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    assert run("--help") == 0
    helps = capsys.readouterr().out
    assert "python predict.py --weights work_dir/split1/last.pt" in helps
    options = [line for line in helps.splitlines() if line.startswith("  --")]
    without = [line.split()[0] for line in options if "(default: " not in line]
    assert len(options) == 15
    assert without == ["--weights", "--out"]  # required
