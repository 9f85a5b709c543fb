"""A command ends in one message, whatever fails and whoever reads it."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from utils import config
from utils.errors import UserError, run_command


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (UserError("mend this"), 2, "error: mend this\n"),
        (OSError(28, "No space left on device", "x.npy"), 2, "error: x.npy: No space left on device\n"),
        (
            OSError(28, "No space left on device"),
            2,
            "error: the file that the messages go to: No space left on device\n",
        ),
        (OSError("no number"), 2, "error: no number\n"),
        (KeyboardInterrupt(), 130, "\nstopped\n"),
    ],
)
def test_a_command_ends_in_one_message(
    raised: BaseException, status: int, said: str, capsys: pytest.CaptureFixture
) -> None:
    def main() -> None:
        raise raised

    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == status
    assert capsys.readouterr().err == said


def test_a_command_runs_with_its_outputs_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> int:
        print("nobody", file=sys.stderr)
        return int(sys.stderr.isatty())  # `progress` asks

    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with pytest.raises(SystemExit, match="0"):
        run_command(main)


def test_no_file_takes_the_number_of_a_closed_output(tmp_path: Path) -> None:
    """Messages for descriptor 2, as of a stopped training, would be written into the file."""
    code = "import sys; from utils.errors import run_command; run_command(lambda: open(sys.argv[1], 'w').fileno() < 3)"
    line = shlex.join([sys.executable, "-c", code, str(tmp_path / "x")]) + " <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", line], cwd=config.ROOT, check=False).returncode == 0
