"""How the threads of one process wait for each other."""

from __future__ import annotations

import os
import sys

SPINS = "10000"  # some tenths of a millisecond: longer than from one operation to the next


def waiting() -> dict[str, str]:
    """Environment for OpenMP (libgomp, torch's on Linux), to be set before torch is imported, which reads it once.

    On free cores threads spin for a moment before they sleep, on cores that others use as well they sleep at once:
    spinning makes small work faster on two free cores (short clips by a fifth), and starves everyone on busy ones
    (benchmarks/README.md). What is said already in OMP_WAIT_POLICY or GOMP_SPINCOUNT stays.
    """
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        return {}
    busy = hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.75 * (os.cpu_count() or 1)
    return {"OMP_WAIT_POLICY": "PASSIVE"} if busy else {"GOMP_SPINCOUNT": SPINS}


def leave_cores_soon() -> bool:
    """Whether OpenMP's threads are known to sleep within a moment of their work, as `waiting` has them do.

    Left to themselves libgomp's spin for some milliseconds, and other OpenMP libraries longer, on cores that other
    threads may need.
    """
    spins = os.environ.get("GOMP_SPINCOUNT")
    if spins is None:
        brief = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    else:
        brief = spins.isdecimal() and int(spins) <= int(SPINS)
    return brief and sys.platform == "linux"
