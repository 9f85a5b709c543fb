"""Commands are killed at random moments, get damaged input files, or have too little memory or disk space.

Counts how often each case was tried, and how often it passed:

    ROBUSTNESS_REPORT=docs/robustness.md bash tests/run.sh --all tests/test_robustness.py

ROBUSTNESS_SEED selects other random moments and other damage (default 0). ROBUSTNESS_TRIES multiplies the number of
tries (default 1).
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import predictions
import pytest
import torch
from robustness import PATIENCE, SEED, TRIES, Tally, damaged, killed, starved, undisturbed
from runs import ROOT, assert_same_end, children, command, on_ranks, rows, small, start, wait_until

import arguments
from model.checkpoint import load_localizer
from prepare.build import build
from prepare.formats.files import SUFFIXES
from utils import config
from utils.store import Split

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    """Counts all tries. At the end the figures are written where ROBUSTNESS_REPORT says."""
    tally = Tally()
    yield tally
    if report := os.environ.get("ROBUSTNESS_REPORT"):
        tally.report(Path(report))


def content(folder: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob(pattern))}


@pytest.mark.parametrize("chain", range(2 * TRIES))
def test_killed_trainings(prepared: Path, tmp_path: Path, tally: Tally, chain: int) -> None:
    rng, calm, folder = random.Random(f"train {SEED} {chain}"), tmp_path / "calm", tmp_path / "run"
    options = ("eval.every=2", f"train.seed={chain}")
    seconds = undisturbed(command(*small(prepared, calm, *options)))
    line = command(*small(prepared, folder, *options))

    def again() -> list[str]:
        return [*line, "--resume"] if (folder / "config.yaml").exists() else line

    loud = [killed(again(), rng, seconds) for _ in range(4)]
    undisturbed(again())
    assert_same_end(folder, calm)
    for said in loud:
        tally.count("training is killed or stopped, then resumed: the same run, bit by bit", not said, said)


def test_killed_ranks(prepared: Path, tmp_path: Path, tally: Tally) -> None:
    rng, calm, folder = random.Random(f"ranks {SEED}"), tmp_path / "calm", tmp_path / "run"
    undisturbed(on_ranks(2, *small(prepared, calm)))
    for _ in range(2 * TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        line = on_ranks(2, *small(prepared, folder))
        started = start(line)
        wait_until((folder / "last.pt").exists, started)
        time.sleep(rng.uniform(0, 1))
        for child in rng.sample(children(started.pid)[:2], 1):
            os.kill(child, signal.SIGKILL)
        started.communicate(timeout=PATIENCE)
        undisturbed([*line, "--resume"])
        same = [row["loss"] for row in rows(folder)] == [row["loss"] for row in rows(calm)]
        tally.count("one of two ranks is killed, then resumed: the same losses", same)


def test_killed_preparations(synthetic: Path, tmp_path: Path, tally: Tally) -> None:
    rng = random.Random(f"prepare {SEED}")
    (tmp_path / "actions.json").write_text('{"walk": 0, "sit": 1, "wave": 2}')

    def line(out: Path) -> list[str]:
        data = ["--amass", synthetic / "amass", "--babel", synthetic / "babel_v1.0_release", "--body", "synthetic"]
        names = ["--actions", tmp_path / "actions.json", "--name", "mine", "--out", out]
        return [sys.executable, "-m", "prepare.build", *map(str, data + names)]

    seconds = undisturbed(line(tmp_path / "calm"))
    loud = [killed(line(tmp_path / "out"), rng, seconds) for _ in range(5 * TRIES)]
    undisturbed(line(tmp_path / "out"))
    for pattern in ("*.npy", "split.json", "store.json"):
        assert content(tmp_path / "out", pattern) == content(tmp_path / "calm", pattern)
    for said in loud:
        tally.count("preparation is killed or stopped, then repeated: the same bytes", not said, said)


def predicting(trained: Path, motion: Path, out: Path) -> list[str]:
    options = [*predictions.options(motion, trained / "last.pt", out), "--device", "cpu"]
    return [sys.executable, "predict.py", *map(str, options)]


def test_killed_predictions(trained: Path, motion: Path, tmp_path: Path, tally: Tally) -> None:
    rng = random.Random(f"predict {SEED}")
    seconds = undisturbed(predicting(trained, motion, tmp_path / "calm"))
    loud = [killed(predicting(trained, motion, tmp_path / "out"), rng, seconds) for _ in range(5 * TRIES)]
    undisturbed(predicting(trained, motion, tmp_path / "out"))
    for pattern in ("segments.*", "failed.csv"):
        assert content(tmp_path / "out", pattern) == content(tmp_path / "calm", pattern)
    for said in loud:
        tally.count("prediction is killed or stopped, then repeated: the same segments", not said, said)


def test_damaged_checkpoints(trained: Path, prepared: Path, tmp_path: Path, tally: Tally) -> None:
    rng, whole = random.Random(f"checkpoints {SEED}"), (trained / "best.pt").read_bytes()
    settings, split = config.load([], [f"data.root={prepared}"]), Split.open(prepared, "split1")
    calm = load_localizer(trained / "best.pt", split, settings)[0].state_dict()
    for _ in range(50 * TRIES):
        (tmp_path / "best.pt").write_bytes(damaged(whole, rng))
        with tally.trying("a damaged checkpoint is refused, or the weights read from it are unchanged"):
            found = load_localizer(tmp_path / "best.pt", split, settings)[0].state_dict()
            assert all(torch.equal(found[name], tensor) for name, tensor in calm.items())


def test_damaged_stores(prepared: Path, tmp_path: Path, tally: Tally) -> None:
    rng = random.Random(f"stores {SEED}")

    def arrays(root: Path) -> Iterator[np.ndarray]:
        split = Split.open(root, "split1")
        for sid in split.clip_ids("train"):
            yield from (split.store.joints(sid), split.labels(sid), split.annotated(sid))

    for number in range(50 * TRIES):
        root = Path(shutil.copytree(prepared, tmp_path / str(number)))
        files = [*root.glob("skeletons-*/*.[jn]*"), *root.glob("split1/*.[jn]*")]
        file = rng.choice(sorted(files))
        file.write_bytes(damaged(file.read_bytes(), rng))
        with tally.trying("a damaged store or split is refused, or the arrays read from it are unchanged"):
            assert all(np.array_equal(a, b) for a, b in zip(arrays(root), arrays(prepared), strict=True)), file
        shutil.rmtree(root)


def test_damaged_configs(tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, whole = random.Random(f"configs {SEED}"), config.BASE.read_bytes()
    monkeypatch.setattr(sys, "argv", ["train.py", "--config", str(tmp_path / "own.yaml")])
    for _ in range(50 * TRIES):
        (tmp_path / "own.yaml").write_bytes(damaged(whole, rng))
        with tally.trying("a damaged config is read, or refused in one message"):
            arguments.train("")


def test_damaged_labels(synthetic: Path, tmp_path: Path, tally: Tally) -> None:
    rng, out = random.Random(f"labels {SEED}"), tmp_path / "out"
    babel = Path(shutil.copytree(synthetic / "babel_v1.0_release", tmp_path / "babel"))
    whole = (babel / "train.json").read_bytes()
    for _ in range(30 * TRIES):
        (babel / "train.json").write_bytes(damaged(whole, rng))
        with tally.trying("damaged labels are prepared, or refused in one message"):
            build(synthetic / "amass", babel, "synthetic", out, {"mine": ["walk", "sit"]}, limit=2)
        shutil.rmtree(out, ignore_errors=True)


def test_damaged_recordings(trained: Path, motion: Path, tmp_path: Path, tally: Tally) -> None:
    rng, count = random.Random(f"recordings {SEED}"), 60 * TRIES
    (tmp_path / "in").mkdir()
    shutil.copy(motion / "map.yaml", tmp_path / "in")
    files = sorted(file for file in motion.rglob("*") if file.suffix in SUFFIXES)
    for number in range(count):
        file = rng.choice(files)
        (tmp_path / "in" / f"{number}{file.suffix}").write_bytes(damaged(file.read_bytes(), rng))
    line = predicting(trained, tmp_path / "in", tmp_path / "out")
    outcome = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert outcome.returncode in (0, 1), outcome.stderr
    assert "Traceback" not in outcome.stderr
    found = json.loads((tmp_path / "out" / "segments.json").read_text())["results"]
    failed = (tmp_path / "out" / "failed.csv").read_text().count("\n") - 1
    for _ in range(count):
        tally.count("a damaged recording is predicted, or reported with its reason", len(found) + failed >= count)


@pytest.mark.parametrize("size", ["64k", "300k", "8m"])
def test_little_shared_memory(prepared: Path, tmp_path: Path, tally: Tally, size: str) -> None:
    line = command(*small(prepared, tmp_path / "run", "train.epochs=1"))
    outcome = starved(f"mount -t tmpfs -o size={size} tmpfs /dev/shm", line)
    tally.count("training with little shared memory", outcome.returncode == 0, outcome.stderr)


@pytest.mark.parametrize("size", ["16k", "256k", "600k", "1m"])
def test_little_disk(prepared: Path, trained: Path, motion: Path, tmp_path: Path, tally: Tally, size: str) -> None:
    """A disk that may be too small for a run or a prediction: it suffices, or one message says that it is full."""
    for line in (command(*small(prepared, tmp_path / "run")), predicting(trained, motion, tmp_path / "run")):
        outcome = starved(f"mount -t tmpfs -o size={size} tmpfs {tmp_path}", line)
        full = re.search(r"^error: .*(No space left|full)", outcome.stderr, flags=re.MULTILINE)
        clear = "Traceback" not in outcome.stderr and (outcome.returncode == 0 or full is not None)
        tally.count("training or prediction on a disk that is too small: one message", clear, outcome.stderr)


def test_folders_that_forbid_writing(prepared: Path, trained: Path, motion: Path, tmp_path: Path, tally: Tally) -> None:
    for line in (command(*small(prepared, tmp_path / "run")), predicting(trained, motion, tmp_path / "run")):
        outcome = starved(f"mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path}", line)
        refused = re.fullmatch(rf"error: {tmp_path}.*Read-only file system.*\n", outcome.stderr)
        tally.count("a folder of results that is read-only: one message", refused is not None, outcome.stderr)


def test_no_home_folder(prepared: Path, tmp_path: Path, tally: Tally) -> None:
    line = command(*small(prepared, tmp_path / "run", "train.epochs=1"))
    outcome = starved("true", line, HOME="/nonexistent")
    tally.count("training without a home folder", outcome.returncode == 0, outcome.stderr)
