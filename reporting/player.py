"""The player: a page where the motion, true segments and detections of clips play together.

The page needs no other file and no network. report.html, card.html and predict.py --page contain the same player.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.diagnosis import KINDS
from reporting import packed_clips
from reporting.packed_clips import MAX_NAME
from reporting.skeleton_view import SIDES
from reporting.style import COLOURS
from reporting.templates import render
from utils.atomic import write_whole
from utils.errors import UserError
from utils.skeleton import BONES, FPS
from utils.text import printable


def player_data(
    clips: Sequence[dict[str, Any]],
    classes: Sequence[str],
    runs: Sequence[str] = (),
    truth: bool = True,
    thresholds: Sequence[float] = (),
) -> dict[str, Any]:
    """The data of a page with a player: packed clips, and the names of the runs whose detections are shown.

    `truth` says whether the true segments are known. `thresholds` are those of the proposals.
    """
    segments = sum(len(clip["truth"]) for clip in clips)
    return {
        "fps": FPS,
        "bones": BONES,
        "sides": SIDES,
        "kinds": KINDS,
        "colours": COLOURS,
        "classes": [printable(name, MAX_NAME) for name in classes],
        "runs": [printable(name, MAX_NAME) for name in runs],
        "truth": truth,
        "scored": any(value is not None for clip in clips for value in clip["ap"]),
        "thresholds": sorted(set(thresholds)),
        **_score_range([row[3] for clip in clips for run in clip["found"] for row in run], segments * len(runs)),
        "clips": clips,
    }


def write_player(path: Path, title: str, lead: str, data: dict[str, Any]) -> None:
    """Write a page with nothing but the player."""
    write_whole(path, render("player.html", title=title, lead=lead, player=data).encode())


def write_predictions(path: Path, files: Sequence[Path], classes: Sequence[str], thresholds: Sequence[float]) -> int:
    """Write a page of the predicted clips that fit on it, and return their number. Each file has a packed clip as JSON.

    Raises UserError when a file is damaged.
    """
    sizes = np.cumsum([file.stat().st_size for file in files])
    fitting = files[: max(1, int((sizes <= packed_clips.PAGE_BYTES).sum()))]
    data = player_data([_read(file) for file in fitting], classes, ["found"], False, thresholds)
    write_player(path, "Actions found", f"{len(fitting)} of {len(files)} clips", data)
    return len(fitting)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); delete {path.parent} and run the command again") from None


def _score_range(scores: list[float], segments: int) -> dict[str, Any]:
    """The highest score, and the range and first value of the slider for the lowest score that is shown.

    At the first value, as many detections are shown as there are true `segments`.
    """
    ranked = sorted(scores, reverse=True)
    low, high = min([0.0, *scores]), max([0.01, *scores])
    value = ranked[segments - 1] if 0 < segments <= len(ranked) else low
    lower = [math.floor(100 * some) / 100 for some in (low, value)]
    return {"highest": high, "range": {"min": lower[0], "max": math.ceil(100 * high) / 100, "value": lower[1]}}
