"""Joint maps: how the 25 NTU RGB+D joints are computed from the joints of another skeleton.

A map is a YAML file with one line for each of the 25 (`utils.skeleton.JOINT_NAMES`). The maps in config/joint_maps are
tried by default. A line gives the joint's place:

    head: Head                                                     at the joint Head
    chest: [Spine1, Spine2]                                        at the mean of these joints
    left_thumb_tip: {from: LeftHand, to: LeftHandThumb, share: 1.5}    1.5 times the way from LeftHand to LeftHandThumb

Namespaces are ignored: `mixamorig:Hips` is Hips.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from utils.errors import TakeError, UserError, nearest, shown
from utils.files import read_yaml
from utils.skeleton import JOINT_NAMES

SHIPPED_MAPS = Path(__file__).parents[2] / "config" / "joint_maps"
MAX_SHARE = 10.0  # largest `share` of a line, in either direction
NAMES_SHOWN = 60
_SMPL_BODY = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
# Names of an array's joints, by the number of joints: 22 (body of SMPL), 24 (SMPL), 52 (SMPL-H)
SMPL_JOINT_NAMES = {
    22: _SMPL_BODY,
    24: (*_SMPL_BODY, "left_hand", "right_hand"),
    52: (*_SMPL_BODY, *(f"{side}_{finger}{n}" for side in ("left", "right") for finger in _FINGERS for n in (1, 2, 3))),
}


@dataclass(frozen=True)
class JointMap:
    """Each of the 25 joints as a weighted mean of another skeleton's joints."""

    name: str
    parts: dict[str, list[tuple[str, float]]]  # for each of the 25, joint names and weights that sum to 1

    @property
    def names(self) -> set[str]:
        return {name for parts in self.parts.values() for name, _ in parts}

    def matrix(self, names: list[str]) -> np.ndarray:
        """Matrix (25, J): row i has the weights of joint i. `names` are those of the J joints of a file.

        Raises TakeError when a name is missing or occurs twice.
        """
        plain = [_without_namespace(name) for name in names]
        if missing := sorted(self.names - set(plain)):
            raise TakeError(f"has no joint {', '.join(missing[:10])}, which the joint map {self.name} names")
        if twice := sorted(name for name in self.names if plain.count(name) > 1):
            raise TakeError(f"has two joints called {twice[0]}: rename one, or export each skeleton to a separate file")
        weights = np.zeros((len(JOINT_NAMES), len(names)))
        for row, joint in zip(weights, JOINT_NAMES, strict=True):
            for name, weight in self.parts[joint]:
                row[plain.index(name)] += weight
        return weights


def read_map(path: Path) -> JointMap:
    """Read a joint map. Raises UserError for the first error in it."""
    expected = "a joint map: one line for each of the 25 joints, as in config/joint_maps/cmu.yaml"
    content = read_yaml(path, expected, TypeAdapter(dict[Any, Any]))
    for key in content:
        if key not in JOINT_NAMES:
            raise UserError(f"{path}: unknown joint {shown(key)}; {nearest(str(key)[:100], list(JOINT_NAMES))}")
    if missing := [name for name in JOINT_NAMES if name not in content]:
        raise UserError(f"{path}: has no line for {', '.join(missing)}")
    return JointMap(path.stem, {name: _parts(content[name], f"{path}: {name}") for name in JOINT_NAMES})


@functools.cache
def shipped_maps() -> list[JointMap]:
    """The maps in config/joint_maps."""
    return [read_map(path) for path in sorted(SHIPPED_MAPS.glob("*.yaml"))]


def array_weights(joints: int, joint_map: JointMap | None) -> np.ndarray:
    """Weights (25, J) of the joints of an array (T, J, 3). Raises TakeError as `JointMap.matrix` and `choose_map` do.

    A joint map names the joints as SMPL_JOINT_NAMES does, or by their indices, from '0' on.
    """
    indices = [str(index) for index in range(joints)]
    if joint_map and joint_map.names <= set(indices):
        return joint_map.matrix(indices)
    if joints == len(JOINT_NAMES):  # needs no map; one with names is meant for BVH files in the same command
        return np.eye(joints)
    names = list(SMPL_JOINT_NAMES.get(joints, indices))
    return (joint_map or choose_map(names)).matrix(names)


def choose_map(names: list[str]) -> JointMap:
    """The shipped map whose joints all occur among `names`. If several fit, the one with the most joints.

    Raises TakeError, with the names and how to write a map, when no map fits or several have equally many joints.
    """
    present = {_without_namespace(name) for name in names}
    fitting = [joint_map for joint_map in shipped_maps() if joint_map.names <= present]
    most = max((len(joint_map.names) for joint_map in fitting), default=0)
    best = [joint_map for joint_map in fitting if len(joint_map.names) == most]
    if len(best) == 1:
        return best[0]
    found = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
    how_many, maps = ("several", best) if best else ("none", shipped_maps())
    remedy = "name the right one" if best else "copy one, put in the names of this skeleton, and name it"
    raise TakeError(
        f"fits {how_many} of the joint maps in config/joint_maps ({', '.join(m.name for m in maps)}): {remedy} by "
        f"--joint-map. Names in the file: {found}"
    )


def _without_namespace(name: str) -> str:
    return name.rpartition(":")[2] or name


def _parts(value: Any, where: str) -> list[tuple[str, float]]:
    """Joints and weights of one line. Raises UserError, which begins with `where`, for any other value."""
    names = value if isinstance(value, list) else [value]
    if names and all(isinstance(name, str) and name for name in names):
        return [(_without_namespace(name), 1 / len(names)) for name in names]
    if isinstance(value, dict) and set(value) == {"from", "to", "share"}:
        ends, share = (value["from"], value["to"]), value["share"]
        is_number = isinstance(share, int | float) and not isinstance(share, bool) and abs(share) <= MAX_SHARE
        if all(isinstance(end, str) and end for end in ends) and is_number:
            return [(_without_namespace(ends[0]), 1.0 - share), (_without_namespace(ends[1]), float(share))]
    raise UserError(
        f"{where} is {shown(value)}; expected a joint's name, a list of names, or {{from: NAME, to: NAME, share: 1.5}}"
    )
