"""A stand-in body in SMPL-H's structure, for runs without the licensed file.

Its numbers are invented: an adult male of 1.75 m, segment lengths as shares of stature (Drillis and Contini's
table, as given in Winter, "Biomechanics and Motor Control of Human Movement"), a skin of tubes around the bones.
Axes are SMPL-H's: T-pose, metres, y up, facing +z, the body's left at +x, palms down.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from scipy.sparse import csc_matrix
from scipy.spatial import ConvexHull

NUM_VERTICES, NUM_SHAPES = 6890, 10
RING_VERTICES, RINGS = 8, 13  # of the tube around one bone
JOINT_ZONE = 0.2  # share of a bone, at either end, whose skin follows two joints
ORIGIN_HEIGHT = 1.17  # metres above the soles: SMPL-H's origin is no joint but a point in the chest
BODY_SEED = 52

# name: parent, (x, height above the soles, z) in metres; in SMPL-H's order, the left side alone
_MIDDLE_AND_LEFT = {
    "pelvis": (None, (0.0, 0.985, 0.0)),
    "left_hip": ("pelvis", (0.08, 0.92, 0.0)),
    "spine1": ("pelvis", (0.0, 1.09, -0.015)),
    "left_knee": ("left_hip", (0.085, 0.50, 0.005)),
    "spine2": ("spine1", (0.0, 1.215, -0.01)),
    "left_ankle": ("left_knee", (0.085, 0.08, -0.025)),
    "spine3": ("spine2", (0.0, 1.28, 0.0)),
    "left_foot": ("left_ankle", (0.10, 0.025, 0.10)),
    "neck": ("spine3", (0.0, 1.48, -0.02)),
    "left_collar": ("spine3", (0.07, 1.41, -0.01)),
    "head": ("neck", (0.0, 1.57, 0.02)),
    "left_shoulder": ("left_collar", (0.18, 1.44, -0.015)),
    "left_elbow": ("left_shoulder", (0.45, 1.44, -0.02)),
    "left_wrist": ("left_elbow", (0.70, 1.44, -0.015)),
}
# finger: (x beyond the wrist, y, z) of its first joint, lengths of its three bones, their direction
_FINGERS = {
    "index": ((0.090, 0.0, 0.028), (0.032, 0.024, 0.022), (1.0, -0.05, 0.08)),
    "middle": ((0.094, 0.0, 0.006), (0.034, 0.027, 0.024), (1.0, -0.05, 0.0)),
    "pinky": ((0.080, -0.008, -0.036), (0.022, 0.018, 0.018), (1.0, -0.05, -0.14)),
    "ring": ((0.088, -0.003, -0.016), (0.032, 0.024, 0.023), (1.0, -0.05, -0.06)),
    "thumb": ((0.024, -0.012, 0.026), (0.036, 0.030, 0.026), (0.8, -0.2, 0.6)),
}
_BODY_ORDER = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
JOINTS = _BODY_ORDER + tuple(
    f"{side}_{finger}{n}" for side in ("left", "right") for finger in _FINGERS for n in (1, 2, 3)
)
_RADII = {  # metres, of the tube that starts at a joint; fingers take the default
    "pelvis": 0.13, "spine1": 0.135, "spine2": 0.14, "spine3": 0.10, "neck": 0.055, "head": 0.06, "hip": 0.075,
    "knee": 0.05, "ankle": 0.038, "foot": 0.03, "collar": 0.055, "shoulder": 0.045, "elbow": 0.036, "wrist": 0.025,
}  # fmt: skip
_FINGER_RADIUS = 0.009
_TOE = ("left_foot", (0.105, 0.015, 0.19))
_HEAD_CENTRE, _HEAD_RADII = (0.0, 1.635, 0.035), (0.075, 0.115, 0.095)

# SMPL-H's vertex ids of the points that smplx appends to the joints: (left, right) vertex, joint, left position
_LANDMARKS = (
    (332, None, "head", (0.0, 1.615, 0.14)),  # nose
    (2800, 6260, "head", (0.032, 1.645, 0.115)),  # eyes
    (583, 4071, "head", (0.075, 1.63, 0.03)),  # ears
    (3216, 6617, "left_foot", (0.09, 0.015, 0.20)),  # big toes
    (3226, 6624, "left_foot", (0.135, 0.015, 0.165)),  # small toes
    (3387, 6787, "left_ankle", (0.085, 0.02, -0.075)),  # heels
)
_TIPS = {
    "thumb": (2746, 6191),
    "index": (2319, 5782),
    "middle": (2445, 5905),
    "ring": (2556, 6016),
    "pinky": (2673, 6133),
}


def body_structure() -> dict[str, np.ndarray]:
    """The stand-in body as SMPL-H's dictionary of float32 arrays; the same numbers at every call.

    Keys and shapes: v_template (6890,3) metres, shapedirs (6890,3,10), posedirs (6890,3,459),
    J_regressor (52,6890), weights (6890,52), kintree_table (2,52) uint32, f (F,3) uint32,
    hands_componentsl and hands_componentsr (45,45), hands_meanl and hands_meanr (45,) radians.
    """
    parents, joints, tips = _joint_tree()
    vertices, weights, regressor, faces = _skin(parents, joints, tips)
    rng = np.random.default_rng(BODY_SEED)
    maps = rng.normal(0.0, 0.01, (3, 3, NUM_SHAPES))
    maps[:, :, 0] = 0.03 * np.eye(3)  # taller, as a whole
    maps[:, :, 1] = np.diag((0.05, 0.0, 0.05))  # broader
    hand_left, hand_right = _hand_mean()
    structure = {
        "v_template": vertices,
        "shapedirs": np.einsum("va,abk->vbk", vertices, maps),
        "posedirs": _pose_blend_shapes(weights, parents, rng),
        "J_regressor": regressor,
        "weights": weights,
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "hands_meanl": hand_left,
        "hands_meanr": hand_right,
    }
    structure = {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in structure.items()}
    roots_parent = np.array(parents, dtype=np.int64)
    roots_parent[0] = 2**32 - 1  # SMPL-H's mark for "none"
    structure["kintree_table"] = np.stack([roots_parent, np.arange(len(JOINTS))]).astype(np.uint32)
    structure["f"] = faces.astype(np.uint32)
    return structure


def write_body(path: Path) -> None:
    """Write the stand-in body as a pickle laid out like SMPLH_male.pkl (scipy.sparse J_regressor, protocol 2)."""
    structure: dict[str, object] = dict(body_structure())
    structure["J_regressor"] = csc_matrix(structure["J_regressor"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        pickle.dump(structure, file, protocol=2)


def rest_points() -> dict[str, np.ndarray]:
    """Positions (3,), metres, of the 52 joints and of the heels, toe and finger tips and the head's top."""
    _, joints, ends = _joint_tree()
    points = dict(zip(JOINTS, joints, strict=True)) | {name: point for name, (_, point) in ends.items()}
    heels = _landmarks(ends)
    return points | {"left_heel": heels[3387][1], "right_heel": heels[6787][1]}


