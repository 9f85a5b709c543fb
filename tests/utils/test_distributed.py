"""Several ranks give the results of one process, and stop together with one message."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import DEVICE, children, on_ranks, rows, run, small, start, wait_until

from model.checkpoint import load_checkpoint
from utils.store import SkeletonStore, Split, write_store

FRAMES = [
    41,
    30,
    64,
    18,
    52,
    37,
    25,
    48,
    20,
]  # 3 batches of up to 4; the last has one clip, so two of three ranks have none
VARIANTS = {
    "corrected": [],
    "held out": ["data.holdout=0.25"],
    "released": ["model.mask_padding=false", "model.detach_second_view=true", "loss.detach_multi_view=true",
                 "data.bucketing=false", "data.drop_last=true", "refine.zero_start=true", "refine.mask_absent=false"],
}  # fmt: skip


@pytest.fixture()
def data(make_split: Callable[..., Split], tmp_path: Path) -> Path:
    make_split(("walk", "wave", "turn"), train=FRAMES, val=[35, 28, 44, 19, 23])
    return tmp_path


def arguments(data: Path, folder: Path, *more: str) -> list[str]:
    return small(data, folder, "data.split=tiny", "train.precision=float64", "eval.batch_size=2", "eval.every=2", *more)


def together(ranks: int, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(on_ranks(ranks, *arguments), capture_output=True, text=True, env=environment)


def assert_equal_runs(ours: Path, theirs: Path) -> None:
    """Losses are equal to 1e-8, scores exactly, pseudo-label histories to 1e-6, weights to 1e-5."""
    for here, there in zip(rows(ours), rows(theirs), strict=True):
        assert here["loss"] == pytest.approx(there["loss"], rel=0, abs=1e-8)
        for name in here.keys() & {"corrected", "released", "held_out_classification_mAP"}:
            assert here[name] == there[name]
    a, b = (load_checkpoint(folder / "last.pt") for folder in (ours, theirs))
    torch.testing.assert_close(a["pseudo_labels"]["history"], b["pseudo_labels"]["history"], rtol=0, atol=1e-6)
    assert torch.equal(a["pseudo_labels"]["seen"], b["pseudo_labels"]["seen"])
    for name, tensor in a["model"].items():
        torch.testing.assert_close(tensor, b["model"][name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("ranks", "variant"),
    [
        (3, "corrected"),
        *(
            pytest.param(ranks, variant, marks=pytest.mark.slow)
            for ranks, variant in [(2, "corrected"), (2, "held out"), (2, "released"), (3, "released")]
        ),
    ],
)
def test_several_ranks_train_and_score_as_one_process_does(data: Path, ranks: int, variant: str) -> None:
    line = [arguments(data, data / name, *VARIANTS[variant]) for name in ("one", "several")]
    assert run(*line[0]) == 0
    outcome = together(ranks, *line[1])
    assert outcome.returncode == 0, outcome.stderr
    assert len(re.findall("^epoch ", outcome.stdout, flags=re.MULTILINE)) == 3  # only the main rank prints
    assert_equal_runs(data / "several", data / "one")
    assert {path.name for path in (data / "several").iterdir()} >= {"best.pt", "results.json", "time_line.png"}
    test = ["--phase", "test", "--weights", str(data / "one" / "last.pt"), "--device", DEVICE, "--set"]
    test += [f"data.root={data}", "data.split=tiny", "eval.batch_size=2"]
    assert run(*test, "--work-dir", str(data / "alone")) == 0
    outcome = together(2, *test, "--work-dir", str(data / "shared out"))
    assert outcome.returncode == 0, outcome.stderr
    for name in ("results.json", "detections.json"):
        assert (data / "shared out" / name).read_bytes() == (data / "alone" / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_run_whose_rank_is_killed_goes_on_with_another_number_of_ranks(data: Path, killed: int) -> None:
    assert run(*arguments(data, data / "one", "train.epochs=12")) == 0
    line = arguments(data, data / "run", "train.epochs=12")
    started = start(on_ranks(2, *line))
    wait_until(lambda: (data / "run" / "previous.pt").exists(), started)
    os.kill(children(started.pid)[killed], signal.SIGKILL)
    began = time.monotonic()
    said = started.communicate(timeout=60)[1]
    assert time.monotonic() - began < 20
    assert started.returncode == 1
    told = "error: another process of this training was killed, lost its machine, or did not answer for 30 minutes"
    assert len([text for text in said.splitlines() if text.startswith(told)]) == 1
    assert 0 < load_checkpoint(data / "run" / "last.pt")["epoch"] < 11
    outcome = together(3, *line, "--resume")
    assert outcome.returncode == 0, outcome.stderr
    assert_equal_runs(data / "run", data / "one")


@pytest.mark.slow
def test_ranks_that_torchrun_starts_again_resume_their_run(data: Path) -> None:
    line = on_ranks(2, *arguments(data, data / "run", "train.epochs=12"), "--resume-or-start")
    started = start([*line[:3], "--max-restarts=1", *line[3:]])
    wait_until(lambda: (data / "run" / "previous.pt").exists(), started)
    os.kill(children(started.pid)[1], signal.SIGKILL)
    said = started.communicate(timeout=120)[1]
    assert started.returncode == 0, said
    assert len(rows(data / "run")) == 12


@pytest.mark.slow
def test_ranks_that_are_told_to_stop_say_once_how_to_go_on(data: Path) -> None:
    started = start(on_ranks(2, *arguments(data, data / "run", "train.epochs=50")))
    wait_until(lambda: (data / "run" / "last.pt").exists(), started)
    started.send_signal(signal.SIGTERM)
    said = started.communicate(timeout=60)[1]
    assert said.count("stopped; every finished epoch is kept. Go on with: torchrun --nproc_per_node 2 ") == 1


def stop_the_second_rank(started: subprocess.Popen) -> None:
    os.kill(children(started.pid)[1], signal.SIGSTOP)


@pytest.mark.slow
def test_a_rank_that_does_not_answer_ends_the_run_after_the_time_limit(data: Path) -> None:
    started = start(on_ranks(2, *arguments(data, data / "run", "train.epochs=500", "train.timeout=0.1")))
    wait_until(lambda: (data / "run" / "last.pt").exists(), started)
    stop_the_second_rank(started)
    said = started.communicate(timeout=90)[1]
    assert started.returncode == 1
    told = "was killed, lost its machine, or did not answer for 0.1 minutes (train.timeout), or the connection failed ("
    assert f"error: another process of this training {told}" in said
    assert "every finished epoch is kept. Go on with: torchrun --nproc_per_node 2 " in said


@pytest.mark.slow
def test_a_main_rank_that_waits_for_another_one_says_how_to_go_on_when_it_is_told_to_stop(data: Path) -> None:
    started = start(on_ranks(2, *arguments(data, data / "run", "train.epochs=500")))
    wait_until(lambda: (data / "run" / "last.pt").exists(), started)
    stop_the_second_rank(started)
    time.sleep(2)  # until the main rank waits in an exchange
    started.send_signal(signal.SIGTERM)
    said = started.communicate(timeout=90)[1]
    assert said.count("stopped; every finished epoch is kept. Go on with: torchrun --nproc_per_node 2 ") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["data.split=none"], "error: {} holds no split 'none'"),
        (["train.epochs=1"], "error: epoch 1: the loss is not finite"),
    ],
)
def test_what_is_wrong_is_said_once_and_stops_all_ranks(data: Path, more: list[str], said: str) -> None:
    store = SkeletonStore.open(next(data.glob("skeletons-*")))
    joints = [np.array(store.joints(sid)) for sid in store.clips]
    joints[0][3] = np.nan  # in a training clip; batch norm spreads it to all ranks. Only the last case trains
    write_store(store.folder, list(store.clips.values()), joints, {})
    outcome = together(2, *arguments(data, data / "run", *more))
    assert outcome.returncode == 1
    lines = outcome.stderr.splitlines()
    assert len([line for line in lines if line.startswith(said.format(data))]) == 1
    causes = [line for line in lines if line.startswith("  traceback : utils.errors.UserError: ")]  # torchrun's summary
    assert len(causes) == 1
    assert "  File " not in "".join(lines[: lines.index(next(line for line in lines if line.startswith("error: ")))])


@pytest.mark.slow
@pytest.mark.parametrize("more", [["train.sync_batch_norm=false"], ["train.accumulate=2"]])
def test_settings_that_are_not_those_of_one_process_train_on_ranks(data: Path, more: list[str]) -> None:
    """Their results are those of the saved weights, also if each rank had batch-norm statistics of its own."""
    outcome = together(3, *arguments(data, data / "run", *more, "train.precision=float32"))
    assert outcome.returncode == 0, outcome.stderr
    assert len(rows(data / "run")) == 3
    test = ["--phase", "test", "--weights", str(data / "run" / "last.pt"), "--device", DEVICE]
    test += ["--work-dir", str(data / "again"), "--set", f"data.root={data}", "data.split=tiny", "eval.batch_size=2"]
    assert run(*test) == 0
    assert (data / "again" / "detections.json").read_bytes() == (data / "run" / "detections.json").read_bytes()
