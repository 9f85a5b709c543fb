"""The motions of the twelve classes of the paper's splits, and of other movements, as tables of key poses.

A table gives the values of channels (joint angles and rates, see `motion.py`) in successive key poses. Rates here are
per pass through the key poses.
"""

from dataclasses import replace

from prepare.synthetic.motion import Motion, Rows

HANDS_ON_HIPS: Rows = {"arm": -10, "arm_out": 26, "elbow": 65, "arm_turn": -62, "wrist": 30}
CROSSED: Rows = {"arm": 28, "arm_out": -4, "elbow": 85, "arm_turn": -62}
CLASPED: Rows = {"arm": 14, "arm_out": -4, "elbow": 37, "arm_turn": -42}
ON_THIGHS: Rows = {"arm": 10, "elbow": 31, "arm_turn": -8, "forearm_turn": -60}
ON_KNEES: Rows = {"arm": 30, "arm_out": -4, "elbow": 7, "forearm_turn": -60}
ON_GUARD: Rows = {"arm": 30, "elbow": 90, "arm_turn": -15}
ONE_LEG: Rows = {"knee_r": 16, "hip_r": 10, "ankle_r": 6, "roll": -4, "side": 3, "look": 8}  # weight on the left leg

# Gaits: eight poses of a cycle, from one strike of the right heel to the next. Arms swing opposite to the legs.
_WALK_ROWS: Rows = {
    "hip": (24, 13, -4, -16, -17, -5, 12, 24), "knee": (8, 15, 8, 4, 10, 33, 46, 24),
    "ankle": (0, 0, 0, 3, -4, -13, -3, 0), "arm": (-20, -14, 0, 14, 20, 14, 0, -14), "elbow": (-1, 5, 11, 5),
    "yaw": (5, 0, -5, 0), "twist": (-9, 0, 9, 0), "roll": (0, -3, 0, 3), "bend": 4, "speed": 1.44,
}  # fmt: skip
_RUN_ROWS: Rows = _WALK_ROWS | {
    "hip": (69, 48, 17, -5, -5, 16, 47, 69), "knee": (21, 26, 14, 8, 20, 64, 92, 48),
    "ankle": (0, 0, 0, 3, -4, -22, -5, 0), "arm": (-33, -20, 12, 44, 57, 44, 12, -20), "elbow": (61, 75, 88, 75),
    "twist": (-16, 0, 16, 0), "lift": (0.03, 0.01, 0.03, 0.1) * 2, "pitch": 12, "speed": 2.6,
}  # fmt: skip
_JOG_ROWS: Rows = _WALK_ROWS | {
    "hip": (39, 28, 11, -1, -1, 10, 27, 39), "knee": (16, 22, 12, 7, 15, 45, 63, 34),
    "ankle": (0, 0, 0, 3, -4, -18, -4, 0), "arm": (-11, -7, 4, 15, 19, 15, 4, -7), "elbow": (61, 65, 70, 65),
    "lift": (0.02, 0.01, 0.02, 0.05) * 2, "pitch": 4, "speed": 1.8,
}  # fmt: skip
_ON_THE_SPOT: Rows = {"hip": (30, 24, 15, 8, 8, 14, 23, 30), "speed": 0.1}
_walk = Motion(_WALK_ROWS, (0.98, 1.29), alternating=True)
_jog = Motion(_JOG_ROWS, (0.74, 0.85), alternating=True)


def stepping(height: float, shortest: float, longest: float, **rows: float) -> Motion:
    """Steps on the spot that bend each knee in turn by `height` degrees. The values of `rows` are constant."""
    up = (0, 0, 0, 0.4, 1, 0.4, 0, 0)
    legs = {"hip": tuple(0.6 * height * x for x in up), "knee": tuple(height * x for x in up)}
    return Motion(legs | rows, (shortest, longest), alternating=True)


_turn = stepping(31, 0.87, 1.25, turn_rate=105, look=28, twist=12, hip_out=6)
CURVE = Motion({"turn_rate": 80, "look": 20, "side": 5})  # a turn at the same time as a gait

_JUMP_ROWS: Rows = {
    "hip": (0, 73, -4, 18, 7, 50, 0), "knee": (0, 84, -4, 21, 8, 58, 0), "ankle": (0, 30, -40, -36, -40, 21, 0),
    "arm": (0, -40, 35, 85, 50, -10, 0), "arm_out": 6, "elbow": (0, 10, 10, 22, 12, 0, 0),
    "pitch": (0, 28, 0, 7, 3, 20, 0), "bend": (0, 14, 0, 4, 2, 10, 0), "lift": (0, 0, 0.04, 0.28, 0.04, 0, 0),
}  # fmt: skip
_jump = Motion(_JUMP_ROWS, (1.15, 1.6), "repeat", at=(0, 0.28, 0.42, 0.55, 0.68, 0.8, 0.97))

_KICKS = ((8, 80, 0), (-30, 46, 0), (23, 38, 67))  # to the front, low as at a ball, to the side
_SWINGING: Rows = {"arm_l": (0, 35, 30, 20, 0), "arm_r": (0, -35, -30, -20, 0), "arm_out": (0, 25, 25, 15, 0)}


