"""What a GPU would do in training, counted without one by a tool that lies beside the checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import ROOT, small

TOOL = ROOT.parent / "shared" / "tools" / "pretend_gpu.py"


needs_tool = pytest.mark.skipif(not TOOL.exists() or shutil.which("g++") is None, reason="needs pretend_gpu.py and g++")


@needs_tool
def test_a_step_waits_for_the_gpu_at_most_twice(prepared: Path, tmp_path: Path) -> None:
    """Once to see whether the loss of the step before is finite; the rest is what ends an epoch."""
    line = small(prepared, tmp_path / "run", "train.epochs=1", "train.supervised=true", "train.batch_size=2")
    line[line.index("cpu")] = "cuda"
    outcome = subprocess.run([sys.executable, TOOL, "train.py", *line], cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    waits = float(re.search(r"a step has ([\d.]+) synchronisations", outcome.stdout)[1])
    assert 1 <= waits <= 2, outcome.stdout


@needs_tool
def test_a_step_takes_no_more_operations_and_less_memory_traffic_than_the_plain_network() -> None:
    """On the same padded batch at full width, where all frames count. In both, Adam is part of the step."""
    lines = [[sys.executable, TOOL, "tests/one_step.py", name] for name in ("ours", "plain")]
    running = [subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) for line in lines]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    found = [re.search(r"a step has .* ([\d,]+) operations, ([\d.]+) GB moved", output).groups() for output in outputs]
    (operations, plain_operations), (moved, plain_moved) = zip(*found, strict=True)
    assert int(operations.replace(",", "")) <= int(plain_operations.replace(",", ""))
    assert float(moved) <= 0.85 * float(plain_moved)
