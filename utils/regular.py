"""Refuses pipes and devices among a user's files. Reading a pipe can wait for ever; /dev/zero has no end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

KINDS = {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}


def regular_file(path: Path) -> os.stat_result:
    """Size and times of a regular file, or of the one to which a link leads.

    Raises OSError when the file is missing or of another kind, or when links form a loop.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "device")
        raise OSError(errno.EINVAL, f"it is a {kind}, not a regular file", str(path))
    return status
