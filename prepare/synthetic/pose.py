"""From named joint angles to SMPL-H poses: the layer on which the stand-in's actions are written.

An action drives *channels*: anatomical angles in degrees (zero = standing straight, arms hanging) and a few
rates. They stay in ranges where none wraps round, so blending two actions is blending their channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from prepare.synthetic.body import JOINTS, rest_points

# Positive: flexed, forward, outward, outward turn, towards the left (of bends, twists, looks and turns), up.
_MIDDLE = ("pitch", "roll", "yaw", "bend", "side", "twist", "nod", "tilt", "look")
_LIMBS = (
    "hip", "hip_out", "hip_turn", "knee", "ankle",
    "shrug", "arm", "arm_out", "arm_turn", "elbow", "forearm_turn", "wrist",
)  # fmt: skip
RATES = ("speed", "sideways", "turn_rate")  # m/s ahead, m/s to the left, degrees/s to the left
CHANNELS = (
    *_MIDDLE,
    *(f"{name}_{side}" for name in _LIMBS for side in "lr"),
    *RATES,
    "lift",
)  # lift in metres
CHANNEL_INDEX = {name: i for i, name in enumerate(CHANNELS)}

Drive = dict[str, np.ndarray | float]  # channel name -> its course (T,) or one value

_UP = Rotation.from_euler("x", 90.0, degrees=True)  # SMPL-H's y-up rest pose to AMASS's z-up world
_MIRROR = np.array([1.0, -1.0, -1.0])  # an axis-angle vector seen in the plane between left and right
_SOLES = ("heel", "toe")
_KNEE_RADIUS, _SEAT_RADIUS = 0.05, 0.10  # metres: what touches the ground when kneeling, sitting on it


@dataclass(frozen=True)
class Performer:
    """How one person carries themself; angles in degrees, the rest factors around 1."""

    stoop: float
    arms_out: float
    elbows: float
    toes_out: float
    head_down: float
    cadence: float
    amplitude: float
    restless: float
    curl: float
    right_handed: bool
    chair: int = 0  # seeds the seat that is at hand, so that one gets up from what one sat down on

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Performer:
        """A random person."""
        return cls(
            stoop=rng.uniform(-4, 12),
            arms_out=rng.uniform(4, 16),
            elbows=rng.uniform(6, 24),
            toes_out=rng.uniform(2, 14),
            head_down=rng.uniform(-6, 10),
            cadence=rng.uniform(0.9, 1.12),
            amplitude=rng.uniform(0.85, 1.15),
            restless=rng.uniform(0.6, 1.6),
            curl=rng.uniform(-8, 8),
            right_handed=rng.random() < 0.8,
        )

    def stance(self) -> np.ndarray:
        """The channels (C,) of this person standing quietly."""
        quiet = {"bend": self.stoop, "nod": self.head_down} | pair(
            hip=2,
            knee=4,
            ankle=2,
            hip_out=3,
            hip_turn=self.toes_out,
            arm_out=self.arms_out,
            elbow=self.elbows,
        )
        return np.array([quiet.get(name, 0.0) for name in CHANNELS])

    def hand(self, rng: np.random.Generator) -> str:
        """The side, "l" or "r", that this person uses this time."""
        return "r" if (rng.random() < 0.75) == self.right_handed else "l"


def pair(**limbs: np.ndarray | float) -> Drive:
    """The same drive for both sides: pair(knee=9) is {"knee_l": 9, "knee_r": 9}."""
    return {f"{name}_{side}": value for name, value in limbs.items() for side in "lr"}


def one(side: str, **limbs: np.ndarray | float) -> Drive:
    """A drive of one side, "l" or "r"."""
    return {f"{name}_{side}": value for name, value in limbs.items()}


def other(side: str) -> str:
    """The opposite side."""
    return "l" if side == "r" else "r"


def rest_arms(rng: np.random.Generator, choices: tuple[str, ...], who: Performer) -> Drive:
    """Both arms at rest in one of several ways, drawn from `choices`."""
    ways = {
        "hang": pair(arm=0.0, arm_out=who.arms_out, elbow=who.elbows, arm_turn=0.0),
        "hips": pair(arm=-10.0, arm_out=36.0, elbow=80.0, arm_turn=-62.0, wrist=30.0),
        "crossed": pair(arm=28.0, arm_out=6.0, elbow=100.0, arm_turn=-62.0),
        "clasped": pair(arm=14.0, arm_out=6.0, elbow=52.0, arm_turn=-42.0),
        "thighs": pair(arm=10.0, arm_out=8.0, elbow=46.0, arm_turn=-8.0, forearm_turn=-60.0),
        "knees": pair(arm=30.0, arm_out=6.0, elbow=22.0, forearm_turn=-60.0),
    }
    arms = ways[choices[rng.integers(len(choices))]]
    return {name: value + rng.normal(0, 3) for name, value in arms.items()}


def smooth(share: np.ndarray) -> np.ndarray:
    """From 0 to 1 as `share` does, without a jolt at either end."""
    share = np.clip(share, 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def keyed(t: np.ndarray, *keys: tuple[float, float]) -> np.ndarray:
    """A course (T,) through (time, value) keys that rests at each of them."""
    times, values = np.array(keys, dtype=float).T
    i = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 2)
    share = smooth((t - times[i]) / np.maximum(times[i + 1] - times[i], 1e-9))
    return values[i] + share * (values[i + 1] - values[i])


def swell(cycle: np.ndarray, centre: float, width: float) -> np.ndarray:
    """A bump of height 1 once a cycle (T,), `width` cycles wide (von Mises)."""
    return np.exp((np.cos(2 * np.pi * (cycle - centre)) - 1.0) / (2 * np.pi * width) ** 2)


def wander(t: np.ndarray, rng: np.random.Generator, size: int = 1, fastest: float = 0.9) -> np.ndarray:
    """Smooth noise (T,size) of unit scale: three slow sines each, up to `fastest` Hz."""
    rate = rng.uniform(0.1, fastest, (3, size))
    phase = rng.uniform(0.0, 2 * np.pi, (3, size))
    return np.sin(2 * np.pi * rate * t[:, None, None] + phase).sum(axis=1) / np.sqrt(1.5)


def to_smplh(channels: np.ndarray, fps: float, heading: float, performer: Performer) -> tuple[np.ndarray, np.ndarray]:
    """Channels (T,C) sampled at `fps` to AMASS's `poses` (T,156) axis-angle and `trans` (T,3) metres, z up.

    `heading` is the direction faced at the start, radians about z. The height of the root is such that the lowest
    of heels, toes, knees and seat touches the ground.
    """
    value = dict(zip(CHANNELS, channels.T, strict=True))
    rotations = _body_rotations(value)
    poses = np.zeros((len(channels), len(JOINTS), 3))
    for joint, rotation in rotations.items():
        poses[:, JOINTS.index(joint)] = rotation.as_rotvec()
    for joint in JOINTS[22:]:
        curl = np.radians(performer.curl) * (0.0 if "thumb" in joint else 1.0)
        poses[:, JOINTS.index(joint), 2] = -curl if joint.startswith("left") else curl
    facing = heading + np.cumsum(np.radians(value["turn_rate"])) / fps
    about_z = Rotation.from_rotvec(facing[:, None] * (0.0, 0.0, 1.0))
    poses[:, 0] = (about_z * _UP * rotations["pelvis"]).as_rotvec()
    ahead = np.stack([np.sin(facing), -np.cos(facing)], axis=1)
    left = np.stack([np.cos(facing), np.sin(facing)], axis=1)
    velocity = value["speed"][:, None] * ahead + value["sideways"][:, None] * left
    place = np.column_stack([np.cumsum(velocity, axis=0) / fps, value["lift"] - _lowest(rotations)])
    return poses.reshape(len(channels), -1), place - rest_points()["pelvis"]


def _turn(order: str, *degrees: np.ndarray) -> Rotation:
    return Rotation.from_euler(order, np.stack(degrees, axis=-1), degrees=True)


def _body_rotations(value: dict[str, np.ndarray]) -> dict[str, Rotation]:
    """Local rotations of the moving body joints, from channels (T,) by name."""
    spine = _turn("YXZ", value["twist"] / 3, value["bend"] / 3, -value["side"] / 3)
    head = _turn("YXZ", value["look"] / 2, value["nod"] / 2, -value["tilt"] / 2)
    turned = {"pelvis": _turn("YXZ", value["yaw"], value["pitch"], -value["roll"])}
    turned |= dict.fromkeys(("spine1", "spine2", "spine3"), spine) | dict.fromkeys(("neck", "head"), head)
    for side, letter in (("left", "l"), ("right", "r")):
        limb = {name: value[f"{name}_{letter}"] for name in _LIMBS}
        raised = -np.cos(np.radians(limb["arm_out"])) * np.cos(np.radians(limb["arm"]))
        joints = {
            "hip": _turn("XZY", -limb["hip"], limb["hip_out"], limb["hip_turn"]),
            "knee": _turn("X", limb["knee"]),
            "ankle": _turn("X", -limb["ankle"]),
            # the shoulder blade goes along when the arm is above the horizontal
            "collar": _turn("Z", limb["shrug"] + 15.0 * np.clip(raised, 0.0, 1.0)),
            "shoulder": _turn("XZX", -limb["arm"], limb["arm_out"] - 90.0, -limb["arm_turn"]),
            "elbow": _turn("Y", -limb["elbow"]),
            "wrist": _turn("XZ", -limb["forearm_turn"], -limb["wrist"]),
        }
        for name, rotation in joints.items():
            turned[f"{side}_{name}"] = (
                rotation if side == "left" else Rotation.from_rotvec(rotation.as_rotvec() * _MIRROR)
            )
    return turned


def _lowest(rotations: dict[str, Rotation]) -> np.ndarray:
    """Height (T,) of the lowest point of legs and seat, relative to the pelvis joint."""
    rest = rest_points()
    pelvis = rotations["pelvis"]
    heights = [-_SEAT_RADIUS * np.ones(len(pelvis))]
    for side in ("left", "right"):
        hip = pelvis * rotations[f"{side}_hip"]
        knee = hip * rotations[f"{side}_knee"]
        ankle = knee * rotations[f"{side}_ankle"]
        place = pelvis.apply(rest[f"{side}_hip"] - rest["pelvis"])
        place = place + hip.apply(rest[f"{side}_knee"] - rest[f"{side}_hip"])
        heights.append(place[:, 1] - _KNEE_RADIUS)
        place = place + knee.apply(rest[f"{side}_ankle"] - rest[f"{side}_knee"])
        for sole in _SOLES:
            heights.append((place + ankle.apply(rest[f"{side}_{sole}"] - rest[f"{side}_ankle"]))[:, 1])
    return np.min(heights, axis=0)
