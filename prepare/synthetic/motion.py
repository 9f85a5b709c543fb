"""Motions as tables of key poses, and the people who perform them."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from prepare.synthetic.pose import ARMS, CHANNELS, LEFTWARD, LIMBS, RATES

Rows = dict[str, float | tuple[float, ...]]
Channels = dict[str, np.ndarray]
OPPOSITE = {f"{limb}_{side}": f"{limb}_{other}" for limb in LIMBS for side, other in ("lr", "rl")}


@dataclass(frozen=True)
class Motion:
    """One variant of an action: key poses, with smooth interpolation between them.

    rows: channel -> its values in the key poses, or one constant value. They are added to the performer's stance. A
        limb without _l or _r means both sides. Rates are metres or degrees per pass.
    seconds: shortest and longest time of one pass through the key poses. Negative times reverse the motion.
    kind: "cycle" (repeats, starts and ends at any phase, as in walking), "repeat" (whole passes, as in jumping),
        "once" (one pass, then holds the last pose).
    at: phases of the key poses, from 0 to 1; evenly spaced by default.
    alternating: the left side is half a cycle later than the right side.
    vary: fraction by which sizes differ between performances.
    """

    rows: Rows
    seconds: tuple[float, float] = (1.0, 1.0)
    kind: str = "cycle"
    at: tuple[float, ...] | None = None
    alternating: bool = False
    vary: float = 0.2

    def values_at(self, values: float | tuple[float, ...], phase: np.ndarray) -> np.ndarray:
        """Values (T,) of one row at the phases (T,)."""
        if not isinstance(values, tuple):
            return np.full(len(phase), float(values))
        if self.kind == "once":
            return PchipInterpolator(self.at or np.linspace(0, 1, len(values)), values)(np.clip(phase, 0, 1))
        at = np.array(self.at or np.arange(len(values)) / len(values))
        # The cycle before, this one and the next, so that the interpolation is periodic
        return PchipInterpolator(np.concatenate([at - 1, at, at + 1]), values * 3)(phase % 1)


class Performer:
    """How one person stands (`stance`: degrees by channel) and moves."""

    def __init__(self, rng: np.random.Generator) -> None:
        bend, nod, out, elbow, toes = rng.uniform((-4, -6, 4, 6, 2), (12, 10, 16, 24, 14))
        limbs = {"hip": 2, "hip_out": 3, "hip_turn": toes, "knee": 4, "ankle": 2, "arm_out": out, "elbow": elbow}
        self.stance = dict.fromkeys(CHANNELS, 0.0) | {"bend": bend, "nod": nod}
        self.stance |= {f"{limb}_{side}": float(angle) for limb, angle in limbs.items() for side in "lr"}
        self.cadence, self.energy, self.restless = rng.uniform((0.9, -0.5, 0.6), (1.12, 0.5, 1.6))
        self.right_handed = rng.random() < 0.8

    def perform(self, motion: Motion, t: np.ndarray, duration: float, rng: np.random.Generator) -> Channels:
        """Values (T,) of the channels in a motion of `duration` seconds, at `t` (T,) seconds since its start.

        The number of random draws does not depend on `t`, so a motion is the same at every frame rate.
        """
        # A person uses the preferred side in 75 % of the motions. Motions are written for the right side.
        mirrored = (rng.random() < 0.75) != self.right_handed
        period = rng.uniform(*motion.seconds) / self.cadence
        if motion.kind == "repeat":
            period = duration / max(1, round(duration / period))
            t = np.minimum(t, duration)
        # Cycles start at any phase, reversed motions at phase 1, others at phase 0.
        phase = t / period + (rng.uniform() if motion.kind == "cycle" else float(period < 0))
        sizes = 1 + motion.vary * (self.energy + rng.uniform(-1, 1, len(motion.rows) + 1))
        channels = {}
        for (name, values), size in zip(motion.rows.items(), sizes[1:], strict=True):
            if name.removesuffix("_r").removesuffix("_l") not in ARMS:
                size = sizes[0]  # one size for legs and trunk, otherwise feet would slide
            size = size / period if name in RATES else size
            for channel in (f"{name}_r", f"{name}_l") if name in LIMBS else (name,):
                shift = 0.5 * (motion.alternating and channel != name and channel.endswith("_l"))
                driven = OPPOSITE.get(channel, channel) if mirrored else channel
                sign = -1 if mirrored and name in LEFTWARD else 1
                channels[driven] = self.stance[driven] + sign * size * motion.values_at(values, phase + shift)
        return channels
