"""The code is as ruff wants it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff_has_nothing_to_say(command: list[str]) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_script_that_is_copied_from_a_page_passes_these_tests(page: Path) -> None:
    for script in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for command in (["check"], ["format", "--check"]):
            line = [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", "my_train.py", "-"]
            outcome = subprocess.run(line, cwd=ROOT, input=script, capture_output=True, text=True)
            assert outcome.returncode == 0, outcome.stdout
