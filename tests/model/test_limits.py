"""A very long clip is evaluated, and the memory grows in proportion to its length."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import runs
import torch

from model.localizer import Localizer
from utils import config
from utils.run import FORMAT, write_checkpoint
from utils.store import Split

# VmHWM, as ru_maxrss starts at what the process that started this one held
MEASURED = """
import sys, train
sys.argv = ["train.py", *sys.argv[1:]]
status = train.main()
print("peak MiB", int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("frames", "width", "most"),
    [
        (20_000, 16, 1100),
        pytest.param(100_000, 16, 1560, marks=pytest.mark.slow),
        pytest.param(100_000, 64, 4440, marks=pytest.mark.slow),
    ],
)
def test_a_very_long_clip_is_evaluated_in_bounded_memory(
    make_split: Callable[..., Split], tmp_path: Path, frames: int, width: int, most: int
) -> None:
    split = make_split(train=[30], val=[frames])
    settings = config.load([], [f"model.width={width}", f"data.max_frames={frames}"])
    torch.manual_seed(21)  # at width 16, the most probable class changes often: there are thousands of segments
    model = Localizer(len(split.classes), settings.model)
    weights = {"model": model.state_dict(), "classes": list(split.classes), "settings": settings.model_dump()}
    write_checkpoint(tmp_path / "w.pt", {"format": FORMAT, **weights})
    arguments = ["--phase", "test", "--weights", str(tmp_path / "w.pt"), "--device", "cpu"]
    arguments += ["--set", f"data.root={tmp_path}", "data.split=tiny"]
    outcome = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], cwd=runs.ROOT, capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stderr
    peak = int(outcome.stdout.split("peak MiB ")[1])
    assert peak < most, f"{peak} MiB"
    assert json.loads((tmp_path / "eval" / "results.json").read_text())["corrected"]["clips"] == 1
