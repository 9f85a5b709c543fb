"""The player: a page where the motion, true segments and detections of clips play together.

The page needs no other file and no network. report.html, card.html, compare.html, the pages of `reporting.show` and the
player.html of prediction contain the same player. Its clips are JSON: joints and frame probabilities as compressed
text, segments with their kinds of errors.
"""

import base64
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import TypeAdapter

from evaluation.diagnosis import KINDS, TIOU, kinds
from evaluation.localization import Detections, ground_truth
from evaluation.metrics import match, nan_to_none, ranking
from reporting.skeleton_view import HEAD_RADIUS, SIDES, SOLE, front
from reporting.style import COLOURS
from reporting.templates import render
from reporting.time_lines import shown_classes
from utils.atomic import write_whole
from utils.errors import printable
from utils.files import read_json
from utils.skeleton import BONES, FPS
from utils.store import Split

PAGE_BYTES = 19_000_000  # of the clips on a page; browsers open larger pages slowly
EXTREMES = 10  # best clips, and worst clips, that come first
QUANTUM = 0.001  # metres; joints are rounded to multiples of it. The step is larger if they go farther than 32 m
MAX_NAME = 200  # characters
MIN_REACH = 0.6  # metres that a body reaches sideways from its pelvis, at least
FLOOR_MARGIN = 0.25  # metres of floor beyond the reach of the body


@dataclass(frozen=True)
class PlayedClip:
    """A clip as the player shows it. T frames, K classes."""

    name: str
    joints: np.ndarray  # (T, 25, 3) metres, z up; the body may travel
    labels: np.ndarray | None = None  # (T, K) bool; None if the true segments are unknown
    found: tuple[Detections, ...] = ()  # the clip's detections by each run, in frames of `joints`
    frame_probs: np.ndarray | None = None  # (T, K+1), background last
    ap: tuple[float, ...] = ()  # the clip's AP in percent of each run; NaN if it is not defined
    note: str = ""  # shown behind the name
    first: int = 0  # index in the recording of the first frame
    untimed: np.ndarray | None = None  # (K,) bool, classes of the clip whose times are not known; None: no class

    @classmethod
    def of_split(cls, split: Split, sid: str, found: tuple[Detections, ...] = (), ap: tuple[float, ...] = ()) -> Self:
        """A clip of prepared data with its true segments. Its note names its take."""
        joints, labels, note = split.store.joints(sid), split.labels(sid), split.store.clips[sid].feat_p
        return cls(sid, joints, labels, found, ap=ap, note=note, untimed=split.untimed(sid))


def pack(clip: PlayedClip, classes: Sequence[str]) -> dict[str, Any]:
    """A clip as JSON for the player.

    A true segment is [class, start, end, then one entry for each run: score of the matched detection, or null]. A
    detection is [class, start, end, score, index of its kind in KINDS (-1 if it is unknown)]. Detections are listed by
    run.
    """
    frames, number = len(clip.joints), len(classes)
    labels = np.zeros((frames, number), bool) if clip.labels is None else clip.labels
    truth = ground_truth([labels])
    by_run = [_pack_run(found, truth, number, clip.labels is not None) for found in clip.found]
    shown, hidden = shown_classes(labels, Detections.concatenate(clip.found))
    finite = bool(np.isfinite(clip.joints).all())
    quantum = max(QUANTUM, float(np.abs(clip.joints).max()) / 32_000) if finite else QUANTUM
    notes = [printable(clip.note)] if clip.note not in ("", clip.name) else []
    notes += [f"{hidden} more classes have no row"] if hidden else []
    untimed = [] if clip.untimed is None else np.flatnonzero(clip.untimed).tolist()
    listed = [classes[label] for label in shown if clip.labels is None or labels[:, label].any()]
    listed += [f"{classes[label]} (time unknown)" for label in untimed]
    return {
        "name": printable(clip.name, MAX_NAME),
        "note": " · ".join(notes),
        "frames": frames,
        "first": clip.first,
        "quantum": quantum,
        "joints": _pack_joints(clip.joints, quantum) if finite else None,
        "view": _view(clip.joints) if finite else None,
        "classes": ", ".join(printable(name, MAX_NAME) for name in listed),  # a text for the list of clips
        "untimed": untimed,
        "shown": shown,
        "curves": None if clip.frame_probs is None else _pack_curves(clip.frame_probs[:, [*shown, number]]),
        "truth": _rows(truth, *(matched_scores for _, matched_scores in by_run)),
        "found": [rows for rows, _ in by_run],
        "ap": [nan_to_none(value) for value in clip.ap],
    }


