"""Small stores made from the synthetic data, what is in them, and changes to a take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from prepare.build import build
from utils.store import Split

SETS = {"mine": ["walk", "sit", "wave"]}


def prepare(data: Path, out: Path, **options: Any) -> Split:
    build(data / "amass", data / "babel_v1.0_release", options.pop("body", "synthetic"), out, SETS, **options)
    return Split.open(out, "mine")


def content(out: Path) -> dict[str, bytes]:
    """Every file of the stores and splits; not the pages that the command adds."""
    others = (".lock", "card.html")
    files = (file for file in sorted(out.rglob("*")) if file.is_file() and file.name not in others)
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def change_take(file: Path, change: Callable[[np.ndarray], np.ndarray] = np.copy, faster: float = 1.0) -> None:
    """Change a take's poses, and multiply its frame rate."""
    with np.load(file) as whole:
        arrays = dict(whole)
    rate = next(name for name in arrays if name.startswith("mocap_frame"))
    np.savez(file, **{**arrays, "poses": change(arrays["poses"]), rate: arrays[rate] * faster})