def _kick(back: float, top: float, out: float, arms: Rows) -> Motion:
    """A kick of the right leg: the hip flexes to `back`, then to `top` degrees, and `out` degrees to the side."""
    leg: Rows = {
        "hip": (0, 5, 5, 5, 0), "knee": (0, 12, 12, 12, 0), "hip_r": (0, back, top, 0.6 * top, 0),
        "knee_r": (0, 80, 2, 40, 0), "hip_out_r": (0, 0.3 * out, out, 0.3 * out, 0), "ankle_r": (0, -20, -20, -20, 0),
        "roll": (0, 0, 0.3 * out, 0, 0), "pitch": (0, -5, -8, -5, 0), "bend": (0, 12, 12, 12, 0),
    }  # fmt: skip
    return Motion(leg | arms, (1.1, 1.6), "repeat", at=(0, 0.3, 0.5, 0.67, 0.92))


def _lowering(low: Rows, seconds: tuple[float, float] = (1.0, 1.6)) -> Motion:
    """From standing to the pose `low`, which is then held. On the way, the trunk tips forward over the legs."""
    tips = {"pitch": 28, "hip": 28, "nod": -11}
    rows = {name: (0, low.get(name, 0) / 2 + tips.get(name, 0), low.get(name, 0)) for name in low | tips}
    return Motion(rows, seconds, "once", vary=0.05)


SEATS: tuple[Rows, ...] = (  # three seats on a chair, one on a low stool, one on the ground
    {"hip": 84, "knee": 84, "ankle": -4, "hip_out": 6, "pitch": -4, "bend": 6} | ON_THIGHS,
    {"hip": 86, "knee": 80, "ankle": -8, "hip_out": 10, "pitch": -2, "bend": 14} | ON_KNEES,
    {"hip": 82, "knee": 88, "ankle": 0, "hip_out": 2, "pitch": -6, "bend": 2} | CROSSED,
    {"hip": 96, "knee": 101, "ankle": 7, "hip_out": 8, "pitch": 2, "bend": 8} | ON_THIGHS,
    {"hip": 110, "knee": 96, "ankle": -22, "hip_out": 6, "pitch": -8, "bend": 10} | CLASPED,
)
SQUATTING: Rows = {"hip": 103, "knee": 114, "ankle": 26, "hip_out": 5, "arm": 40, "elbow": 15, "pitch": 24, "nod": -10}
RISE = _lowering(SQUATTING, (-1.7, -1.1))  # from squatting to standing

_FOREARM: Rows = {"arm_r": 17, "arm_out_r": 55, "elbow_r": (105, 55), "arm_turn_r": 65, "wrist_r": (8, -8)}
_WHOLE_ARM: Rows = {"arm_r": 10, "arm_out_r": (152, 112), "elbow_r": (0, 14), "arm_turn_r": 60}
_BEAT: Rows = {  # two beats a cycle; the weight is on the right leg in the last pose
    "knee": (8, 30, 8, 52), "hip": (4, 16, 4, 28), "ankle": (4, 13, 4, 23), "nod": (0, 9, 0, 9), "turn_rate": 6,
}  # fmt: skip
_SIDE_STEPS: Rows = {
    "roll": (0, 7, 0, -7), "side": (0, -9, 0, 9), "sideways": (0, 0.5, 0, -0.5), "twist": (0, 8, 0, -8),
    "arm": (28, 4, 28, 52), "arm_out": (12, 22), "elbow": (63, 83), "hip_out": (0, 0, 0, 14),
}  # fmt: skip
_TWISTS: Rows = {
    "yaw": (0, 22, 0, -22), "twist": (0, -45, 0, 45), "look": (0, 15, 0, -15), "arm": (22, -10, 22, 54), "elbow": 73,
    "arm_out": 10,
}  # fmt: skip
_ARMS_HIGH: Rows = {
    "roll": (0, 5, 0, -5), "side": (0, 10, 0, -10), "sideways": (0, 0.4, 0, -0.4), "arm": 15, "arm_turn": 50,
    "arm_out": (115, 137, 115, 93), "elbow": (20, 40), "hip_out": (0, 0, 0, 10),
}  # fmt: skip
_TALK: Rows = {
    "arm_r": (24, 36, 18, 30, 22), "arm_l": (22, 14, 30, 20, 28), "elbow_r": (67, 90, 55, 80, 60), "nod": (0, 5, -2),
    "elbow_l": (60, 45, 85, 62, 75), "arm_turn": (-8, 5, -15), "forearm_turn": (35, 60, 20), "wrist": (0, 10, -8),
}  # fmt: skip
_POINT: Rows = {"arm_r": (20, 82, 80), "elbow_r": (70, -5, 0), "arm_out_r": (0, 12, 10), "nod": (0, 5, 0), "look": 8}
_SHRUG: Rows = {
    "arm": (18, 24, 24), "elbow": (35, 77, 75), "arm_out": (0, 8, 8), "arm_turn": (0, 38, 36), "shrug": (0, 16, 14),
    "forearm_turn": (0, 75, 70), "tilt": (0, 6, 6),
}  # fmt: skip
_BECKON: Rows = {"arm_r": 48, "elbow_r": (91, 23), "forearm_turn_r": 70, "nod": (0, 5)}

