"""The scripts of docs/network.md do what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import runs
import torch

from model import agcn
from model.checkpoint import load_trained
from utils.store import Split
from validate import Validation

PAGE = runs.ROOT / "docs" / "network.md"
MY_TRAIN, LIBRARY = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def my_train(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The page's script with its own block, in this process. Returns its exit status."""
    monkeypatch.setattr(agcn, "Block", agcn.Block)  # restored after the test
    monkeypatch.setattr(sys, "argv", ["my_train.py", *arguments])
    runs.draw_nothing(monkeypatch)
    with pytest.raises(SystemExit) as end:
        exec(compile(MY_TRAIN, "my_train.py", "exec"), {"__name__": "__main__"})
    return end.value.code


def test_ones_own_block_is_trained_evaluated_and_resumed(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert my_train(monkeypatch, *runs.small(prepared, tmp_path / "run", "train.epochs=1")) == 0
    assert "backbone.blocks.0.conv.weight" in torch.load(tmp_path / "run" / "last.pt")["model"]
    assert my_train(monkeypatch, *runs.small(prepared, tmp_path / "run", "train.epochs=2"), "--resume") == 0
    assert len(runs.rows(tmp_path / "run")) == 2


def test_a_mistake_is_one_line_as_in_train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert my_train(monkeypatch, "--set", "train.epoch=3") == 2
    assert capsys.readouterr().err.startswith("error: --set train.epoch=3: unknown setting 'train.epoch'; did you mean")


@pytest.mark.slow
def test_ones_own_block_is_trained_on_two_ranks(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "my_train.py").write_text(MY_TRAIN)
    losses = []
    for ranks in (1, 2):
        folder = tmp_path / f"ranks{ranks}"
        line = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={ranks}", "my_train.py"]
        line += runs.small(prepared, folder, "train.precision=float64")
        environment = {**os.environ, "PYTHONPATH": str(runs.ROOT)}
        subprocess.run(line, cwd=tmp_path, env=environment, check=True, capture_output=True)
        losses.append([row["loss"]["total"] for row in runs.rows(folder)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


@pytest.mark.slow
def test_parameters_without_a_gradient_are_one_message_on_two_ranks(prepared: Path, tmp_path: Path) -> None:
    unused = MY_TRAIN.replace("self.stride = stride", "self.stride, self.unused = stride, nn.Linear(3, 3)")
    (tmp_path / "my_train.py").write_text(unused)
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "my_train.py"]
    line += runs.small(prepared, tmp_path / "run")
    environment = {**os.environ, "PYTHONPATH": str(runs.ROOT)}
    outcome = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert outcome.returncode == 1
    said = outcome.stderr.partition("error: ")[2].splitlines()
    assert said[0].startswith("your network has parameters that got no gradient in a step, which several ranks do not")
    assert outcome.stderr.count("\nerror: ") + outcome.stderr.startswith("error: ") == 1
    assert "find_unused_parameters" not in outcome.stderr


def test_the_parts_of_the_project_give_the_result_of_an_evaluation(
    prepared: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    code = LIBRARY.replace("work_dir/split1/last.pt", str(weights)).replace("dataset/processed_data", str(prepared))
    exec(compile(code, "library.py", "exec"), {})
    model, settings, *_ = load_trained(weights)
    corrected, _ = Validation(Split.open(prepared, "split1"), settings, torch.device("cpu")).evaluate(model)
    assert float(capsys.readouterr().out) == pytest.approx(corrected.average_map, rel=1e-12)
