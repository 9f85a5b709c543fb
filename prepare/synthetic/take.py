"""One synthetic take: its plan (actions in sequence, and others at the same time), its motion, and its annotation."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prepare.formats.labels import PAPER_SPLITS
from prepare.synthetic.actions import ACTIONS, CURVE, OTHER, RISE, SEATS
from prepare.synthetic.motion import MOVES, Motion, Performer, to_smplh

GROUPS = tuple(PAPER_SPLITS.values())  # each clip has actions of a main group and of a second group
_OTHER = tuple(name for name in OTHER if name not in ("crouch", "t pose"))
_CHANCES = (0.48, 0.22, 0.3)  # that the next action is of the main group, of the second group, or another movement
_SECONDS = {"sit": (3.0, 4.6), "stand up": (1.4, 2.2), "dance": (2.4, 5.0)}  # shortest and longest time of an action
_USUAL_SECONDS = (1.4, 3.4)  # the same for all other actions
# BABEL's categories of an action, where they are not only its name
_CATEGORIES = {"wave": ("wave", "greet"), "gesture": ("gesture", "hand movements"), "jump": ("jump", "hop")}
# Actions at the same time as another one; one that is repeated is drawn more often
_OVERLAYS = {"walk": ("turn", "turn", "wave"), "jog": ("wave",), "sit": ("gesture", "gesture", "wave")}
_OVERLAY_CHANCE = 0.4  # that one of them is added
_ALSO_STAND = 0.15  # chance that a wave or a gesture is also labelled stand
_NULL = 0.15  # chance that other movement is annotated without category
_BLEND = 0.45  # seconds in which one action changes into the next
_TRANSITION_CHANCE = 0.4  # chance that this change is annotated as a transition
_TIMING = 0.05  # seconds, standard deviation of the annotated boundaries
_FADE = 0.35  # seconds in which an overlay fades in and out
_JITTER = 0.25  # degrees, standard deviation of capture noise in every frame
_DRIFT = {"look": 5.0, "nod": 2.0, "twist": 2.0}  # degrees of slow drift in these channels; 1 degree in others


@dataclass(frozen=True)
class PlannedAction:
    """One action of a clip."""

    motion: Motion
    label: str | None  # None: the action is not annotated
    categories: tuple[str, ...] | None  # None: it is annotated without a category (BABEL's null)
    start: float  # seconds from the clip's start
    end: float


@dataclass
class Plan:
    """The actions of a clip in sequence, and the overlays: actions performed at the same time."""

    rng: np.random.Generator
    seat: int  # index in SEATS of the clip's only seat
    actions: list[PlannedAction] = field(default_factory=list)
    overlays: list[PlannedAction] = field(default_factory=list)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.actions[-1].end if self.actions else 0.0

    def add(self, name: str, motion: Motion | None = None, annotated: bool = True) -> None:
        """Append an action, as `motion` or as a random variant, sometimes with an overlay."""
        categories = _CATEGORIES.get(name, (name,))
        if name in ("wave", "gesture") and self.rng.random() < _ALSO_STAND:
            categories = (*categories, "stand")
        if name in OTHER and self.rng.random() < _NULL:
            categories = None
        start, end = self.duration, self.duration + self.rng.uniform(*_SECONDS.get(name, _USUAL_SECONDS))
        motion = motion or self._variant(name)
        self.actions.append(PlannedAction(motion, name if annotated else None, categories, start, end))
        first = end - self.rng.uniform(1.3, 2.0)
        if name in _OVERLAYS and self.rng.random() < _OVERLAY_CHANCE and first > start + 0.3:
            name = str(self.rng.choice(_OVERLAYS[name]))
            motion = CURVE if name == "turn" else self._variant(name)
            self.overlays.append(PlannedAction(motion, name, (name,), first, end - 0.3))

    def _variant(self, name: str) -> Motion:
        variants = ACTIONS.get(name) or (OTHER[name],)
        return variants[self.seat if name in ("sit", "stand up") else self.rng.integers(len(variants))]


def plan_clip(rng: np.random.Generator, seconds: float, clip_number: int, gap_share: float) -> Plan:
    """Random actions of a clip that lasts at least `seconds`. The last action is never cut.

    `clip_number` (within the subset) decides the main group and the one action that the clip must have; both are taken
    in turn. `gap_share` is the approximate share of time without annotation.
    """
    main = GROUPS[clip_number % len(GROUPS)]
    groups = (main, GROUPS[(clip_number + rng.integers(1, len(GROUPS))) % len(GROUPS)], _OTHER)
    required = main[clip_number // len(GROUPS) % len(main)]
    place = rng.integers(3)  # of the required action
    plan = Plan(rng, rng.integers(len(SEATS)))
    if rng.random() < 0.08:
        plan.add("t pose")
    for number in itertools.count():
        if number > place and plan.duration >= seconds:
            break
        names = [n for n in groups[rng.choice(3, p=_CHANCES)] if not plan.actions or n != plan.actions[-1].label]
        name = required if number == place else names[rng.integers(len(names))]
        if plan.actions and rng.random() < 1.6 * gap_share:  # 1.6: measured to give about this share
            plan.add("foot movements", annotated=False)
        # Some people stay seated, and some stand up from a squat: `sit` and `stand up` do not imply each other.
        if name == "stand up":
            plan.add("crouch")
        plan.add(name, RISE if name == "stand up" else None)
        if name == "sit":
            if number >= place and plan.duration > 0.6 * seconds and rng.random() < 0.8:
                break  # stays seated
            plan.add("stand up")
    return plan


def annotate(plan: Plan, duration: float) -> list[dict[str, Any]]:
    """BABEL's `labels` of a clip. Some are out of order, and some end milliseconds after `duration` (seconds)."""
    rng, start, spans = plan.rng, 0.0, []
    for action, after in itertools.zip_longest(plan.actions, plan.actions[1:]):
        has_transition = after and action.label and after.label and rng.random() < _TRANSITION_CHANCE
        end = action.end - _BLEND / 2 if has_transition else action.end + rng.normal(0, _TIMING)
        if after is None:
            end = duration + rng.uniform(0.001, 0.03) * (rng.random() < 0.3)
        if action.label is not None:
            spans.append((action.label, action.categories, start, end))
        start = action.end + rng.normal(0, _TIMING)
        if has_transition:
            start = end + _BLEND
            spans.append(("transition", ("transition",), end, start))
    spans += [(a.label, a.categories, *(rng.normal(0, _TIMING, 2) + (a.start, a.end))) for a in plan.overlays]
    if rng.random() < 0.3:
        rng.shuffle(spans)
    return [
        {"raw_label": name, "proc_label": name, "seg_id": rng.bytes(16).hex(),
         "act_cat": categories, "start_t": round(float(start), 3), "end_t": round(float(end), 3)}
        for name, categories, start, end in spans
    ]  # fmt: skip


