"""Motions as tables of key poses, the people who perform them, and their poses in SMPL-H.

Motions are described by *channels*: anatomical angles in degrees, which are zero when a person stands straight with
hanging arms, and rates of movement. No angle wraps around, so channels can be interpolated linearly.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from prepare.synthetic.body import JOINTS, REST_POINTS

# Positive angles: limbs flex, move forward or outward, turn outward, or rise. Trunk and head lean forward or left.
MIDDLE = ("pitch", "roll", "yaw", "bend", "side", "twist", "nod", "tilt", "look")  # three each of pelvis, spine, head
LEGS = ("hip", "hip_out", "hip_turn", "knee", "ankle")
ARMS = ("shrug", "arm", "arm_out", "arm_turn", "elbow", "forearm_turn", "wrist")
LIMBS = LEGS + ARMS
RATES = ("speed", "sideways", "turn_rate")  # metres/s ahead, metres/s to the left, degrees/s to the left
MOVES = (*RATES, "lift")  # lift: metres up
CHANNELS = (*MIDDLE, *(f"{limb}_{side}" for limb in LIMBS for side in "lr"), *MOVES)
LEFTWARD = ("roll", "yaw", "side", "twist", "tilt", "look", "sideways", "turn_rate")  # negated in mirrored motions
OPPOSITE = {f"{limb}_{side}": f"{limb}_{other}" for limb in LIMBS for side, other in ("lr", "rl")}
Rows = dict[str, float | tuple[float, ...]]
Channels = dict[str, np.ndarray]

_Y_UP_TO_Z_UP = Rotation.from_euler("x", 90.0, degrees=True)  # SMPL-H's rest pose to AMASS's world
_KNEE_RADIUS, _SEAT_RADIUS = 0.05, 0.10  # metres from the joints of knee and pelvis to the skin


@dataclass(frozen=True)
class Motion:
    """One variant of an action: key poses, with smooth interpolation between them."""

    # By channel: its values in the key poses, or one constant value. They are added to the performer's stance. A limb
    # without _l or _r means both sides. Rates are metres or degrees per pass.
    rows: Rows
    seconds: tuple[float, float] = (1.0, 1.0)  # shortest and longest time of one pass; negative: in reverse
    # cycle: repeats, starts and ends at any phase, as in walking. repeat: whole passes, as in jumping. once: one pass,
    # then holds the last pose.
    kind: str = "cycle"
    at: tuple[float, ...] | None = None  # phases of the key poses, from 0 to 1; None: evenly spaced
    alternating: bool = False  # the left side is half a cycle later than the right side
    vary: float = 0.2  # fraction by which sizes differ between performances

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


def to_smplh(channels: Channels, fps: float, heading: float) -> tuple[np.ndarray, np.ndarray]:
    """AMASS's `poses` (T,156) axis-angle radians and `trans` (T,3) metres, z up, from channels (T,) by name.

    `heading` is the initial direction in radians about z. 0: the body faces -y. The fingers are at rest. The lowest of
    heels, toes, knees and seat is at the height `lift` above the ground.
    """
    turned = _body_rotations(channels)
    facing = heading + np.cumsum(np.radians(channels["turn_rate"])) / fps
    about_z = Rotation.from_rotvec(facing[:, None] * (0.0, 0.0, 1.0))
    poses = np.zeros((len(facing), len(JOINTS), 3))
    for joint, rotation in (turned | {"pelvis": about_z * _Y_UP_TO_Z_UP * turned["pelvis"]}).items():
        poses[:, JOINTS.index(joint)] = rotation.as_rotvec()
    sin, cos = np.sin(facing), np.cos(facing)
    velocity = np.stack([sin, -cos]) * channels["speed"] + np.stack([cos, sin]) * channels["sideways"]
    position = np.column_stack([*np.cumsum(velocity, axis=1) / fps, channels["lift"] - _lowest(turned)])
    return poses.reshape(len(poses), -1), position - REST_POINTS["pelvis"]


def _turn(order: str, *degrees: np.ndarray) -> Rotation:
    return Rotation.from_euler(order, np.stack(degrees, axis=-1), degrees=True)


def _body_rotations(channels: Channels) -> dict[str, Rotation]:
    """Rotations of the joints that move, each relative to its parent; the pelvis faces +z."""
    turned = {"pelvis": _turn("YXZ", channels["yaw"], channels["pitch"], -channels["roll"])}
    spine = _turn("YXZ", channels["twist"] / 3, channels["bend"] / 3, -channels["side"] / 3)
    head = _turn("YXZ", channels["look"] / 2, channels["nod"] / 2, -channels["tilt"] / 2)
    turned |= dict.fromkeys(("spine1", "spine2", "spine3"), spine) | dict.fromkeys(("neck", "head"), head)
    for side, mirror in (("left", (1.0, 1.0, 1.0)), ("right", (1.0, -1.0, -1.0))):
        limb = {name: channels[f"{name}_{side[0]}"] for name in LIMBS}
        raised = -np.cos(np.radians(limb["arm_out"])) * np.cos(np.radians(limb["arm"]))
        joints = {
            "hip": _turn("XZY", -limb["hip"], limb["hip_out"], limb["hip_turn"]),
            "knee": _turn("X", limb["knee"]),
            "ankle": _turn("X", -limb["ankle"]),
            "collar": _turn("Z", limb["shrug"] + 15.0 * np.clip(raised, 0.0, 1.0)),  # follows an arm raised high
            "shoulder": _turn("XZX", -limb["arm"], limb["arm_out"] - 90.0, -limb["arm_turn"]),
            "elbow": _turn("Y", -limb["elbow"]),
            "wrist": _turn("XZ", -limb["forearm_turn"], -limb["wrist"]),
        }
        turned |= {f"{side}_{name}": Rotation.from_rotvec(r.as_rotvec() * mirror) for name, r in joints.items()}
    return turned


def _lowest(turned: dict[str, Rotation]) -> np.ndarray:
    """Height (T,) of the lowest point of legs and seat, relative to the pelvis joint."""
    heights = [np.full(len(turned["pelvis"]), -_SEAT_RADIUS)]
    for side in ("left", "right"):
        rotation, position, parent = turned["pelvis"], 0.0, "pelvis"
        for joint in (f"{side}_hip", f"{side}_knee", f"{side}_ankle"):
            position = position + rotation.apply(REST_POINTS[joint] - REST_POINTS[parent])
            rotation, parent = rotation * turned[joint], joint
            if joint.endswith("knee"):
                heights.append(position[:, 1] - _KNEE_RADIUS)
        for sole in (f"{side}_heel", f"{side}_toe"):
            heights.append((position + rotation.apply(REST_POINTS[sole] - REST_POINTS[parent]))[:, 1])
    return np.min(heights, axis=0)
