"""Small runs of predict.py, and what they leave."""

import json
from pathlib import Path

import pytest
import torch
from commands import exit_status
from matplotlib.figure import Figure

import predict
from model.localizer import Localizer
from utils import config
from utils.run import FORMAT, write_checkpoint

CLASSES = ("walk", "stand", "turn", "jump")
ALL = ["b", "c", "d", "e:person1", "e:person2", "takes/a_poses"]


def checkpoint(path: Path, *assignments: str, hands: str | None = "as-is") -> Path:
    """A checkpoint of a small random network, which finds something everywhere. hands: of its training data."""
    torch.manual_seed(0)
    settings = config.load([], ["model.width=4", *assignments])
    model = Localizer(len(CLASSES), settings.model)
    weights = {"model": model.state_dict(), "classes": list(CLASSES), "settings": settings.model_dump()}
    if hands:
        weights["skeletons"] = {"model": "SMPL-H", "hands": hands}
    write_checkpoint(path, {"format": FORMAT, **weights})
    return path


def run(*arguments: object, pictures: bool = False) -> int:
    """The command's exit status. Without `pictures`, which take most of the time, it writes empty ones."""
    with pytest.MonkeyPatch.context() as patch:
        if not pictures:
            patch.setattr(Figure, "savefig", lambda *_, **__: None)
        return exit_status(predict.main, "predict.py", *arguments, "--device", "cpu")


def options(motion: Path, weights: Path, out: Path) -> list[object]:
    """The arguments for all recordings."""
    more = ["--body", "synthetic", "--fps", 30, "--joint-map", motion / "map.yaml"]
    return [motion, "--weights", weights, "--out", out, *more]


def results(folder: Path) -> dict[str, list]:
    return json.loads((folder / "segments.json").read_text())["results"]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and time."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
