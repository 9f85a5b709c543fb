"""One stand-in take: the planned actions performed by somebody, sampled as a motion capture would."""

from __future__ import annotations

import numpy as np

from prepare.synthetic.plan import Piece, Plan
from prepare.synthetic.pose import CHANNEL_INDEX, CHANNELS, RATES, Performer, smooth, to_smplh, wander

_FADE = 0.35  # seconds in which an action laid over another comes and goes
_DRIFT, _JITTER = 0.9, 0.25  # degrees: slow restlessness, and the capture's noise in every frame
_STEADY = (*RATES, "lift")  # channels without noise
_BENDS_ONE_WAY = ("knee_l", "knee_r", "elbow_l", "elbow_r")


def perform(plan: Plan, who: Performer, fps: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Poses (T,156) radians and root positions (T,3) metres of a plan, T = duration x fps frames; z is up."""
    t = np.arange(round(plan.duration * fps)) / fps
    channels = np.zeros((len(t), len(CHANNELS)))
    for i, piece in enumerate(plan.pieces):
        next_blend = plan.pieces[i + 1].blend if i + 1 < len(plan.pieces) else 0.0
        here, course = _course(piece, next_blend, t, who, rng)
        weight = np.ones(len(course))
        if piece.blend:
            weight *= smooth((t[here] - piece.start) / piece.blend + 0.5)
        if next_blend:
            weight *= smooth((piece.end - t[here]) / next_blend + 0.5)
        channels[here] += weight[:, None] * course
    for piece in plan.overlays:
        _lay_over(channels, piece, t, who, rng)
    channels += _noise(t, who, rng)
    for name in _BENDS_ONE_WAY:
        np.maximum(channels[:, CHANNEL_INDEX[name]], 0.0, out=channels[:, CHANNEL_INDEX[name]])
    poses, place = to_smplh(channels, fps, rng.uniform(-np.pi, np.pi), who)
    place[:, :2] += rng.normal(0.0, 1.0, 2)
    return poses, place


def _course(
    piece: Piece, next_blend: float, t: np.ndarray, who: Performer, rng: np.random.Generator
) -> tuple[slice, np.ndarray]:
    """The frames of a piece with the halves of both its blends, and its channels there."""
    first, last = piece.start - piece.blend / 2, piece.end + next_blend / 2
    here = slice(*np.searchsorted(t, (first, last)))
    course = np.tile(who.stance(), (here.stop - here.start, 1))
    for name, value in piece.action(t[here] - first, last - first, who, rng).items():
        course[:, CHANNEL_INDEX[name]] = value
    return here, course


def _lay_over(channels: np.ndarray, piece: Piece, t: np.ndarray, who: Performer, rng: np.random.Generator) -> None:
    """Let an action take over the channels that it drives, for its time; legs and trunk go on as they were."""
    here = slice(*np.searchsorted(t, (piece.start, piece.end)))
    local = t[here] - piece.start
    weight = smooth(local / _FADE) * smooth((piece.end - t[here]) / _FADE)
    for name, value in piece.action(local, piece.end - piece.start, who, rng).items():
        under = channels[here, CHANNEL_INDEX[name]]
        channels[here, CHANNEL_INDEX[name]] = under + weight * (value - under)


def _noise(t: np.ndarray, who: Performer, rng: np.random.Generator) -> np.ndarray:
    noise = _DRIFT * who.restless * wander(t, rng, len(CHANNELS))
    noise += rng.normal(0.0, _JITTER, noise.shape)
    noise[:, [CHANNEL_INDEX[name] for name in _STEADY]] = 0.0
    return noise