def render(plan: Plan, who: Performer, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Poses (T,156) radians and root positions (T,3) metres, z up, of a plan. T is its duration x fps."""
    rng, t = plan.rng, np.arange(round(plan.duration * fps)) / fps
    channels = {name: np.full(len(t), value) for name, value in who.stance.items()}
    # action, first and last second, fade in, fade out, values of the channels that its motion does not drive
    spans = [(plan.actions[0], 0.0, plan.actions[0].end + _BLEND / 2, 0.0, 0.0, who.stance)]
    spans += [(a, a.start - _BLEND / 2, a.end + _BLEND / 2, _BLEND, 0.0, who.stance) for a in plan.actions[1:]]
    spans += [(a, a.start, a.end, _FADE, _FADE, {}) for a in plan.overlays]
    for action, first, last, fade_in, fade_out, others in spans:
        here = slice(*np.searchsorted(t, (first, last)))
        weight = _ramp(t[here] - first, fade_in) * _ramp(last - t[here], fade_out)
        for name, values in (others | who.perform(action.motion, t[here] - first, action.end - first, rng)).items():
            channels[name][here] += weight * (values - channels[name][here])
    for name, values in channels.items():
        rate, phase = rng.uniform(0.1, 0.9, (3, 1)), rng.uniform(0, 2 * np.pi, (3, 1))
        noise = who.restless * _DRIFT.get(name, 1.0) * np.sin(2 * np.pi * rate * t + phase).sum(axis=0) / 1.5
        values += (noise + rng.normal(0.0, _JITTER, len(t))) * (name not in MOVES)
        if name.startswith(("knee", "elbow")):  # these joints bend in one direction only
            np.maximum(values, 0.0, out=values)
    return to_smplh(channels, fps, heading=rng.uniform(-np.pi, np.pi))


def _ramp(seconds: np.ndarray, fade: float) -> np.ndarray:
    """Smooth step (T,) from 0 to 1 in `fade` seconds."""
    fraction = np.clip(seconds / fade, 0.0, 1.0) if fade else np.ones(len(seconds))
    return fraction * fraction * (3.0 - 2.0 * fraction)
