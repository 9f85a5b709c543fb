"""Detections as files in ActivityNet's format: names of clips and classes, seconds.

{"version": "1.0", "results": {clip: [{"label": class, "score": s, "segment": [start, end]}]}, "external_data": {}}
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.localization import Detections
from utils.atomic import write_json
from utils.errors import UserError, nearest
from utils.skeleton import FPS

MAX_BYTES = 1 << 30
WHOLE_FRAME = 1e-6  # seconds this near, in frames, to a frame's edge are that edge


def write(path: Path, detections: Detections, names: Sequence[str], classes: Sequence[str], fps: float = FPS) -> None:
    """Write detections in clips `names` as seconds; clips without any are listed empty. Whole or not at all."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    seconds = (detections.segments / fps).tolist()
    rows = zip(detections.clip.tolist(), detections.label.tolist(), detections.scores.tolist(), seconds, strict=True)
    for clip, label, score, segment in rows:
        results[names[clip]].append({"label": classes[label], "score": score, "segment": segment})
    write_json(path, {"version": "1.0", "results": results, "external_data": {}})


def read(path: Path, names: Sequence[str], classes: Sequence[str], fps: float = FPS) -> Detections:
    """Read and check detections in clips `names`; segments in frames, whole ones where the seconds are.

    Raises:
        UserError: no such file, not of this format, an unknown clip or class, or a number that is none.
    """
    clips, labels = ({name: index for index, name in enumerate(known)} for known in (names, classes))
    found: tuple[list, list, list, list] = ([], [], [], [])
    for name, entries in _results(path).items():
        if name not in clips:
            hint = _cut(nearest(name[:100], list(clips)[:10_000]), 300)
            raise UserError(f"{path}: clip {_short(name)} is not in this split; {hint}")
        if not isinstance(entries, list):
            raise UserError(f"{path}: clip {name!r} has {_short(entries)}, expected a list of detections")
        for number, entry in enumerate(entries):
            row = _detection(f"{path}: clip {name!r}, detection {number}", entry, labels)
            for column, value in zip(found, (clips[name], *row), strict=True):
                column.append(value)
    clip, label, segments, scores = found
    frames = np.asarray(segments, dtype=np.float64).reshape(-1, 2) * fps
    whole = np.round(frames)
    return Detections.of(clip, label, np.where(np.abs(frames - whole) < WHOLE_FRAME, whole, frames), scores)


def _results(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path}: has {size} bytes; a detections file of more than {MAX_BYTES} is not read")
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_twins)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a detections file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({str(error)[:200]}); expected ActivityNet's detection format") from None
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise UserError(f'{path}: has no "results" by clip; expected ActivityNet\'s detection format')
    return results


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key {_short(key)} stands twice in one object")
        content[key] = value
    return content


def _detection(where: str, entry: Any, labels: dict[str, int]) -> tuple[int, list[float], float]:
    if not isinstance(entry, dict) or not {"label", "score", "segment"} <= set(entry):
        raise UserError(f"{where} is {_short(entry)}, expected label, score and segment")
    label, score, segment = entry["label"], entry["score"], entry["segment"]
    if not isinstance(label, str) or label not in labels:
        raise UserError(f"{where} has the unknown label {_short(label)}; {nearest(str(label)[:100], list(labels))}")
    if not _is_number(score):
        raise UserError(f"{where} has the score {_short(score)}, expected a finite number")
    if not isinstance(segment, list) or len(segment) != 2 or not all(_is_number(edge) for edge in segment):
        raise UserError(f"{where} has the segment {_short(segment)}, expected two numbers, seconds")
    if not 0 <= segment[0] <= segment[1]:
        raise UserError(f"{where} has the segment {_short(segment)}, expected 0 <= start <= end, seconds")
    return labels[label], segment, score


def _is_number(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e12
    except OverflowError:  # an integer beyond any float
        return False


def _short(value: Any) -> str:
    return _cut(repr(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a huge integer", 80)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