def _mirrored(point: tuple[float, float, float]) -> tuple[float, float, float]:
    return (-point[0], point[1], point[2])


def _joint_tree() -> tuple[list[int], np.ndarray, dict[str, tuple[str, np.ndarray]]]:
    """Parents (52; the root's is -1), joint positions (52,3), and the free ends: name -> (last joint, position)."""
    parent_of = {name: parent for name, (parent, _) in _MIDDLE_AND_LEFT.items()}
    place = {name: point for name, (_, point) in _MIDDLE_AND_LEFT.items()}
    ends = {"left_toe": _TOE, "head_top": ("head", (0.0, 1.74, 0.03))}
    wrist = np.array(place["left_wrist"])
    for finger, (base, lengths, direction) in _FINGERS.items():
        along = np.array(direction) / np.linalg.norm(direction)
        before = "left_wrist"
        point = wrist + base
        for n, length in enumerate(lengths, start=1):
            name = f"left_{finger}{n}"
            parent_of[name], place[name] = before, tuple(point)
            before, point = name, point + length * along
        ends[f"left_{finger}_tip"] = (before, tuple(point))
    for table in (parent_of, place, ends):
        for name in [n for n in table if n.startswith("left")]:
            table[name.replace("left", "right")] = _right_of(table[name])
    parents = [-1 if parent_of[j] is None else JOINTS.index(parent_of[j]) for j in JOINTS]
    joints = np.array([place[j] for j in JOINTS]) - (0.0, ORIGIN_HEIGHT, 0.0)
    return parents, joints, {n: (j, np.array(p) - (0.0, ORIGIN_HEIGHT, 0.0)) for n, (j, p) in ends.items()}


def _right_of(entry: object) -> object:
    """A left joint's name, position or (name, position) as the right side has it."""
    if isinstance(entry, str):
        return entry.replace("left", "right")
    if isinstance(entry[0], str):
        return entry[0].replace("left", "right"), _mirrored(entry[1])
    return _mirrored(entry)


