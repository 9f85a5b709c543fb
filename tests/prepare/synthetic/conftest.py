"""Synthetic data with enough clips for every action to occur in both subsets."""

import json
from pathlib import Path
from typing import Any

import pytest

from prepare.synthetic.generate import write_synthetic


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 72 clips; not to be written to."""
    out = tmp_path_factory.mktemp("synthetic") / "data"
    write_synthetic(out, 72)
    return out


@pytest.fixture(scope="session")
def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """BABEL's entry of each clip, with its subset, and its labels even where it has none."""
    found = {}
    for subset in ("train", "val"):
        content = json.loads((folder / f"babel_v1.0_release/{subset}.json").read_text())
        for sid, entry in content.items():
            labels = entry["frame_ann"]["labels"] if entry["frame_ann"] else []
            found[sid] = {"subset": subset, "labels": labels, **entry}
    return found