ACTIONS: dict[str, tuple[Motion, ...]] = {  # variants; one that is repeated is drawn more often
    "walk": (*[_walk] * 7, replace(_walk, seconds=(-1.29, -0.98))),  # backwards in one of eight
    "stand": tuple(Motion(arms | legs) for arms in ({}, {}, HANDS_ON_HIPS, CROSSED, CLASPED) for legs in ({}, ONE_LEG)),
    "turn": (_turn, _turn, replace(_turn, rows=_turn.rows | CLASPED)),
    "jump": (_jump, replace(_jump, rows=_JUMP_ROWS | {"speed": (0, 0, 1.2, 2.0, 1.2, 0, 0)})),  # in place, ahead
    "sit": tuple(_lowering(seat) for seat in SEATS),
    "run": (Motion(_RUN_ROWS, (0.61, 0.71), alternating=True),),
    "stand up": tuple(_lowering(seat, (-1.7, -1.1)) for seat in SEATS),
    "kick": tuple(_kick(*leg, arms) for leg in _KICKS for arms in (ON_GUARD, _SWINGING)),
    "jog": (_jog, _jog, replace(_jog, rows=_JOG_ROWS | _ON_THE_SPOT)),
    "wave": tuple(Motion(arm, (0.42, 0.83)) for arm in (_FOREARM, _FOREARM, _WHOLE_ARM)),
    "dance": tuple(Motion(_BEAT | way, (0.87, 1.25), alternating=True) for way in (_SIDE_STEPS, _TWISTS, _ARMS_HIGH)),
    "gesture": (*[Motion(_TALK, (1.6, 2.6))] * 2, Motion(_POINT, (1.3, 2)), Motion(_SHRUG, (1.3, 2)), Motion(_BECKON)),
}  # fmt: skip

# Movements outside the twelve classes, named by BABEL's categories. Some resemble the twelve on purpose.
_SCRATCH: Rows = {"arm_r": 45, "arm_out_r": 45, "elbow_r": (103, 117), "arm_turn_r": 62, "nod": 12, "tilt": -6}
_BOX: Rows = {"arm_r": (54, 10), "elbow_r": (30, 110), "arm_l": (10, 54), "elbow_l": (110, 30), "knee": 14, "hip": 10}
_SIDE_STEP: Rows = {"hip_out": (0, 15), "knee": (2, 12), "hip": (2, 8), "ankle": (1, 5), "sideways": 0.5, "look": 20}
_KNEEL: Rows = {"hip_r": 84, "knee_r": 90, "hip_l": 4, "knee_l": 96, "ankle_l": -32, "pitch": 8, "arm_r": 30}
_FIDGET: Rows = {"elbow": (20, 50, 35, 15), "arm_turn": (-25, 0, -15), "arm": (5, 25, 10), "look": (-20, 20, 5)}


def _down_and_up(pose: Rows, shortest: float, longest: float) -> Motion:
    rows = {name: (0, angle, angle) for name, angle in pose.items()}
    return Motion(rows, (shortest, longest), "repeat", at=(0, 0.4, 0.6), vary=0.1)


OTHER: dict[str, Motion] = {
    "stretch": Motion({"arm_out": 140, "arm_turn": 40, "bend": -6, "nod": -10, "side": (0, 22, 0, -22)}, (2.2, 3.4)),
    "bend": _down_and_up({"hip": 45, "knee": 30, "ankle": 14, "pitch": 28, "bend": 40, "nod": 15, "arm": 75}, 2.5, 3.5),
    "look": Motion(HANDS_ON_HIPS | {"look": (0, 40, 0, -40), "nod": (0, 12, -10)}, (2.5, 4.0)),
    "circular movement": Motion({"arm_out": (108, 78, 48, 78), "arm": (12, 42, 12, -18)}),
    "squat": _down_and_up(SQUATTING | {"arm": 90}, 1.8, 2.6),
    "raising body part": Motion({"arm_r": 140}),
    "scratch": Motion(_SCRATCH, (0.33, 0.5)),
    "punch": Motion(ON_GUARD | _BOX, (0.9, 1.6)),
    "knee movement": stepping(90, 0.9, 1.4, arm=10, elbow=40),
    "sideways movement": Motion(_SIDE_STEP, (0.7, 1.1)),
    "clap": Motion({"arm": 32, "arm_out": (-6, 4), "elbow": 57, "arm_turn": (-38, -12), "nod": 4}, (0.3, 0.55)),
    "kneel": _down_and_up(_KNEEL, 2.5, 3.5),
    "hand movements": Motion(_FIDGET, (1.5, 2.5)),
    "foot movements": stepping(19, 1.25, 2.2, elbow=25, bend=6),
    "crouch": _lowering(SQUATTING),
    "t pose": Motion({"arm_out": 76, "elbow": -9}, vary=0.05),
}
