"""Writes motion in several file formats, for tests of the readers and of prediction."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from prepare.formats.body_model import check_body
from prepare.formats.flavours import SMPLH, SMPLX
from prepare.skeletons.body_joints import BodyJoints
from prepare.synthetic.body import JOINTS, REST_POINTS, body_structure
from prepare.synthetic.motion import Performer
from prepare.synthetic.take import plan_clip, render

BODY = check_body(body_structure(), "the synthetic body")
SMPLH_NAMES = {  # of the 25 joints, those that are joints of SMPL-H's chain
    "pelvis": "pelvis", "spine": "spine1", "neck": "neck", "head": "head", "chest": "spine3",
    **{f"{side}_{ours}": f"{side}_{theirs}" for side in ("left", "right") for ours, theirs in {
        "shoulder": "shoulder", "elbow": "elbow", "wrist": "wrist", "hand": "index1", "hip": "hip", "knee": "knee",
        "ankle": "ankle", "foot": "foot", "thumb_tip": "thumb3.end", "index_tip": "index3.end"}.items()},
}  # fmt: skip
TO_Y_UP = Rotation.from_euler("x", -90, degrees=True)  # (x, y, z) -> (x, z, -y)


def poses(seconds: float = 3.0, fps: float = 30.0, seed: int = 0) -> np.ndarray:
    """Synthetic motion as SMPL-H poses (T, 156) radians, z up."""
    rng = np.random.default_rng(seed)
    plan = plan_clip(rng, seconds, seed, 0.0)
    return render(plan, Performer(rng), fps)[0][: round(seconds * fps)].astype(np.float32)


def joints_of(some_poses: np.ndarray) -> np.ndarray:
    """Joints (T, 25, 3) float32 of poses on the synthetic body."""
    return BodyJoints(BODY)(some_poses)


def smplx_structure() -> dict[str, np.ndarray]:
    """A body in SMPL-X's structure whose first 22 joints rest where those of the synthetic body do."""
    rng, smplh = np.random.default_rng(55), body_structure()
    order = [*range(22), 15, 15, 15, *range(22, SMPLH.joints)]  # SMPL-H's joint for each; the head for jaw and eyes
    parents = BODY["parents"][order]
    parents[parents > 21] += 3
    parents[22:25] = 15
    vertices = rng.normal(0, 0.3, (SMPLX.vertices, 3))
    vertices[: SMPLX.joints] = (smplh["J_regressor"] @ smplh["v_template"])[order]
    vertices[list(SMPLX.tips)] = smplh["v_template"][list(SMPLH.tips)]
    weights = rng.random((SMPLX.vertices, SMPLX.joints)) ** 9
    blend = np.zeros((SMPLX.vertices, 3, 9 * (SMPLX.joints - 1)), np.float32)
    blend[list(SMPLX.tips)] = rng.normal(0, 1e-3, (4, 3, 486))
    return {
        "v_template": vertices, "shapedirs": np.zeros((SMPLX.vertices, 3, 20)), "posedirs": blend,
        "J_regressor": np.eye(SMPLX.joints, SMPLX.vertices), "weights": weights / weights.sum(axis=1, keepdims=True),
        "kintree_table": np.stack([parents % 2**32, np.arange(SMPLX.joints)]), "f": np.zeros((1, 3), np.uint32),
        **{f"hands_{name}": smplh[f"hands_{name}"] for name in ("componentsl", "componentsr", "meanl", "meanr")},
        "lmk_faces_idx": np.zeros(1, int), "lmk_bary_coords": np.ones((1, 3)) / 3,
    }  # fmt: skip


def write_smplx_body(path: Path) -> Path:
    """Write that body as .npz."""
    np.savez(path, **smplx_structure())
    return path


def as_smplx(some_poses: np.ndarray) -> np.ndarray:
    """SMPL-H's poses (T, 156) as SMPL-X's (T, 165); jaw and eyes are at rest."""
    return np.insert(some_poses, [66] * 9, 0, axis=1)


def write_bvh(
    path: Path,
    nodes: Sequence[tuple[str, int, Sequence[float], Sequence[str] | None]],
    numbers: np.ndarray,
    frame_time: float,
) -> None:
    """Write a BVH file of (name, parent, offset, channels) nodes, parents first. Channels of None make an end site."""
    lines = ["HIERARCHY"]

    def add(i: int, indent: str) -> None:
        name, parent, offset, channels = nodes[i]
        lines.append(indent + ("End Site" if channels is None else f"{'ROOT' if parent < 0 else 'JOINT'} {name}"))
        lines.append(f"{indent}{{")
        lines.append(f"{indent}\tOFFSET {' '.join(f'{o:.9g}' for o in offset)}")
        if channels is not None:
            lines.append(f"{indent}\tCHANNELS {len(channels)} {' '.join(channels)}")
        for child in (k for k, node in enumerate(nodes) if node[1] == i):
            add(child, indent + "\t")
        lines.append(f"{indent}}}")

    add(0, "")
    lines += ["MOTION", f"Frames: {len(numbers)}", f"Frame Time: {frame_time:.7f}"]
    lines += [" ".join(f"{x:.9g}" for x in row) for row in numbers]
    path.write_text("\n".join(lines) + "\n")


