"""Small runs of train.py, what they leave, and how two of them are compared."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
import validate
from model.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[1]
# With RANKS_ON_ONE_GPU=gloo or nccl, the ranks of the tests share one GPU
BACKEND = os.environ.get("RANKS_ON_ONE_GPU")
DEVICE = "cuda" if BACKEND else "cpu"
TIMES = ("seconds", "frames_per_second")  # the figures of the clock, which no two runs share
SMALL = [
    "model.width=4",
    "train.epochs=3",
    "train.batch_size=4",
    "refine.start=1",
    "refine.history=2",
]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def on_ranks(count: int, *arguments: str) -> list[str]:
    """The command of train.py on so many ranks."""
    script = [str(ROOT / "tests" / "ranks_on_one_gpu.py"), BACKEND] if BACKEND else [str(ROOT / "train.py")]
    return [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={count}", *script, *arguments]


def run(*arguments: str, pictures: bool = False) -> int:
    """train.py in this process, as from the command line. Only with `pictures` are any drawn."""
    torch.use_deterministic_algorithms(False)
    with pytest.MonkeyPatch.context() as patch:
        if not pictures:
            draw_nothing(patch)
        return call(train.main, "train.py", *arguments)


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """TensorBoard gets no pictures and the report empty ones. Drawing takes most of the time of a small run."""
    patch.setattr(validate.Validation, "show", lambda *_: None)
    patch.setattr(Figure, "savefig", lambda *_, **__: None)


def small(prepared: Path, work_dir: Path, *more: str, device: str = DEVICE) -> list[str]:
    return ["--work-dir", str(work_dir), "--device", device, "--set", f"data.root={prepared}", *SMALL, *more]


def start(arguments: list[str], **options: Any) -> subprocess.Popen:
    """A command in a process group of its own, with its two outputs kept apart."""
    kept = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen(arguments, **kept, **options)


def finish(arguments: list[str], **environment: str) -> subprocess.CompletedProcess:
    """A command that has to work."""
    outcome = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, **environment})
    assert outcome.returncode == 0, outcome.stderr
    return outcome


def wait_until(condition: Callable[[], bool], process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    """The processes that a process has started, in the order of their numbers."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # it has ended meanwhile
            parents[int(status.parent.name)] = int(status.read_text().split("PPid:")[1].split()[0])
    return sorted(child for child, parent in parents.items() if parent == pid)


def rows(folder: Path) -> list[dict[str, Any]]:
    """The epochs' figures, without those of the clock."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in found]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows, without the figures of the clock."""
    board = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = (tag for tag in board.Tags()["scalars"] if tag not in TIMES)
    return {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in tags}


def equal(a: Any, b: Any) -> bool:
    """Bit by bit, whatever they are nested in."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def assert_same_end(folder: Path, uninterrupted: Path) -> None:
    """Weights, optimizer, pseudo-label history, best epoch, figures, curves and results are the same, bit by bit."""
    for name in ("last.pt", "previous.pt", "best.pt"):
        ours, theirs = (load_checkpoint(f / name) for f in (folder, uninterrupted))
        assert ours.pop("settings")["train"] == theirs.pop("settings")["train"]
        assert equal(ours, theirs), name
    assert rows(folder) == rows(uninterrupted)
    assert scalars(folder) == scalars(uninterrupted)
    here, there = (json.loads((f / "results.json").read_text()) for f in (folder, uninterrupted))
    for name in ("corrected", "released"):
        assert here[name] == there[name]
    assert here["oracle_epoch"]["epoch"] == there["oracle_epoch"]["epoch"]
    assert (folder / "detections.json").read_bytes() == (uninterrupted / "detections.json").read_bytes()
    assert not list(folder.glob("*.tmp"))
