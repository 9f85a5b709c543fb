"""For tests/test_robustness.py: commands killed at random moments, damaged files, and a count of the tries."""

import datetime
import os
import platform
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from runs import ROOT, start

from utils.errors import UserError

SEED, TRIES = (int(os.environ.get(f"ROBUSTNESS_{name}", default)) for name, default in (("SEED", 0), ("TRIES", 1)))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 300  # seconds until a command counts as hanging
NUMBERS = (b"nan", b"1e400", b"-1", b"0", b"99999999999999999999", b"null", b'"\\ud800"', b"[[]]")


class Tally:
    """How often each case was tried, and how often it passed."""

    def __init__(self) -> None:
        self.tries: dict[str, list[bool]] = {}

    def count(self, case: str, passed: bool, said: str = "") -> None:
        """Count one try. Raises AssertionError, with what the command `said`, if it did not pass."""
        self.tries.setdefault(case, []).append(passed)
        assert passed, f"{case}\n{said}"

    @contextmanager
    def trying(self, case: str) -> Iterator[None]:
        """Count what is done inside as one try. A UserError passes, any other exception does not."""
        try:
            with suppress(UserError):
                yield
        except BaseException:
            self.tries.setdefault(case, []).append(False)
            raise
        self.count(case, passed=True)

    def report(self, path: Path) -> None:
        """Write the figures into a page, in place of its last ones."""
        heading = "## Last figures"
        cells = [f"| {name} | {len(tries)} | {sum(tries)} |" for name, tries in self.tries.items()]
        machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
        versions = f"Python {platform.python_version()}, torch {torch.__version__}"
        facts = (
            f"{datetime.date.today()}, {machine}, {versions}, seed {SEED}, {sum(map(len, self.tries.values()))} tries"
        )
        table = "\n".join(["| case | tries | passed |", "|---|---|---|", *cells])
        path.write_text(f"{path.read_text().partition(heading)[0]}{heading}\n\n{facts}.\n\n{table}\n")


def undisturbed(line: list[str]) -> float:
    """Runs a command to its end. Returns the seconds that it took."""
    began = time.monotonic()
    outcome = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert outcome.returncode == 0, outcome.stderr
    return time.monotonic() - began


def killed(line: list[str], rng: random.Random, seconds: float) -> str:
    """Sends a random signal to a command within its first `seconds`. Returns what it said if that has a traceback."""
    sent, after = rng.choice(SIGNALS), rng.uniform(0, seconds)
    started = start(line, cwd=ROOT)
    with suppress(subprocess.TimeoutExpired):
        started.wait(after)
    with suppress(ProcessLookupError):
        os.killpg(started.pid, sent)
    said = started.communicate(timeout=PATIENCE)[1]
    # Python itself prints a traceback of Ctrl-C before the command's first lines run
    early = sent == signal.SIGINT and after < seconds / 4
    return "" if early or "Traceback" not in said else f"{sent.name} after {after:.2f} of {seconds:.2f} s: {said}"


def starved(setup: str, line: list[str], **environment: str) -> subprocess.CompletedProcess:
    """Runs a command where `setup`, a line of shell, has changed the mounts for this command only."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine forbids namespaces of users (unshare -rm)")
    inside = ["unshare", "-rm", "sh", "-c", f'{setup} && exec "$@"', "sh", *line]
    own = {**os.environ, **environment}
    return subprocess.run(inside, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, env=own)


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """A file's content, damaged in one of several ways."""
    at, length = rng.randrange(len(whole)), rng.randrange(1, 200)
    number = rng.choice(list(re.finditer(rb"-?\d[\d.]*", whole)) or [re.search(rb"", whole)])
    return rng.choice(
        [
            whole[:at],
            whole[:at] + whole[at + length :],
            whole[:at] + whole[max(0, at - length) :],
            whole[:at] + rng.randbytes(3) + whole[at + 3 :],
            rng.randbytes(length),
            b"",
            whole[: number.start()] + rng.choice(NUMBERS) + whole[number.end() :],
        ]
    )
