"""Free cores let threads spin, busy ones do not, and the user's word stands."""

from __future__ import annotations

import os
import sys

import pytest

from utils.threads import SPINS, leave_cores_soon, waiting


@pytest.mark.parametrize(
    ("load", "given", "expected"),
    [
        (2.9, {}, {"GOMP_SPINCOUNT": SPINS}),
        (3.1, {}, {"OMP_WAIT_POLICY": "PASSIVE"}),
        (3.1, {"OMP_WAIT_POLICY": "ACTIVE"}, {}),
        (2.9, {"GOMP_SPINCOUNT": "7"}, {}),
    ],
)
def test_threads_wait_as_the_load_allows(
    monkeypatch: pytest.MonkeyPatch, load: float, given: dict[str, str], expected: dict[str, str]
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "environ", given)
    assert waiting() == expected


@pytest.mark.parametrize(
    ("given", "platform", "expected"),
    [
        ({"GOMP_SPINCOUNT": SPINS}, "linux", True),
        ({"OMP_WAIT_POLICY": "passive"}, "linux", True),
        ({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "infinity"}, "linux", False),
        ({"GOMP_SPINCOUNT": "300000"}, "linux", False),
        ({}, "linux", False),
        ({"GOMP_SPINCOUNT": SPINS}, "darwin", False),
    ],
)
def test_threads_are_known_to_sleep_soon_only_where_the_environment_makes_libgomp_do_so(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], platform: str, expected: bool
) -> None:
    monkeypatch.setattr(os, "environ", given)
    monkeypatch.setattr(sys, "platform", platform)
    assert leave_cores_soon() == expected
