"""The twelve benchmark actions as procedures over time; `stand_in_other.py` has the rest.

Each takes the seconds since its start `t` (T,), how long it lasts, who does it and a random generator for this
time's variation, and returns what it drives (`stand_in_pose.Drive`); every other channel stays in the performer's
stance. Random numbers are drawn apart from `t`, so that one motion can be sampled at any frame rate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prepare.synthetic.gait import jog, run, turn, walk
from prepare.synthetic.gestures import dance, gesture, wave
from prepare.synthetic.pose import Drive, Performer, keyed, one, other, pair, rest_arms, smooth, swell, wander

Action = Callable[[np.ndarray, float, Performer, np.random.Generator], Drive]


def stand(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Quiet stance: swaying, weight on one leg or both; arms hanging, on the hips, crossed or clasped."""
    side, onto, tilt = who.hand(rng), rng.uniform(0, 1) * (rng.random() < 0.5), rng.normal(0, 8)
    sway = wander(t, rng, 2, fastest=0.4)
    shift = keyed(t, (0, 0), (0.4 * duration, onto), (0.7 * duration, onto), (duration, 0.3 * onto))
    drive = rest_arms(rng, ("hang", "hang", "hips", "crossed", "clasped"), who)
    drive |= one(side, knee=4 + 16 * shift, hip=2 + 10 * shift, ankle=2 + 6 * shift)
    lean = -1.0 if side == "l" else 1.0
    drive |= {"roll": -lean * 4 * shift + sway[:, 0], "side": lean * 3 * shift, "pitch": 0.8 * sway[:, 1]}
    return drive | {"look": tilt + 5 * sway[:, 0]}


