"""Movements outside the twelve actions, named by BABEL's categories. Some resemble the twelve on purpose."""

from __future__ import annotations

from prepare.synthetic.actions import CROUCH, HIPS, ON_GUARD, SQUATTING, stepping
from prepare.synthetic.motion import Motion, Rows

_STRETCH: Rows = {"arm_out": 140, "arm_turn": 40, "bend": -6, "nod": -10, "side": (0, 22, 0, -22)}
_BEND: Rows = {"hip": 45, "knee": 30, "ankle": 14, "pitch": 28, "bend": 40, "nod": 15, "arm": 75}
_SCRATCH: Rows = {"arm_r": 45, "arm_out_r": 45, "elbow_r": (103, 117), "arm_turn_r": 62, "nod": 12, "tilt": -6}
_BOX: Rows = {"arm_r": (54, 10), "elbow_r": (30, 110), "arm_l": (10, 54), "elbow_l": (110, 30), "knee": 14, "hip": 10}
_SIDE_STEP: Rows = {"hip_out": (0, 15), "knee": (2, 12), "hip": (2, 8), "ankle": (1, 5), "sideways": 0.5, "look": 20}
_CLAP: Rows = {"arm": 32, "arm_out": (-6, 4), "elbow": 57, "arm_turn": (-38, -12), "nod": 4}
_KNEEL: Rows = {"hip_r": 84, "knee_r": 90, "hip_l": 4, "knee_l": 96, "ankle_l": -32, "pitch": 8, "arm_r": 30}
_FIDGET: Rows = {"elbow": (20, 50, 35, 15), "arm_turn": (-25, 0, -15), "arm": (5, 25, 10), "look": (-20, 20, 5)}


def _down_and_up(pose: Rows, shortest: float, longest: float) -> Motion:
    rows = {name: (0, angle, angle) for name, angle in pose.items()}
    return Motion(rows, (shortest, longest), "repeat", at=(0, 0.4, 0.6), vary=0.1)


OTHER: dict[str, Motion] = {
    "stretch": Motion(_STRETCH, (2.2, 3.4)),
    "bend": _down_and_up(_BEND, 2.5, 3.5),
    "look": Motion(HIPS | {"look": (0, 40, 0, -40), "nod": (0, 12, -10)}, (2.5, 4.0)),
    "circular movement": Motion({"arm_out": (108, 78, 48, 78), "arm": (12, 42, 12, -18)}),
    "squat": _down_and_up(SQUATTING | {"arm": 90}, 1.8, 2.6),
    "raising body part": Motion({"arm_r": 140}),
    "scratch": Motion(_SCRATCH, (0.33, 0.5)),
    "punch": Motion(ON_GUARD | _BOX, (0.9, 1.6)),
    "knee movement": stepping(90, 0.9, 1.4, arm=10, elbow=40),
    "sideways movement": Motion(_SIDE_STEP, (0.7, 1.1)),
    "clap": Motion(_CLAP, (0.3, 0.55)),
    "kneel": _down_and_up(_KNEEL, 2.5, 3.5),
    "hand movements": Motion(_FIDGET, (1.5, 2.5)),
    "foot movements": stepping(19, 1.25, 2.2, elbow=25, bend=6),
    "crouch": CROUCH,
    "t pose": Motion({"arm_out": 76, "elbow": -9}, vary=0.05),
}