def _skin(
    parents: list[int], joints: np.ndarray, ends: dict[str, tuple[str, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V,3), weights (V,52), J_regressor (52,V) and faces (F,3): landmarks, tubes, then the head."""
    vertices = np.zeros((NUM_VERTICES, 3))
    weights = np.zeros((NUM_VERTICES, len(JOINTS)))
    regressor = np.zeros((len(JOINTS), NUM_VERTICES))
    landmarks = _landmarks(ends)
    for vertex, (joint, point) in landmarks.items():
        vertices[vertex], weights[vertex, joint] = point, 1.0
    free = np.array([v for v in range(NUM_VERTICES) if v not in landmarks])
    bones = [(parents[c], c, joints[c]) for c in range(1, len(JOINTS))]
    bones += [(JOINTS.index(joint), None, point) for joint, point in ends.values()]
    faces = []
    for number, (start, child, end) in enumerate(bones):
        ids = free[number * RINGS * RING_VERTICES :][: RINGS * RING_VERTICES].reshape(RINGS, RING_VERTICES)
        vertices[ids] = _tube(joints[start], end, _radius(start))
        weights[ids] = _tube_weights(parents[start], start, child)[:, None]
        faces.append(_tube_faces(ids))
        # the first ring's centre is the joint itself
        regressor[start] = 0.0
        regressor[start, ids[0]] = 1.0 / RING_VERTICES
    head = free[len(bones) * RINGS * RING_VERTICES :]
    vertices[head] = _ellipsoid(len(head))
    weights[head, JOINTS.index("head")] = 1.0
    faces.append(head[ConvexHull(vertices[head]).simplices])
    return vertices, weights, regressor, np.concatenate(faces)


def _landmarks(ends: dict[str, tuple[str, np.ndarray]]) -> dict[int, tuple[int, np.ndarray]]:
    """The vertices that smplx reads as extra joints: vertex -> (joint that carries it, position)."""
    found = {}
    for left, right, joint, point in _LANDMARKS:
        lowered = np.array(point) - (0.0, ORIGIN_HEIGHT, 0.0)
        found[left] = (JOINTS.index(joint), lowered)
        if right is not None:
            found[right] = (JOINTS.index(joint.replace("left", "right")), lowered * (-1.0, 1.0, 1.0))
    for finger, pair in _TIPS.items():
        for side, vertex in zip(("left", "right"), pair, strict=True):
            joint, point = ends[f"{side}_{finger}_tip"]
            found[vertex] = (JOINTS.index(joint), point)
    return found


def _radius(joint: int) -> float:
    return _RADII.get(JOINTS[joint].removeprefix("left_").removeprefix("right_"), _FINGER_RADIUS)


def _tube(start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """Rings around the line from `start` to `end`: (RINGS, RING_VERTICES, 3)."""
    along = (end - start) / np.linalg.norm(end - start)
    aside = np.cross(along, (0.0, 0.0, 1.0) if abs(along[2]) < 0.9 else (1.0, 0.0, 0.0))
    aside /= np.linalg.norm(aside)
    angle = np.arange(RING_VERTICES) * (2.0 * np.pi / RING_VERTICES)
    circle = np.cos(angle)[:, None] * aside + np.sin(angle)[:, None] * np.cross(along, aside)
    share = np.linspace(0.0, 1.0, RINGS)
    taper = radius * (1.0 - 0.3 * share)
    return start + share[:, None, None] * (end - start) + taper[:, None, None] * circle


def _tube_weights(grandparent: int, start: int, child: int | None) -> np.ndarray:
    """Skinning weights (RINGS, 52) of a tube: its own joint, shared half and half at a bent end."""
    share = np.linspace(0.0, 1.0, RINGS)
    weights = np.zeros((RINGS, len(JOINTS)))
    if grandparent >= 0:
        weights[:, grandparent] = 0.5 * np.clip(1.0 - share / JOINT_ZONE, 0.0, 1.0)
    if child is not None:
        weights[:, child] = 0.5 * np.clip(1.0 - (1.0 - share) / JOINT_ZONE, 0.0, 1.0)
    weights[:, start] = 1.0 - weights.sum(axis=1)
    return weights


def _tube_faces(ids: np.ndarray) -> np.ndarray:
    """Triangles between neighbouring rings of a tube (ids: (RINGS, RING_VERTICES))."""
    here, there = ids[:-1], ids[1:]
    next_here, next_there = np.roll(here, -1, axis=1), np.roll(there, -1, axis=1)
    triangles = [(here, next_here, there), (next_here, next_there, there)]
    return np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in triangles])


def _ellipsoid(count: int) -> np.ndarray:
    """`count` points spread over the head (count,3), on a golden-angle spiral."""
    height = 1.0 - 2.0 * (np.arange(count) + 0.5) / count
    angle = np.arange(count) * np.pi * (3.0 - np.sqrt(5.0))
    across = np.sqrt(1.0 - height**2)
    sphere = np.stack([across * np.cos(angle), height, across * np.sin(angle)], axis=1)
    return np.array(_HEAD_CENTRE) - (0.0, ORIGIN_HEIGHT, 0.0) + sphere * _HEAD_RADII


def _pose_blend_shapes(weights: np.ndarray, parents: list[int], rng: np.random.Generator) -> np.ndarray:
    """Pose blend shapes (V,3,459): millimetres near the bent joint, a trace of it everywhere, so none is zero."""
    near = weights[:, 1:] + weights[:, parents[1:]]  # (V,51): a joint bends its own skin and its parent's
    scale = np.repeat(0.001 * (0.05 + near), 9, axis=1).astype(np.float32)
    return rng.standard_normal((NUM_VERTICES, 3, scale.shape[1]), dtype=np.float32) * scale[:, None]


def _hand_mean() -> tuple[np.ndarray, np.ndarray]:
    """Mean hand poses (45,) each: fingers lightly curled towards the palm, which looks down in the T-pose."""
    left = np.zeros((5, 3, 3))
    left[:4, :, 2] = (-0.30, -0.40, -0.25)  # index, middle, pinky, ring about z
    left[4, :, 1] = (0.10, 0.15, 0.20)  # the thumb towards the index
    return left.reshape(45), (left * (1.0, -1.0, -1.0)).reshape(45)