def pack_fitting(clips: Sequence[PlayedClip], order: Iterable[int], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Pack clips in this order of indices while they fit on a page, at least one. Returns them sorted by index."""
    packed: dict[int, dict[str, Any]] = {}
    size = 0
    for index in order:
        clip = pack(clips[index], classes)
        size += len(json.dumps(clip))
        if size > PAGE_BYTES and packed:
            break
        packed[index] = clip
    return [packed[index] for index in sorted(packed)]


def varied_order(ap: np.ndarray) -> list[int]:
    """All indices: first the best and worst clips by AP (N,) in turn, then the others in random order."""
    ranked = np.argsort(-ap, kind="stable").tolist()  # NaN last
    ends = [ranked[place] for n in range(min(EXTREMES, len(ranked))) for place in (n, -1 - n)]
    others = np.random.default_rng(0).permutation(ranked).tolist()
    return list(dict.fromkeys([*ends, *others]))


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
    scores = sorted(row[3] for clip in clips for rows in clip["found"] for row in rows)
    low, high = min([0.0, *scores]), max([0.01, *scores])
    # The slider of the minimum score begins where each run shows about as many detections as there are true segments
    segments = len(runs) * sum(len(clip["truth"]) for clip in clips)
    first = scores[-segments] if 0 < segments <= len(scores) else low
    return {
        "fps": FPS,
        "bones": BONES,
        "sides": SIDES,
        "kinds": KINDS,
        "palette": COLOURS,  # of the classes
        "classes": [printable(name, MAX_NAME) for name in classes],
        "runs": [printable(name, MAX_NAME) for name in runs],
        "truth": truth,
        "scored": any(value is not None for clip in clips for value in clip["ap"]),
        "thresholds": sorted(set(thresholds)),
        "highest": high,
        "range": {
            "min": math.floor(100 * low) / 100,
            "max": math.ceil(100 * high) / 100,
            "value": math.floor(100 * first) / 100,
        },
        "clips": clips,
    }


def write_player(path: Path, title: str, lead: str, data: dict[str, Any]) -> None:
    """Write a page with nothing but the player."""
    write_whole(path, render("player.html", title=title, lead=lead, player=data).encode())


def write_predictions_page(
    path: Path, files: Sequence[Path], classes: Sequence[str], thresholds: Sequence[float]
) -> int:
    """Write a page of the predicted clips that fit on it, and return their number. Each file has a packed clip as JSON.

    Raises UserError when a file is damaged.
    """
    sizes = np.cumsum([file.stat().st_size for file in files])
    fitting = files[: max(1, int((sizes <= PAGE_BYTES).sum()))]
    expected = "what --page writes; delete the folder of this file and run the command again"
    clips = [read_json(file, TypeAdapter(dict[str, Any]), expected) for file in fitting]
    data = player_data(clips, classes, ["found"], False, thresholds)
    write_player(path, "Actions found", f"{len(fitting)} of {len(files)} clips", data)
    return len(fitting)


def _pack_run(
    found: Detections, truth: Detections, classes: int, truth_known: bool
) -> tuple[list[list], list[float | None]]:
    """One run's detections in a clip for the player, and for each true segment the score of the matched detection."""
    ranked = found.select(ranking(found, classes))
    ranked = replace(ranked, clip=np.zeros_like(ranked.clip))  # as in `truth`, which has one clip
    matched = match(ranked, truth, [TIOU])[0]
    kind = kinds(ranked, truth, matched)[0] if truth_known else np.full(len(ranked), -1)
    scores = ranked.scores.round(4).tolist()
    score_of = dict(zip(matched.tolist(), scores, strict=True))  # -1: detections without a true segment
    return _rows(ranked, scores, kind.tolist()), [score_of.get(n) for n in range(len(truth))]


def _view(joints: np.ndarray) -> dict[str, float]:
    """What the camera needs: the height of the floor, height and radius of the motion, and where the body looks."""
    lowest, highest = joints[..., 2].min(), joints[..., 2].max()
    reach = np.linalg.norm((joints - joints[:, :1])[..., :2], axis=-1).max()
    view = {
        "floor": lowest - SOLE,
        "height": highest + HEAD_RADIUS - lowest + SOLE,
        "radius": max(MIN_REACH, reach) + FLOOR_MARGIN,
        "front": front(joints),
    }
    return {name: round(float(value), 4) for name, value in view.items()}


def _rows(segments: Detections, *columns: list) -> list[list]:
    """[class, start, end, ...] of each segment."""
    frames = segments.segments.round(2).tolist()
    return [[k, *ends, *rest] for k, ends, *rest in zip(segments.label.tolist(), frames, *columns, strict=True)]


def _pack_joints(joints: np.ndarray, quantum: float) -> str:
    """Joints as compressed text. Second differences of smooth motion are small."""
    steps = np.round(joints.reshape(len(joints), -1) / quantum).astype("<i2")
    for _ in range(2):
        steps = np.diff(steps, axis=0, prepend=np.zeros_like(steps[:1]))  # wraps at 16 bits, as do the player's sums
    codes = (steps << 1) ^ (steps >> 15)  # zigzag: small numbers of both signs have small codes
    # All low bytes, then all high bytes, coordinate by coordinate
    return _compress(np.ascontiguousarray(codes.T).reshape(-1, 1).view(np.uint8).T)


def _pack_curves(probs: np.ndarray) -> str:
    """Frame probabilities p as compressed text: 255·√p. The eye cannot tell finer steps apart. NaN becomes 0."""
    levels = np.round(255 * np.sqrt(np.clip(np.nan_to_num(probs), 0, 1))).astype(np.uint8)
    return _compress(np.diff(levels, axis=0, prepend=np.zeros_like(levels[:1])).T)


def _compress(values: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes())).decode("ascii")
