"""A folder is locked while a process writes to it, so that two commands never write to the same folder."""

import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.atomic import adds_file_name
from utils.errors import UserError

NAME = ".lock"  # stays in the folder: if it were deleted, two processes could each lock a file of this name


@contextmanager
def lock_folder(folder: Path, work: str, remedy: str) -> Iterator[None]:
    """Lock an existing folder for this process. The system unlocks it when the process ends, also when it is killed.

    On NFS, Linux sets the lock on the server, so other machines see it. On a disk without locks, a warning is printed
    and the work goes on.

    Raises UserError when another process has locked the folder. The message contains `work`, such as "preparation", and
    `remedy`, such as "choose another --out".
    """
    path = folder / NAME
    with path.open("a+", encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # locked by another process
            file.seek(0)
            holder = file.read(200).strip() or "an unknown process"
            message = f"another {work} is running in this folder ({holder}); wait for it, stop it, or {remedy}"
            raise UserError(f"{folder}: {message}") from None
        except OSError as error:  # on some network disks
            warning = f"this disk has no locks ({error.strerror}); make sure that no other {work} uses the folder"
            print(f"warning: {folder}: {warning}", file=sys.stderr)
        os.register_at_fork(after_in_child=file.close)  # a child would keep the lock after this process is killed
        now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        with adds_file_name(path):
            file.truncate(0)
            print(f"process {os.getpid()} on {socket.gethostname()} since {now}", file=file, flush=True)
        yield
