"""The synthetic body: an invented model in SMPL-H's structure, for runs without the licensed file.

It is an adult male of 1.75 m. Lengths of segments are fractions of stature (Drillis and Contini's table, from Winter,
"Biomechanics and Motor Control of Human Movement"). Its vertices are rings around the joints, without faces. As in
SMPL-H, the rest pose is a T-pose in metres, y up, facing +z, left at +x, palms down.
"""

import numpy as np

from prepare.formats.flavours import SMPLH
from prepare.skeletons.joint_map import SMPL_JOINT_NAMES

_RING = 8  # vertices of a ring
_ORIGIN = (0.0, 1.17, 0.0)  # height above the soles: SMPL-H's origin is a point in the chest

# point: (the joint that moves it, x, height above the soles, z) in metres. `_build_tree` mirrors the left side.
_BODY = {
    "pelvis": ("", 0.0, 0.985, 0.0),
    "left_hip": ("pelvis", 0.08, 0.92, 0.0),
    "spine1": ("pelvis", 0.0, 1.09, -0.015),
    "left_knee": ("left_hip", 0.085, 0.50, 0.005),
    "spine2": ("spine1", 0.0, 1.215, -0.01),
    "left_ankle": ("left_knee", 0.085, 0.08, -0.025),
    "spine3": ("spine2", 0.0, 1.28, 0.0),
    "left_foot": ("left_ankle", 0.10, 0.025, 0.10),
    "neck": ("spine3", 0.0, 1.48, -0.02),
    "left_collar": ("spine3", 0.07, 1.41, -0.01),
    "head": ("neck", 0.0, 1.57, 0.02),
    "left_shoulder": ("left_collar", 0.18, 1.44, -0.015),
    "left_elbow": ("left_shoulder", 0.45, 1.44, -0.02),
    "left_wrist": ("left_elbow", 0.70, 1.44, -0.015),
    # Points beyond the last joints
    "head_top": ("head", 0.0, 1.74, 0.03),
    "left_toe": ("left_foot", 0.105, 0.015, 0.19),
    "left_heel": ("left_ankle", 0.085, 0.02, -0.075),
}
_FINGERS = {  # offset of the first joint from the wrist, and offset along each of the three bones, metres
    "index": ((0.090, 0.0, 0.028), (0.026, -0.001, 0.002)),
    "middle": ((0.094, 0.0, 0.006), (0.028, -0.001, 0.0)),
    "pinky": ((0.080, -0.008, -0.036), (0.019, -0.001, -0.003)),
    "ring": ((0.088, -0.003, -0.016), (0.026, -0.001, -0.002)),
    "thumb": ((0.024, -0.012, 0.026), (0.024, -0.006, 0.018)),
}
# SMPL-H's vertices at the finger tips that the 25 joints use
_TIPS = dict(zip(SMPLH.tips, ("left_thumb_tip", "left_index_tip", "right_thumb_tip", "right_index_tip"), strict=True))
_HAND_MEAN = np.zeros((5, 3, 3))  # the left hand's rest pose, radians: fingers curl lightly towards the palm
_HAND_MEAN[:4, :, 2] = (-0.30, -0.40, -0.25)  # index, middle, pinky and ring about z
_HAND_MEAN[4, :, 1] = (0.10, 0.15, 0.20)  # the thumb towards the index


def _build_tree() -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """By name of each point: the joint that moves it, and its position (3,) in metres."""
    left = {name: (joint, np.array(position)) for name, (joint, *position) in _BODY.items()}
    for finger, (start, bone) in _FINGERS.items():
        joint, position = "left_wrist", left["left_wrist"][1] + start
        for part in ("1", "2", "3", "_tip"):
            left[f"left_{finger}{part}"] = joint, position
            joint, position = f"left_{finger}{part}", position + bone
    parents, points = {}, {}
    for name, (joint, position) in left.items():
        parents[name], points[name] = joint, position - _ORIGIN
        if name.startswith("left"):
            right = name.replace("left", "right")
            parents[right], points[right] = joint.replace("left", "right"), points[name] * (-1.0, 1.0, 1.0)
    return parents, points


PARENTS, REST_POINTS = _build_tree()
JOINTS = SMPL_JOINT_NAMES[52]


def body_structure() -> dict[str, np.ndarray]:
    """The synthetic body as SMPL-H's dictionary of arrays, in metres and radians. `SMPLH.shapes` has the shapes."""
    rng = np.random.default_rng(52)
    vertices, weights, regressor = _rings()
    structure = {
        "v_template": vertices,
        "shapedirs": np.einsum("va,abk->vbk", vertices, rng.normal(0.0, 0.02, (3, 3, 10))),
        "posedirs": 1e-4 * rng.standard_normal(SMPLH.shapes["posedirs"], dtype=np.float32),
        "J_regressor": regressor,
        "weights": weights,
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "hands_meanl": _HAND_MEAN.reshape(45),
        "hands_meanr": (_HAND_MEAN * (1.0, -1.0, -1.0)).reshape(45),
    }
    structure = {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in structure.items()}
    parents = [2**32 - 1, *(JOINTS.index(PARENTS[joint]) for joint in JOINTS[1:])]  # SMPL-H's mark for "none" first
    kintree = np.array([parents, range(len(JOINTS))], np.uint32)
    return structure | {"kintree_table": kintree, "f": np.zeros((1, 3), np.uint32)}


def _rings() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (6890,3), skinning weights (6890,52) and J_regressor (52,6890): rings across the bones at the joints."""
    vertices, weights = np.zeros((SMPLH.vertices, 3)), np.zeros((SMPLH.vertices, len(JOINTS)))
    regressor = np.zeros((len(JOINTS), SMPLH.vertices))
    bones = [name for name in PARENTS if name != "pelvis"]
    free = np.setdiff1d(np.arange(SMPLH.vertices), list(_TIPS))
    for end, ids in zip(bones, np.array_split(free, len(bones)), strict=True):
        start, bone = PARENTS[end], REST_POINTS[end] - REST_POINTS[PARENTS[end]]
        aside = 0.2 * np.cross(bone, (0.3, 0.5, 0.8))  # no bone is parallel to (0.3, 0.5, 0.8), so this is not zero
        above = np.cross(bone, aside) / np.linalg.norm(bone)
        angle = 2 * np.pi / _RING * (np.arange(len(ids))[:, None] % _RING)
        vertices[ids] = REST_POINTS[start] + np.cos(angle) * aside + np.sin(angle) * above
        weights[ids, JOINTS.index(start)] = 1.0
        # A joint is the mean of a bone's first ring. If a joint has several bones, the last one counts
        regressor[JOINTS.index(start)] = np.isin(np.arange(SMPLH.vertices), ids[:_RING]) / _RING
    for vertex, tip in _TIPS.items():
        vertices[vertex], weights[vertex, JOINTS.index(PARENTS[tip])] = REST_POINTS[tip], 1.0
    return vertices, weights, regressor
