"""A folder's lock: it keeps others out, says who holds it, and ends with the process that holds it."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import ROOT

from utils.errors import UserError
from utils.lock import lock_folder

# Locks a folder, starts a child by fork, and waits.
HOLDER = """
import os, sys, time
from pathlib import Path
from utils.lock import lock_folder
with lock_folder(Path(sys.argv[1]), "training", ""):
    os.fork()
    os.write(1, b"+")
    time.sleep(60)
"""


def test_a_locked_folder_is_refused_with_its_holder_and_what_to_do(tmp_path: Path) -> None:
    holder = rf"process {os.getpid()} on {re.escape(socket.gethostname())} since \d{{4}}-"
    said = rf"another training is running in this folder \({holder}.*\); wait for it, stop it, or use another --out"
    for _ in range(2):  # free again afterwards
        with lock_folder(tmp_path, "training", ""), pytest.raises(UserError, match=said):
            lock_folder(tmp_path, "training", "use another --out").__enter__()


def test_the_lock_of_a_killed_process_is_free_although_its_child_lives(tmp_path: Path) -> None:
    line = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert holder.stdout.read(2) == "++"  # parent and child
        with pytest.raises(UserError, match=rf"\(process {holder.pid} on "):
            lock_folder(tmp_path, "training", "").__enter__()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        os.killpg(holder.pid, 0)  # the child lives
        with lock_folder(tmp_path, "training", ""):
            pass
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()


def test_a_disk_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock_folder(tmp_path, "training", ""):
        said = capsys.readouterr().err
    assert said.startswith(f"warning: {tmp_path}: this disk has no locks (No locks available); make sure")
    assert said.count("\n") == 1
