"""Movement outside the benchmark's twelve actions: what BABEL calls by other categories, or leaves un-annotated.

The same form as the actions of `stand_in_motion.py`, to which some of them are deliberately near: a raised hand that
does not wave, knees lifted on the spot, a squat, a side step, a punch.
"""

from __future__ import annotations

import numpy as np

from prepare.synthetic.actions import Action, seat, squatting
from prepare.synthetic.gait import stepping
from prepare.synthetic.pose import CHANNELS, Drive, Performer, keyed, one, other, pair, rest_arms, smooth, swell, wander


def _there_and_back(t: np.ndarray, duration: float, rise: float = 0.8) -> np.ndarray:
    return smooth(t / rise) * smooth((duration - t) / rise)


def stretch(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Both arms overhead, leaning to one side and the other."""
    way, lean = _there_and_back(t, duration), np.sin(2 * np.pi * t / rng.uniform(2.2, 3.4))
    arms = pair(arm_out=10 + 145 * way, elbow=15.0, arm_turn=40 * way)
    return arms | {"side": 22 * way * lean, "bend": -6 * way, "nod": -10 * way, "roll": -4 * way * lean}


def bend(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Bending down as if to pick something up."""
    way, deep, knees = _there_and_back(t, duration, min(1.0, duration / 2)), rng.uniform(45, 80), rng.uniform(10, 50)
    legs = pair(knee=4 + knees * way, hip=2 + (0.5 * knees + 0.45 * deep) * way, ankle=2 + 0.5 * knees * way)
    arms = pair(arm=(60 + 0.3 * deep) * way, arm_out=8.0, elbow=12.0)
    return legs | arms | {"pitch": 0.45 * deep * way, "bend": who.stoop + 0.6 * deep * way, "nod": 15 * way}


def look(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Looking around, up and down, standing with a step or two."""
    around = wander(t, rng, 2, fastest=0.5)
    steps = stepping(t, rng.uniform(0.8, 1.4), rng.uniform(10, 25))
    arms = rest_arms(rng, ("hang", "hips"), who)
    return steps | arms | {"look": 38 * around[:, 0], "twist": 10 * around[:, 0], "nod": 14 * around[:, 1]}


def arm_circles(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Circles of both stretched arms at the sides."""
    rate, wide = rng.uniform(0.7, 1.4), rng.uniform(20, 40)
    angle = 2 * np.pi * rate * t
    return pair(arm_out=88 + wide * np.cos(angle), arm=12 + wide * np.sin(angle), elbow=8.0)


def squat(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Knee bends, arms out ahead."""
    deep = rng.uniform(70, 105)
    times = max(1, round(duration / rng.uniform(1.8, 2.6)))
    down = 0.5 - 0.5 * np.cos(2 * np.pi * t / duration * times)
    legs = pair(hip=2 + deep * down, knee=4 + 1.1 * deep * down, ankle=2 + 28 * down, hip_out=3 + 7 * down)
    arms = pair(arm=(75 + 0.33 * deep) * down, elbow=12.0)
    return legs | arms | pair(hip_turn=who.toes_out * (1 - down)) | {"pitch": 0.33 * deep * down}


def raise_hand(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """One hand raised and held up, or reaching for something high."""
    hand, way, high = who.hand(rng), _there_and_back(t, duration, 0.7), rng.uniform(120, 165)
    return one(hand, arm=high * way, arm_out=12.0, elbow=15 + 20 * (1 - way)) | {"look": rng.normal(0, 10)}


def scratch(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Scratching the head: a hand goes up and rubs."""
    hand, way = who.hand(rng), _there_and_back(t, duration, 0.6)
    rub = 7 * np.sin(2 * np.pi * rng.uniform(2.0, 3.0) * t)
    out = rng.uniform(35, 75)
    arm = one(hand, arm=45 * way, arm_out=8 + out * way, elbow=15 + (118 + rub) * way, arm_turn=62 * way)
    return arm | {"nod": who.head_down + 12 * way, "tilt": (6.0 if hand == "l" else -6.0) * way}


def punch(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Boxing: guard up, arms shooting out in turn."""
    rate = rng.uniform(1.2, 2.2)
    drive: Drive = {"bend": who.stoop + 8, "twist": 16 * np.sin(2 * np.pi * rate * t / 2)}
    for side, behind in (("l", 0.0), ("r", 0.5)):
        out = swell(rate / 2 * t + behind, 0.5, 0.07)
        drive |= one(side, arm=35 + 48 * out, elbow=115 - 105 * out, arm_out=8.0, arm_turn=-10.0, knee=18.0, hip=12.0)
    return drive | pair(ankle=6.0)


def throw(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """An overarm throw with a step of the other foot."""
    hand, times = who.hand(rng), max(1, round(duration / 1.8))
    u = (t / duration * times) % 1.0 * (t < duration)
    away = 1.0 if hand == "l" else -1.0
    arm = one(
        hand,
        arm=keyed(u, (0, 0), (0.4, 5), (0.55, 85), (0.7, 40), (1, 0)),
        arm_out=keyed(u, (0, 8), (0.4, 92), (0.55, 30), (0.7, 5), (1, 8)),
        arm_turn=keyed(u, (0, 0), (0.4, 85), (0.55, 10), (1, 0)),
        elbow=keyed(u, (0, 15), (0.4, 95), (0.55, 10), (1, 15)),
    )
    step = keyed(u, (0, 0), (0.35, 1), (0.7, 1), (1, 0))
    legs = one(other(hand), hip=2 + 28 * step, knee=4 + 15 * step) | one(hand, hip=2 - 14 * step, knee=4 + 12 * step)
    return arm | legs | {"twist": away * keyed(u, (0, 0), (0.4, 35), (0.6, -25), (1, 0))}


def march(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Knees lifted high in turn on the spot."""
    steps, height = rng.uniform(1.4, 2.2), rng.uniform(55, 90)
    drive: Drive = {}
    for side, behind in (("l", 0.0), ("r", 0.5)):
        up = swell(steps / 2 * t + behind, 0.5, 0.1)
        swing = swell(steps / 2 * t + behind, 0.0, 0.12)
        drive |= one(side, hip=2 + height * up, knee=4 + 1.1 * height * up, arm=25 * swing, elbow=30 + 40 * swing)
    return drive


def side_step(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Stepping sideways, feet apart and together."""
    way, rate = rng.choice((-1.0, 1.0)), rng.uniform(0.9, 1.4)
    wide = 0.5 - 0.5 * np.cos(2 * np.pi * rate * t)
    legs = pair(hip_out=3 + 15 * wide, knee=6 + 10 * wide, hip=4 + 6 * wide, ankle=3 + 4 * wide)
    return legs | {"sideways": way * 0.5 * rate, "look": way * 20.0} | rest_arms(rng, ("hang", "hips"), who)


def clap(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Clapping the hands before the chest."""
    apart = 0.5 - 0.5 * np.cos(2 * np.pi * rng.uniform(1.8, 3.2) * t)
    arms = pair(arm=32.0, arm_out=4 + 10 * apart, elbow=72.0, arm_turn=-38 + 26 * apart)
    return arms | {"nod": who.head_down + 4}


def kneel(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Going down on one knee and up again."""
    way, leg = _there_and_back(t, duration, min(1.3, duration / 2)), who.hand(rng)
    ahead = one(leg, hip=2 + 84 * way, knee=4 + 90 * way, ankle=2 + 4 * way)
    behind = one(other(leg), hip=2 + 4 * way, knee=4 + 96 * way, ankle=-30 * way)
    return (
        ahead | behind | {"pitch": 8 * way, "bend": who.stoop + 8 * way} | one(leg, arm=30 * way, elbow=15 + 25 * way)
    )


def crouch(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Down in a squat and staying there."""
    way, stance = smooth(t / 0.9), dict(zip(CHANNELS, who.stance(), strict=True))
    drive = {name: stance[name] + way * (value - stance[name]) for name, value in squatting().items()}
    return drive | {"look": 12 * wander(t, rng)[:, 0]}


def shuffle(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Between two things: small steps, hands fidgeting, looking here and there."""
    fidget = wander(t, rng, 4, fastest=0.8)
    steps = stepping(t, rng.uniform(0.9, 1.6), rng.uniform(10, 28))
    arms = pair(
        arm=12 + 12 * fidget[:, 0], elbow=45 + 22 * fidget[:, 1], arm_out=who.arms_out, arm_turn=-15 + 12 * fidget[:, 0]
    )
    return (
        steps | arms | {"look": 20 * fidget[:, 2], "twist": 7 * fidget[:, 2], "bend": who.stoop + 6 + 5 * fidget[:, 3]}
    )


def t_pose(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """The pose in which captures start."""
    return pair(arm_out=86 + rng.normal(0, 3), elbow=6.0)


def seated(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Sitting all the while, with little movements."""
    idle = wander(t, rng, 3, fastest=0.3)
    return seat(who) | {"side": 3 * idle[:, 0], "look": 14 * idle[:, 1], "twist": 4 * idle[:, 2]}


Movement = tuple[str, Action, tuple[str, ...]]  # how annotators call it, the action, its BABEL categories
OTHER: tuple[Movement, ...] = (
    ("stretch", stretch, ("stretch", "raising body part")),
    ("bend down", bend, ("bend",)),
    ("look around", look, ("look",)),
    ("circle arms", arm_circles, ("arm movements", "circular movement")),
    ("do squats", squat, ("squat",)),
    ("raise hand", raise_hand, ("raising body part",)),
    ("scratch head", scratch, ("scratch", "touching body part")),
    ("box", punch, ("punch",)),
    ("throw something", throw, ("throw",)),
    ("lift knees", march, ("knee movement", "raising body part")),
    ("step sideways", side_step, ("sideways movement", "step")),
    ("clap hands", clap, ("clap", "hand movements")),
    ("kneel down", kneel, ("kneel",)),
    ("fidget", shuffle, ("hand movements",)),
)
CROUCH: Movement = ("crouch", crouch, ("crouch",))
SHUFFLE: Movement = ("shuffle", shuffle, ("foot movements",))
T_POSE: Movement = ("t-pose", t_pose, ("t pose",))