def jump(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Crouch, extend, fly and land, again and again; in place or ahead, arms along."""
    each, deep, high = rng.uniform(1.15, 1.6), rng.uniform(55, 90) * who.amplitude, rng.uniform(0.15, 0.4)
    ahead, arms_up = (rng.random() < 0.4) * rng.uniform(0.8, 1.8), rng.uniform(40, 125)
    times = max(1, round(duration / each))
    u = (t / duration * times) % 1.0 * (t < duration)
    down = keyed(u, (0, 0), (0.3, 1), (0.42, -0.05), (0.55, 0.25), (0.66, 0.1), (0.78, 0.7), (1, 0))
    air = np.clip((u - 0.42) / 0.26, 0, 1)
    arms = keyed(u, (0, 0), (0.27, -40), (0.53, arms_up), (0.7, 0.5 * arms_up), (0.87, -15), (1, 0))
    legs = pair(hip=2 + deep * down, knee=4 + 1.15 * deep * down, ankle=2 + 30 * down - 45 * np.sin(np.pi * air))
    bent = pair(arm=arms, elbow=15 + 25 * np.abs(arms) / 100, arm_out=who.arms_out + 6)
    flight = {"lift": high * 4 * air * (1 - air), "speed": ahead * smooth(np.sin(np.pi * air))}
    return legs | bent | flight | {"pitch": 28 * np.clip(down, 0, None), "bend": who.stoop + 14 * down}


def seat(who: Performer) -> Drive:
    """Seated on a chair, a low stool or the ground; the angles to which `sit` goes and from which `stand_up` comes."""
    rng = np.random.default_rng(who.chair)
    kind = ("chair", "chair", "chair", "stool", "ground")[rng.integers(5)]
    hip, knee, pitch = {"chair": (86, 88, -4), "stool": (98, 105, 2), "ground": (112, 100, -8)}[kind]
    hip, knee, pitch = hip + rng.normal(0, 5), knee + rng.normal(0, 6), pitch + rng.normal(0, 4)
    arms = rest_arms(rng, ("thighs", "thighs", "knees", "crossed", "clasped"), who)
    legs = pair(hip=hip, knee=knee, ankle=knee - hip + pitch, hip_out=rng.uniform(2, 16))
    return legs | arms | {"pitch": pitch, "bend": who.stoop + rng.uniform(-4, 16), "nod": rng.uniform(-8, 10)}


def sit(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Sitting down, leaning forward on the way, then sitting with little movements."""
    down, lean = rng.uniform(1.0, 1.6), rng.uniform(25, 45)
    target = seat(who)
    way = keyed(t, (0, 0), (down, 1), (down + 1, 1))
    stance = dict.fromkeys(target, 0.0) | {"bend": who.stoop} | pair(arm_out=who.arms_out, elbow=who.elbows)
    drive = {name: stance[name] + way * (value - stance[name]) for name, value in target.items()}
    drive |= _leaning(drive, lean * swell(np.clip(t / down, 0, 1), 0.5, 0.1))
    idle = wander(t, rng, 3, fastest=0.3) * way[:, None]
    return drive | {"side": 3 * idle[:, 0], "look": 14 * idle[:, 1], "twist": 4 * idle[:, 2]}


def _leaning(drive: Drive, lean: np.ndarray) -> Drive:
    """The trunk of `drive` tipped forward by `lean` degrees over legs that stay where they are."""
    tipped = {name: drive[name] + lean for name in ("pitch", "hip_l", "hip_r")}
    return tipped | {"nod": drive["nod"] - 0.4 * lean}


def stand_up(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Rising from a seat: lean, push, straighten; then standing for the rest."""
    return _rise(t, duration, who, rng, seat(who))


def rise(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Rising from a squat, hands low."""
    return _rise(t, duration, who, rng, squatting())


def squatting() -> Drive:
    """Down in a squat with the hands on the knees."""
    legs = pair(hip=105.0, knee=118.0, ankle=28.0, hip_turn=0.0, hip_out=8.0)
    return legs | pair(arm=40.0, elbow=30.0, arm_turn=0.0) | {"pitch": 24.0, "bend": 10.0, "nod": -10.0}


def _rise(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator, start: Drive) -> Drive:
    up, lean, wait = rng.uniform(0.55, 0.8) * duration, rng.uniform(18, 38), rng.uniform(0.03, 0.12) * duration
    left = keyed(t, (0, 1), (wait, 1), (wait + up, 0), (wait + up + 1, 0))
    stance = dict.fromkeys(start, 0.0) | {"bend": who.stoop, "nod": who.head_down}
    stance |= pair(arm_out=who.arms_out, elbow=who.elbows, hip_turn=who.toes_out, hip_out=3, hip=2, knee=4, ankle=2)
    drive = {name: stance[name] + left * (value - stance[name]) for name, value in start.items()}
    return drive | _leaning(drive, lean * swell(np.clip((t - wait) / up, 0, 1), 0.38, 0.1))


def kick(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Kicks with one leg, to the front, low as at a ball, or to the side; arms on guard or swinging."""
    leg, kind = who.hand(rng), ("front", "ball", "side")[rng.integers(3)]
    each, size, guard = rng.uniform(1.1, 1.6), rng.uniform(0.85, 1.15) * who.amplitude, rng.random() < 0.5
    times = max(1, round(duration / each))
    u = (t / duration * times) % 1.0 * (t < duration)
    back, top = {"front": (10, 82), "ball": (-28, 48), "side": (25, 40)}[kind]
    hip = keyed(u, (0, 2), (0.28, back), (0.5, top * size), (0.66, 0.6 * top), (0.92, 2), (1, 2))
    knee = keyed(u, (0, 4), (0.32, 85), (0.5, 6), (0.66, 45), (0.92, 4), (1, 4))
    out = keyed(u, (0, 3), (0.3, 25), (0.5, 70 * size), (0.68, 25), (0.92, 3), (1, 3)) if kind == "side" else 3.0
    way = smooth(u / 0.25) * smooth((0.95 - u) / 0.25)
    drive = one(leg, hip=hip, knee=knee, hip_out=out, ankle=-20 * way) | one(
        other(leg), knee=4 + 12 * way, hip=2 + 5 * way
    )
    sign = 1.0 if leg == "l" else -1.0
    tip = (20 if kind == "side" else 3) * way * sign
    if guard:
        drive |= pair(arm=30 + 0 * t, elbow=105 + 0 * t, arm_out=12 + 0 * t, arm_turn=-15 + 0 * t)
    else:
        drive |= one(leg, arm=-35 * way) | one(other(leg), arm=35 * way) | pair(arm_out=who.arms_out + 25 * way)
    return drive | {
        "roll": -tip,
        "side": 0.5 * tip,
        "pitch": -10 * way * (kind != "side"),
        "bend": who.stoop + 12 * way,
    }


ACTIONS: dict[str, Action] = {
    "walk": walk, "stand": stand, "turn": turn, "jump": jump, "sit": sit, "run": run, "stand up": stand_up,
    "kick": kick, "jog": jog, "wave": wave, "dance": dance, "gesture": gesture,
}  # fmt: skip
