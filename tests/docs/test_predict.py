"""The script of docs/predict.md finds what predict.py finds."""

import re
from pathlib import Path

import predictions
import pytest
import runs

PAGE = runs.ROOT / "docs" / "predict.md"


@pytest.mark.parametrize("window", [1000, 50])
def test_the_script_finds_what_the_command_finds(
    window: int, motion: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = [f"data.max_frames={window}", "data.frame_step=2"]
    weights = predictions.checkpoint(tmp_path / "best.pt", *settings)
    assert predictions.run(motion / "b.npy", "--weights", weights, "--fps", 30, "--out", tmp_path / "out") == 0
    capsys.readouterr()
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    code = code.replace("work_dir/split1/last.pt", str(weights)).replace("joints.npy", str(motion / "b.npy"))
    exec(compile(code, "script.py", "exec"), {})
    (found,) = predictions.results(tmp_path / "out").values()
    expected = [f"{one['label']} {one['segment'][0]} {one['segment'][1]} {one['score']}" for one in found]
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(expected)
