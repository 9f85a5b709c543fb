"""The plan of one synthetic clip (actions in sequence, some laid over others) and its annotation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prepare.formats.babel import LABEL_SETS
from prepare.synthetic.actions import ACTIONS, CURVE, RISE, SEATS
from prepare.synthetic.motion import Motion
from prepare.synthetic.other_actions import OTHER

GROUPS = tuple(LABEL_SETS.values())  # a clip has actions of one main group and of a second one
_OTHER = tuple(name for name in OTHER if name not in ("crouch", "t pose"))
_CHANCES = (0.48, 0.22, 0.3)  # that the next action is of the main group, of the second group, or another movement
# Shortest and longest time of an action; "" stands for all other actions.
_SECONDS = {"sit": (3.0, 4.6), "stand up": (1.4, 2.2), "dance": (2.4, 5.0), "": (1.4, 3.4)}
_CATEGORIES = {"wave": ("wave", "greet"), "gesture": ("gesture", "hand movements"), "jump": ("jump", "hop")}
_LAID_OVER = {"walk": ("turn", "turn", "wave"), "jog": ("wave",), "sit": ("gesture", "gesture", "wave")}
_OVERLAY = 0.4  # chance that one of these is done at the same time
_ALSO_STAND = 0.15  # chance that a wave or a gesture is also labelled stand
_NULL = 0.15  # chance that other movement is annotated without category
BLEND = 0.45  # seconds from one action to the next
_BLEND_IS_NAMED = 0.4  # chance that such a change is annotated as a transition
_TIMING = 0.05  # seconds, standard deviation of where annotators set a boundary


@dataclass(frozen=True)
class Piece:
    """One action of a clip, in seconds from the clip's start.

    `categories` is None for an annotation without category (BABEL's null); `raw` is None where nobody annotated.
    """

    motion: Motion
    raw: str | None
    categories: tuple[str, ...] | None
    start: float
    end: float


@dataclass
class Plan:
    """The pieces of a clip, end to end, and the pieces laid over them."""

    rng: np.random.Generator
    seat: int  # which of SEATS is at hand
    pieces: list[Piece] = field(default_factory=list)
    overlays: list[Piece] = field(default_factory=list)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.pieces[-1].end if self.pieces else 0.0

    def add(self, name: str, motion: Motion | None = None, annotated: bool = True) -> None:
        """Append an action, as `motion` or in one of its ways. At times another action is laid over it."""
        categories = _CATEGORIES.get(name, (name,))
        if name in ("wave", "gesture") and self.rng.random() < _ALSO_STAND:
            categories = (*categories, "stand")
        if name in OTHER and self.rng.random() < _NULL:
            categories = None
        start, end = self.duration, self.duration + self.rng.uniform(*_SECONDS.get(name, _SECONDS[""]))
        self.pieces.append(Piece(motion or self._way(name), name if annotated else None, categories, start, end))
        over, first = _LAID_OVER.get(name, ()), end - self.rng.uniform(1.3, 2.0)
        if over and self.rng.random() < _OVERLAY and first > start + 0.3:
            name = over[self.rng.integers(len(over))]
            motion = CURVE if name == "turn" else self._way(name)
            self.overlays.append(Piece(motion, name, (name,), first, end - 0.3))

    def _way(self, name: str) -> Motion:
        ways = ACTIONS.get(name) or (OTHER[name],)
        return ways[self.seat if name in ("sit", "stand up") else self.rng.integers(len(ways))]


def plan_clip(rng: np.random.Generator, seconds: float, turn: int, gap_share: float) -> Plan:
    """Draw the actions of a clip of at least `seconds`. The last action is never cut.

    `turn` is the clip's number in its subset. It selects the main group and the action that is due, in rotation.
    `gap_share` is the approximate share of time that is not annotated.
    """
    main = GROUPS[turn % len(GROUPS)]
    groups = (main, GROUPS[(turn + rng.integers(1, len(GROUPS))) % len(GROUPS)], _OTHER)
    due, steps_before = main[turn // len(GROUPS) % len(main)], rng.integers(3)
    plan = Plan(rng, rng.integers(len(SEATS)))
    if rng.random() < 0.08:
        plan.add("t pose")
    while steps_before >= 0 or plan.duration < seconds:
        names = [n for n in groups[rng.choice(3, p=_CHANCES)] if not plan.pieces or n != plan.pieces[-1].raw]
        name = due if steps_before == 0 else names[rng.integers(len(names))]
        steps_before -= 1
        if plan.pieces and rng.random() < 1.6 * gap_share:  # measured: about `gap_share` of the time
            plan.add("foot movements", annotated=False)
        # People stand up from a seat or a squat. Some stay seated, so `sit` and `stand up` do not imply each other.
        if name == "stand up":
            plan.add("crouch")
        plan.add(name, RISE if name == "stand up" else None)
        if name == "sit":
            if steps_before < 0 and plan.duration > 0.6 * seconds and rng.random() < 0.8:
                break  # stays seated
            plan.add("stand up")
    return plan


def annotate(plan: Plan, duration: float) -> list[dict[str, Any]]:
    """BABEL's `labels` of a clip: times in seconds, at times out of order or milliseconds past `duration`."""
    rng, start, spans = plan.rng, 0.0, []
    for piece, after in zip(plan.pieces, [*plan.pieces[1:], None], strict=True):
        named = after and None not in (piece.raw, after.raw) and rng.random() < _BLEND_IS_NAMED
        end = piece.end - BLEND / 2 if named else piece.end + rng.normal(0, _TIMING)
        if after is None:
            end = duration + rng.uniform(0.001, 0.03) * (rng.random() < 0.3)
        if piece.raw is not None:
            spans.append((piece.raw, piece.categories, start, end))
        start = piece.end + rng.normal(0, _TIMING)
        if named:
            start = end + BLEND
            spans.append(("transition", ("transition",), end, start))
    for piece in plan.overlays:
        spans.append((piece.raw, piece.categories, *(rng.normal(0, _TIMING, 2) + (piece.start, piece.end))))
    if rng.random() < 0.3:
        spans = [spans[i] for i in rng.permutation(len(spans))]
    return [
        {"raw_label": raw, "proc_label": raw, "seg_id": rng.bytes(16).hex(), "act_cat": categories and list(categories),
         "start_t": round(float(start), 3), "end_t": round(float(end), 3)}
        for raw, categories, start, end in spans
    ]  # fmt: skip