def write_body_bvh(
    path: Path, some_poses: np.ndarray, fps: float = 30.0, unit: float = 0.01, named: Callable[[str], str] = str
) -> None:
    """Write poses of the synthetic body as a BVH file, y up, in `unit`s of metres. `named` gives a joint's name."""
    parents = BODY["parents"].tolist()
    rest = np.array([REST_POINTS[name] for name in JOINTS])
    turns = Rotation.from_rotvec(some_poses.reshape(-1, 3))
    frames = len(some_poses)
    matrices = turns.as_matrix().reshape(frames, len(JOINTS), 3, 3)
    matrices[:, 0] = TO_Y_UP.as_matrix() @ matrices[:, 0]
    nodes, order = [], _depth_first(parents)
    numbers = []
    for joint in order:
        parent = order.index(parents[joint]) if parents[joint] >= 0 else -1
        offset = (rest[joint] - rest[parents[joint]]) / unit if parent >= 0 else np.zeros(3)
        rotations = ["Zrotation", "Xrotation", "Yrotation"] if joint % 2 else ["Yrotation", "Zrotation", "Xrotation"]
        places = ["Xposition", "Yposition", "Zposition"] if parent < 0 else []
        nodes.append((named(JOINTS[joint]), parent, offset, places + rotations))
        letters = "".join(name[0] for name in rotations)
        if parent < 0:
            numbers.append(np.tile((TO_Y_UP.apply(rest[0])) / unit, (frames, 1)))
        numbers.append(Rotation.from_matrix(matrices[:, joint]).as_euler(letters, degrees=True))
    for tip, of in ((tip, JOINTS.index(_tipped(tip))) for tip in REST_POINTS if tip.endswith(("_tip", "_toe", "_top"))):
        nodes.append((tip, order.index(of), (REST_POINTS[tip] - rest[of]) / unit, None))
    write_bvh(path, nodes, np.concatenate(numbers, axis=1), 1 / fps)


def mixamo_name(joint: str) -> str:
    """Mixamo's name of a joint of SMPL-H."""
    side, _, part = joint.rpartition("_")
    named = {
        "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head",
        "collar": "Shoulder", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand", "hip": "UpLeg", "knee": "Leg",
        "ankle": "Foot", "foot": "ToeBase",
    }  # fmt: skip
    return f"mixamorig:{side.capitalize()}{named.get(part) or f'Hand{part.capitalize()}'}"


def biovision_name(joint: str) -> str:
    """Biovision's name of a joint of SMPL-H."""
    side, _, part = joint.rpartition("_")
    named = {"pelvis": "Hips", "spine1": "Chest", "spine2": "Chest2", "spine3": "Chest3", "foot": "Toe"}
    return f"{side.capitalize()}{named.get(part) or part.capitalize()}"


def write_smplh_map(path: Path) -> Path:
    """Write the joint map for SMPL-H's names."""
    path.write_text("".join(f"{ours}: {theirs}\n" for ours, theirs in SMPLH_NAMES.items()))
    return path


def write_ntu(path: Path, frames: int, bodies: dict[str, tuple[list[int], np.ndarray]]) -> None:
    """Write an NTU .skeleton file of `bodies`: by id, the frames in which one is tracked, and its joints (T, 25, 3).

    Joints are given in the project's axes and order, and written in Kinect's.
    """
    kinect = [*range(21), 22, 21, 24, 23]
    lines = [str(frames)]
    for frame in range(frames):
        there = {name: joints[when.index(frame)] for name, (when, joints) in bodies.items() if frame in when}
        lines.append(str(len(there)))
        for name, joints in there.items():
            lines += [f"{name} 0 1 1 1 1 0 0.01 -0.02 2", "25"]
            lines += [f"{x:.7f} {y:.7f} {z:.7f} 1 2 3 4 0 0 0 1 2" for x, y, z in TO_Y_UP.apply(joints[kinect])]
    path.write_text("\n".join(lines) + "\n")


def _tipped(tip: str) -> str:
    """The last joint before a free end of the body."""
    return tip.replace("_tip", "3").replace("_toe", "_foot").replace("_top", "")


def _depth_first(parents: Sequence[int]) -> list[int]:
    """The order of joints in a BVH file."""
    order: list[int] = []

    def add(joint: int) -> None:
        order.append(joint)
        for child, parent in enumerate(parents):
            if parent == joint:
                add(child)

    add(0)
    return order
