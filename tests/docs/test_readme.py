"""What the README promises is there: its commands parse, its files exist, and its map is complete."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import predict
import train
from utils import config
from utils.errors import UserError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line.partition(" #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
SCRIPTS = sorted({line.split()[1] for line in COMMANDS if re.match(r"(python|bash) \S+\.(py|sh)", line)})


def test_the_readme_has_the_commands_that_matter() -> None:
    assert {"bash prepare/demo.sh", "bash tests/run.sh", "bash prepare/generate_dataset.sh"} <= set(COMMANDS)
    assert "python train.py --config config/train_split1.yaml" in COMMANDS
    assert "tensorboard --logdir work_dir" in COMMANDS


@pytest.mark.parametrize("line", [line for line in COMMANDS if re.match(r"(python|torchrun .*) train\.py", line)])
def test_a_training_command_parses_and_its_settings_hold(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line = line[line.index("train.py") :]
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    monkeypatch.chdir(ROOT)
    args = train.parse_arguments()
    config.load(args.config, args.set)
    with pytest.raises(UserError):  # no data is there, or no weights: the last thing that can be missing
        monkeypatch.setattr(sys, "argv", [*shlex.split(line), "--set", "data.root=nowhere"])
        train.main()


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("python predict.py")])
def test_a_prediction_command_parses(line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(line)[1:])
    monkeypatch.chdir(tmp_path)
    predict.parse_arguments()
    with pytest.raises(UserError, match="best.pt: no such file"):
        predict.main()


@pytest.mark.parametrize("script", [*SCRIPTS, *re.findall(r"\S+\.sbatch", "\n".join(COMMANDS))])
def test_a_script_is_there(script: str) -> None:
    assert (ROOT / script).is_file()
    if script.endswith((".sh", ".sbatch")):
        assert subprocess.run(["bash", "-n", ROOT / script]).returncode == 0


def test_pictures_and_pages_are_there() -> None:
    for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / target).is_file()
