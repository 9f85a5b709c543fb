"""One synthetic take: a performer does the planned actions, sampled at a frame rate, with capture noise."""

from __future__ import annotations

import numpy as np

from prepare.synthetic.motion import Performer
from prepare.synthetic.plan import BLEND, Plan
from prepare.synthetic.pose import MOVES, to_smplh

_FADE = 0.35  # seconds in which an overlay fades in and out
_JITTER = 0.25  # degrees, the capture's noise in every frame
_DRIFT = {"look": 5.0, "nod": 2.0, "twist": 2.0}  # degrees, slow restlessness; 1 degree in other channels


def perform(plan: Plan, who: Performer, fps: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Poses (T,156) radians and root positions (T,3) metres of a plan, T = duration x fps frames; z is up."""
    t = np.arange(round(plan.duration * fps)) / fps
    channels = {name: np.full(len(t), value) for name, value in who.stance.items()}
    # piece, first and last second, fade in, fade out, values of the channels that its motion does not drive
    spans = [(plan.pieces[0], 0.0, plan.pieces[0].end + BLEND / 2, 0.0, 0.0, who.stance)]
    spans += [(p, p.start - BLEND / 2, p.end + BLEND / 2, BLEND, 0.0, who.stance) for p in plan.pieces[1:]]
    spans += [(p, p.start, p.end, _FADE, _FADE, {}) for p in plan.overlays]
    for piece, first, last, fade_in, fade_out, others in spans:
        here = slice(*np.searchsorted(t, (first, last)))
        weight = _ramp(t[here] - first, fade_in) * _ramp(last - t[here], fade_out)
        for name, values in (others | who.perform(piece.motion, t[here] - first, piece.end - first, rng)).items():
            channels[name][here] += weight * (values - channels[name][here])
    for name, values in channels.items():
        rate, phase = rng.uniform(0.1, 0.9, (3, 1)), rng.uniform(0, 2 * np.pi, (3, 1))
        noise = who.restless * _DRIFT.get(name, 1.0) * np.sin(2 * np.pi * rate * t + phase).sum(axis=0) / 1.5
        values += (noise + rng.normal(0.0, _JITTER, len(t))) * (name not in MOVES)
        if name.startswith(("knee", "elbow")):  # they bend one way
            np.maximum(values, 0.0, out=values)
    return to_smplh(channels, fps, heading=rng.uniform(-np.pi, np.pi))


def _ramp(seconds: np.ndarray, fade: float) -> np.ndarray:
    """From 0 to 1 in `fade` seconds, at rest at both ends."""
    fraction = np.clip(seconds / fade, 0.0, 1.0) if fade else np.ones(len(seconds))
    return fraction * fraction * (3.0 - 2.0 * fraction)
