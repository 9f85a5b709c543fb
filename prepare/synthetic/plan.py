"""What happens in one stand-in clip and how it is annotated: actions in sequence, some laid over others, labels."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prepare.formats.babel import LABEL_SETS
from prepare.synthetic.actions import ACTIONS, Action, rise
from prepare.synthetic.gait import curve
from prepare.synthetic.other_actions import CROUCH, OTHER, SHUFFLE, T_POSE, Movement, seated

GROUPS = tuple(LABEL_SETS.values())  # a clip is mainly about one of them, and has something of a second
_MAIN, _SECOND = 0.48, 0.22  # chances of the main and the second group at every step; the rest is other movement
_SECONDS = {  # shortest and longest time of an action
    "walk": (1.6, 4.0), "stand": (1.4, 3.2), "turn": (1.2, 2.4), "jump": (1.3, 3.6),
    "sit": (2.6, 4.4), "run": (1.4, 3.0), "stand up": (1.4, 2.2), "kick": (1.3, 3.0),
    "jog": (1.6, 4.0), "wave": (1.5, 3.4), "dance": (2.4, 5.0), "gesture": (1.6, 4.0),
}  # fmt: skip
_OTHER_SECONDS = (1.3, 3.2)
_RAW = {
    "walk": ("walk", "walk forward", "walk around"), "stand": ("stand", "stand still"), "turn": ("turn", "turn around"),
    "jump": ("jump", "jump up"), "sit": ("sit", "sit down"), "gesture": ("gesture", "talk with hands"),
    "wave": ("wave", "wave hand"), "kick": ("kick", "kick with leg"), "stand up": ("stand up", "get up"),
}  # fmt: skip
_CATEGORIES = {"wave": ("wave", "greet"), "gesture": ("gesture", "hand movements"), "jump": ("jump", "hop")}
_LAID_OVER = {  # what may be done at the same time: name, chance, the earliest moment for it in seconds
    "walk": (("turn", 0.35, 0.3), ("wave", 0.12, 0.3), ("gesture", 0.08, 0.3)),
    "jog": (("wave", 0.2, 0.3),),
    "sit": (("gesture", 0.3, 1.7), ("wave", 0.15, 1.7)),  # once the seat is reached
}
_ALSO_STAND = 0.15  # chance that who waves or gestures standing is said to stand, too
_BLEND = (0.3, 0.6)  # seconds from one action to the next
_BLEND_IS_NAMED = 0.4  # chance that such a change is annotated as a transition
_TIMING = 0.05  # seconds, standard deviation of where annotators set a boundary


@dataclass(frozen=True)
class Piece:
    """One action of a clip, in seconds from the clip's start; `blend` is how long the change into it takes.

    `categories` is None for an annotation without category (BABEL's null); `raw` is None where nobody annotated.
    """

    name: str
    action: Action
    raw: str | None
    categories: tuple[str, ...] | None
    start: float = 0.0
    end: float = 0.0
    blend: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The pieces of a clip end to end, and those laid over them."""

    pieces: tuple[Piece, ...]
    overlays: tuple[Piece, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.pieces[-1].end


def plan_clip(rng: np.random.Generator, seconds: float, turn: int, gap_share: float) -> Plan:
    """Draw what happens in a clip of at least `seconds`; its last action is carried through.

    `turn` is the clip's number among those of its subset: the groups, and the actions in them, take turns
    to be its main one. `gap_share` is about the share of time that nobody annotates.
    """
    main = turn % len(GROUPS)
    due = GROUPS[main][turn // len(GROUPS) % len(GROUPS[main])]
    second = (main + 1 + int(rng.integers(len(GROUPS) - 1))) % len(GROUPS)
    lead_in = int(rng.integers(3))  # steps before the action that is due
    pieces: list[Piece] = []
    if rng.random() < 0.08:
        _append(pieces, _other(T_POSE, rng), rng)
    while lead_in >= 0 or pieces[-1].end < seconds:
        last = pieces[-1].name if pieces else ""
        name = due if lead_in == 0 else _draw_action(rng, main, second, last)
        lead_in -= 1
        now = pieces[-1].end if pieces else 0.0
        steps = _steps(name, rng, at_start=not pieces, at_end=lead_in < 0 and now > 0.5 * seconds)
        if pieces and rng.random() < 1.6 * gap_share:  # what nobody annotated is a little longer than a third of it
            _append(pieces, replace(_other(SHUFFLE, rng), raw=None), rng)
        for piece in steps:
            _append(pieces, piece, rng)
        if pieces[-1].name == "sit":
            break
    return Plan(tuple(pieces), tuple(_overlays(pieces, rng)))


def annotate(plan: Plan, duration: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """BABEL's `labels` of a clip: times in seconds, at times out of order or milliseconds past `duration`."""
    labels: list[dict[str, Any]] = []
    pieces = plan.pieces
    named = [False] + [
        a.raw is not None and b.raw is not None and rng.random() < _BLEND_IS_NAMED
        for a, b in zip(pieces, pieces[1:], strict=False)
    ]
    for i, piece in enumerate(pieces):
        if named[i]:
            change = (piece.start - piece.blend / 2, piece.start + piece.blend / 2)
            labels.append(_label("transition", ("transition",), *change, rng))
        if piece.raw is None:
            continue
        start = piece.start + (piece.blend / 2 if named[i] else rng.normal(0, _TIMING))
        end = piece.end + rng.normal(0, _TIMING)
        if i + 1 < len(pieces) and named[i + 1]:
            end = piece.end - pieces[i + 1].blend / 2
        elif i + 1 == len(pieces):
            end = duration + (rng.uniform(0.001, 0.03) if rng.random() < 0.3 else 0.0)
        labels.append(_label(piece.raw, piece.categories, start if i else 0.0, end, rng))
    for piece in plan.overlays:
        shift = rng.normal(0, _TIMING, 2)
        labels.append(_label(piece.raw or "", piece.categories, piece.start + shift[0], piece.end + shift[1], rng))
    if rng.random() < 0.3:
        labels = [labels[i] for i in rng.permutation(len(labels))]
    return labels


def draw_id(rng: np.random.Generator) -> str:
    """A random UUID, as BABEL names segments and annotations."""
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))


def _label(
    raw: str, categories: tuple[str, ...] | None, start: float, end: float, rng: np.random.Generator
) -> dict[str, Any]:
    return {
        "raw_label": raw,
        "proc_label": raw,
        "seg_id": draw_id(rng),
        "act_cat": None if categories is None else list(categories),
        "start_t": round(float(start), 3),
        "end_t": round(float(end), 3),
    }


def _append(pieces: list[Piece], piece: Piece, rng: np.random.Generator) -> None:
    start = pieces[-1].end if pieces else 0.0
    length = rng.uniform(*_SECONDS.get(piece.name, _OTHER_SECONDS))
    blend = rng.uniform(*_BLEND) if pieces else 0.0
    pieces.append(replace(piece, start=start, end=start + length, blend=blend))


def _benchmark(name: str, rng: np.random.Generator, action: Action | None = None) -> Piece:
    raw, categories = _RAW.get(name, (name,)), _CATEGORIES.get(name, (name,))
    if name in ("wave", "gesture") and rng.random() < _ALSO_STAND:
        categories = (*categories, "stand")
    return Piece(name, action or ACTIONS[name], raw[rng.integers(len(raw))], categories)


def _other(movement: Movement, rng: np.random.Generator) -> Piece:
    raw, action, categories = movement
    return Piece("", action, raw, None if rng.random() < 0.15 else categories)


def _draw_action(rng: np.random.Generator, main: int, second: int, last: str) -> str:
    """Name of a benchmark action other than the `last` one, or "" for other movement."""
    chance = rng.random()
    if chance > _MAIN + _SECOND:
        return ""
    group = [name for name in GROUPS[main if chance < _MAIN else second] if name != last]
    return group[rng.integers(len(group))]


def _steps(name: str, rng: np.random.Generator, at_start: bool, at_end: bool) -> list[Piece]:
    """The pieces by which an action comes about: only who sits or squats stands up, and a sitter does or ends the clip.

    The ways are such that neither `sit` nor `stand up` is a sure sign of the other.
    """
    if name == "":
        return [_other(OTHER[rng.integers(len(OTHER))], rng)]
    if name == "stand up":
        if at_start and rng.random() < 0.5:
            return [_benchmark("sit", rng, seated), _benchmark("stand up", rng)]
        return [_other(CROUCH, rng), _benchmark("stand up", rng, rise)]
    if name == "sit" and not (at_end and rng.random() < 0.8):
        return [_benchmark("sit", rng), _benchmark("stand up", rng)]
    return [_benchmark(name, rng)]


def _overlays(pieces: list[Piece], rng: np.random.Generator) -> list[Piece]:
    found = []
    for under in pieces:
        for name, chance, earliest in _LAID_OVER.get(under.name, ()):
            start = under.start + earliest + rng.uniform(0.0, 0.8)
            end = min(start + rng.uniform(1.2, 2.6), under.end - 0.3)
            if rng.random() < chance and end - start > 0.9:
                over = Piece(name, curve if name == "turn" else ACTIONS[name], name, (name,), start, end)
                found.append(over)
                break
    return found
