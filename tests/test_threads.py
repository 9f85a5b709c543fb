"""Free cores let threads spin, busy ones do not, and the user's word stands."""

from __future__ import annotations

import os

import pytest

from utils.threads import SPINS, waiting


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
