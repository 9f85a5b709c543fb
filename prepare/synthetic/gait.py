"""Locomotion of the stand-in: walking, running, jogging, turning on the spot and steps."""

from __future__ import annotations

import numpy as np

from prepare.synthetic.pose import Drive, Performer, one, rest_arms, smooth, swell


def gait(t: np.ndarray, steps: float, start: float, legs: Drive, arms: Drive) -> Drive:
    """Legs and arms in alternation, `steps` a second; the parts of `legs` and `arms` are sizes in degrees.

    A cycle of one leg starts as its heel strikes; its arm swings against it.
    """
    drive: Drive = {}
    for side, behind in (("l", 0.0), ("r", 0.5)):
        cycle = steps / 2 * t + start + behind
        swing = np.cos(2 * np.pi * (cycle + legs["early"]))
        drive[f"hip_{side}"] = legs["hip"] + legs["stride"] * swing
        drive[f"knee_{side}"] = 6 + legs["give"] * swell(cycle, 0.13, 0.09) + legs["heel_up"] * swell(cycle, 0.73, 0.12)
        drive[f"ankle_{side}"] = 6 * swell(cycle, 0.45, 0.1) - legs["push"] * swell(cycle, 0.63, 0.07)
        drive[f"arm_{side}"] = arms["mean"] - arms["swing"] * np.cos(2 * np.pi * cycle)
        drive[f"elbow_{side}"] = arms["elbow"] - 0.3 * arms["swing"] * np.cos(2 * np.pi * cycle)
    left = 2 * np.pi * (steps / 2 * t + start)
    drive |= {
        "yaw": -5 * np.cos(left),
        "twist": (5 + 0.25 * arms["swing"]) * np.cos(left),
        "roll": 3 * np.sin(left),
    }
    return drive


def walk(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """An easy or brisk walk, ahead or (seldom) backwards, straight or in a slight curve."""
    steps, size = rng.uniform(1.55, 2.05) * who.cadence, rng.uniform(0.85, 1.15) * who.amplitude
    backwards, start, curve = rng.random() < 0.12, rng.uniform(), rng.normal(0, 6)
    swing, elbow, hips = rng.uniform(8, 30), rng.uniform(10, 30), rng.uniform(4, 9)
    way = -1.0 if backwards else 1.0
    legs = {"hip": hips, "stride": 22 * size, "give": 12, "heel_up": 46 * size, "push": 14, "early": 0.05}
    arms = {"mean": 0.0, "swing": swing * size, "elbow": elbow}
    drive = gait(way * t, steps, start, legs, arms)
    return drive | {"speed": way * 0.72 * steps * size, "turn_rate": curve, "bend": who.stoop + 3}


def run(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """A fast run: long strides, heels to the seat, bent arms driving, body leaning."""
    steps, size, start = (
        rng.uniform(2.8, 3.3) * who.cadence,
        rng.uniform(0.9, 1.15) * who.amplitude,
        rng.uniform(),
    )
    swing, elbow, lean = rng.uniform(35, 55), rng.uniform(80, 100), rng.uniform(8, 16)
    legs = {
        "hip": 22 + lean,
        "stride": 40 * size,
        "give": 22,
        "heel_up": 92 * size,
        "push": 22,
        "early": 0.08,
    }
    drive = gait(t, steps, start, legs, {"mean": 5 + lean, "swing": swing * size, "elbow": elbow})
    flight = swell(steps * t + 2 * start, 0.75, 0.15)  # once a step
    return drive | {"speed": 1.3 * steps * size, "pitch": lean, "bend": who.stoop + 6, "lift": 0.10 * flight}


def jog(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """A light trot, at times on the spot: short strides, elbows bent, arms nearly still."""
    steps, size, start = (
        rng.uniform(2.35, 2.7) * who.cadence,
        rng.uniform(0.85, 1.15) * who.amplitude,
        rng.uniform(),
    )
    swing, elbow, lean = rng.uniform(8, 22), rng.uniform(65, 95), rng.uniform(2, 6)
    on_the_spot = rng.random() < 0.3
    stride = (12 if on_the_spot else 22) * size
    legs = {"hip": 17 + lean, "stride": stride, "give": 18, "heel_up": 62 * size, "push": 18, "early": 0.05}
    drive = gait(t, steps, start, legs, {"mean": lean, "swing": swing, "elbow": elbow})
    flight = swell(steps * t + 2 * start, 0.75, 0.15)
    speed = 0.1 if on_the_spot else 0.9 * steps * size
    return drive | {"speed": speed, "pitch": lean, "bend": who.stoop + 3, "lift": 0.05 * flight}


def stepping(t: np.ndarray, steps: float, height: float) -> Drive:
    """Small steps on the spot: feet lifted in turn by bending hip and knee."""
    drive: Drive = {}
    for side, behind in (("l", 0.0), ("r", 0.5)):
        up = swell(steps / 2 * t + behind, 0.5, 0.11)
        drive |= one(side, hip=2 + 0.6 * height * up, knee=4 + height * up, ankle=2 - 0.1 * height * up)
    return drive


def turn(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Turning on the spot in small steps, head first; goes round as long as it lasts."""
    way, rate = rng.choice((-1.0, 1.0)), rng.uniform(65, 140)
    steps, height = rng.uniform(1.6, 2.3) * who.cadence, rng.uniform(22, 40)
    course = smooth(t / 0.5) * smooth((duration - t) / 0.4)
    pulse = 1 + 0.4 * np.cos(2 * np.pi * steps * t)
    drive = stepping(t, steps, height) | rest_arms(rng, ("hang", "hang", "hang", "clasped"), who)
    lead = way * smooth(t / 0.35) * smooth((duration - t) / 0.35)
    return drive | {
        "turn_rate": way * rate * course * pulse,
        "look": 28 * lead,
        "twist": 12 * lead,
        "hip_out_l": 3 + 7 * np.abs(course) * pulse,
        "hip_out_r": 3 + 7 * np.abs(course) * pulse,
    }


def curve(t: np.ndarray, duration: float, who: Performer, rng: np.random.Generator) -> Drive:
    """Turning while moving: laid over a gait, it drives the heading, the head and a lean alone."""
    way, rate = rng.choice((-1.0, 1.0)), rng.uniform(55, 110)
    course = way * smooth(t / 0.4) * smooth((duration - t) / 0.4)
    return {"turn_rate": rate * course, "look": 20 * course, "side": 5 * course}
