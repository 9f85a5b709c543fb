"""What several tests share: where the released code's numbers and real motion are, when they are there."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"  # beside the checkout; not part of the project


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of numbers that the released code gives."""
    return _present("golden")


@pytest.fixture(scope="session")
def real_mocap() -> Path:
    """The folder of real motion in AMASS + BABEL layout."""
    return _present("real_mocap")


def _present(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not beside the checkout")
    return folder
