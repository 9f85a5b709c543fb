"""What the stand-in does with its arms: waving, dancing, gesturing."""

from __future__ import annotations

import numpy as np

from prepare.synthetic.pose import Drive, Performer, keyed, one, other, pair, smooth, wander


def wave(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """A raised hand going to and fro: from the elbow or with the whole arm, one hand or (seldom) both."""
    hand, both, whole = who.hand(rng), rng.random() < 0.15, rng.random() < 0.3
    rate, size = rng.uniform(1.2, 2.4), rng.uniform(18, 32) * who.amplitude
    beat = np.sin(2 * np.pi * rate * t + rng.uniform(0, 6)) * (1 + 0.15 * wander(t, rng)[:, 0])
    if whole:
        raised = {"arm": 10.0, "arm_out": 142 + 0.8 * size * beat, "elbow": 22 - 8 * beat, "arm_turn": 60.0}
    else:
        out, ahead = rng.uniform(45, 85), rng.uniform(5, 30)
        raised = {"arm": ahead, "arm_out": out, "elbow": 95 + size * beat, "arm_turn": 82 - ahead}
        raised["wrist"] = 0.3 * size * beat
    drive = pair(**raised) if both else one(hand, **raised)
    tilt = 0.0 if both else (4.0 if hand == "r" else -4.0)
    return drive | {"side": tilt + 1.5 * beat, "tilt": tilt}


def dance(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """To a beat: side steps, twists or arms in the air, by turns of four beats, knees bouncing throughout."""
    beats, size, start = rng.uniform(1.6, 2.3), rng.uniform(0.8, 1.2) * who.amplitude, rng.uniform()
    order = rng.permutation(3)
    count = beats * t + start
    full, half = np.sin(2 * np.pi * count), np.sin(np.pi * count)
    bounce = 0.5 - 0.5 * np.cos(2 * np.pi * count)
    styles = [_dance_step(half, bounce, size), _dance_twist(half, size), _dance_arms(half, full, size)]
    drive: Drive = {}
    bars = (count // 8).astype(int) % 2
    share = np.where(count % 8 > 7, smooth(count % 8 - 7), 0.0)  # go over on the last beat
    weight = np.where(bars == 0, share, 1 - share)
    first, second = styles[order[0]], styles[order[1]]
    for name in {**first, **second}:
        drive[name] = (1 - weight) * first.get(name, 0.0) + weight * second.get(name, 0.0)
    knees = {
        f"knee_{side}": 12 + 22 * size * bounce + 22 * np.clip(sign * half, 0, None)
        for side, sign in (("l", 1), ("r", -1))
    }
    hips = {name.replace("knee", "hip"): 0.55 * value for name, value in knees.items()}
    ankles = {name.replace("knee", "ankle"): 0.45 * value for name, value in knees.items()}
    return drive | knees | hips | ankles | {"nod": who.head_down + 9 * bounce, "turn_rate": rng.normal(0, 12)}


def _dance_step(half: np.ndarray, bounce: np.ndarray, size: float) -> Drive:
    drive = {"roll": 7 * half, "side": -9 * size * half, "sideways": 0.5 * half, "twist": 8 * half}
    for side, sign in (("l", 1), ("r", -1)):
        swing = sign * half
        drive |= one(side, arm=28 + 24 * size * swing, elbow=78 + 20 * bounce, arm_out=22 + 10 * bounce)
        drive |= one(side, hip_out=5 + 14 * np.clip(swing, 0, None))
    return drive


def _dance_twist(half: np.ndarray, size: float) -> Drive:
    drive = {"yaw": 22 * size * half, "twist": -45 * size * half, "look": 15 * half}
    for side, sign in (("l", 1), ("r", -1)):
        drive |= one(side, arm=22 + 32 * size * sign * half, elbow=88.0, arm_out=20.0, hip_out=5.0)
    return drive


def _dance_arms(half: np.ndarray, full: np.ndarray, size: float) -> Drive:
    drive = {"roll": 5 * half, "side": 10 * size * half, "sideways": 0.4 * half}
    for side, sign in (("l", 1), ("r", -1)):
        drive |= one(side, arm_out=125 - sign * 22 * size * half, arm=15.0, elbow=45 + 12 * full, arm_turn=50.0)
        drive |= one(side, hip_out=6 + 10 * np.clip(sign * half, 0, None))
    return drive


def gesture(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Talking with the hands: beats of both forearms or one, pointing, shrugging or beckoning."""
    kind = ("talk", "talk", "point", "shrug", "beckon")[rng.integers(5)]
    hand, size = who.hand(rng), rng.uniform(0.8, 1.3) * who.amplitude
    beats = wander(t, rng, 4, fastest=1.6)
    nodding = {"nod": who.head_down + 5 * beats[:, 3], "tilt": 4 * beats[:, 2], "look": rng.normal(0, 12)}
    every = rng.uniform(1.3, 2.0)
    u = (t / every) % 1.0
    out = keyed(u, (0, 0), (0.3, 1), (0.6, 1), (0.95, 0), (1, 0))
    if kind == "talk":
        drive: Drive = {}
        for side, beat in ((hand, beats[:, 0]), (other(hand), beats[:, 1])):
            drive |= one(side, arm=24 + 9 * size * beat, elbow=82 + 17 * size * beat, arm_out=14 + 5 * beats[:, 2])
            drive |= one(
                side,
                arm_turn=-8 + 13 * size * beats[:, 1],
                forearm_turn=35 + 25 * beat,
                wrist=10 * beats[:, 0],
            )
        return drive | nodding
    if kind == "point":
        way = rng.uniform(-10, 35)
        return one(hand, arm=20 + 62 * out, elbow=85 - 75 * out, arm_out=8 + way * out, forearm_turn=0.0) | nodding
    if kind == "shrug":
        arms = pair(
            arm=18 + 6 * out,
            elbow=50 + 42 * out,
            arm_out=12 + 8 * out,
            arm_turn=38 * out,
            forearm_turn=75 * out,
        )
        return arms | pair(shrug=16 * out) | nodding
    pull = np.sin(2 * np.pi * t * rng.uniform(1.0, 1.6))
    return one(hand, arm=48.0, elbow=72 + 34 * size * pull, arm_out=10.0, forearm_turn=70.0) | nodding
