"""From named joint angles to SMPL-H poses.

Motions are described by *channels*: anatomical angles in degrees, which are zero when a person stands straight with
hanging arms, and rates of movement. No angle wraps around, so channels can be interpolated linearly.
"""

import numpy as np
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

_Y_UP_TO_Z_UP = Rotation.from_euler("x", 90.0, degrees=True)  # SMPL-H's rest pose to AMASS's world
_KNEE_RADIUS, _SEAT_RADIUS = 0.05, 0.10  # metres from the joints of knee and pelvis to the skin


def to_smplh(channels: dict[str, np.ndarray], fps: float, heading: float) -> tuple[np.ndarray, np.ndarray]:
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


def _body_rotations(channels: dict[str, np.ndarray]) -> dict[str, Rotation]:
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
