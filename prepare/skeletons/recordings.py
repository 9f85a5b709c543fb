"""Recordings in several formats → people with 25 joints at 30 fps, z up, in metres.

Formats: AMASS takes (.npz with `poses`), arrays of joints (.npy, .npz), BVH, and NTU RGB+D's .skeleton files. Joints
that cannot belong to a person are refused.
"""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prepare.formats.amass import read_poses
from prepare.formats.body_model import load_body
from prepare.formats.bvh import forward_kinematics, read_bvh
from prepare.formats.files import SUFFIXES, walk
from prepare.formats.frames import check_length_and_rate, interpolate, resample_indices
from prepare.formats.npz import finite_float32, read_npy, read_npz, single_number
from prepare.formats.ntu import read_ntu
from prepare.options import ReadOptions
from prepare.skeletons.body_joints import BodyJoints
from prepare.skeletons.checks import check_person, check_sides
from prepare.skeletons.joint_map import SMPL_JOINT_NAMES, array_weights, choose_map
from utils.errors import TakeError, UserError, printable_name
from utils.files import stat_regular_file
from utils.skeleton import FPS, NUM_JOINTS

BVH_FRAMES = 1024  # at a time, because the matrices of all joints need much memory
WITHOUT_MOTION = ("shape.npz", "_stagei.npz")  # endings of other files of AMASS
# From a file's axes to z up, by the file's upward axis. All are rotations, so left and right are kept.
AXIS_ROTATIONS = {
    "z": np.eye(3),
    "y": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "x": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "-z": np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),
    "-y": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "-x": np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]]),
}


@dataclass(frozen=True)
class Person:
    """A person in a recording."""

    number: int  # from 1
    joints: np.ndarray  # (T, 25, 3) float32 metres
    first: int = 0  # frame at 30 fps in which the person appears


def find_inputs(given: list[Path], out: Path, mark: str) -> list[tuple[str, Path]]:
    """Name and file of every recording among the `given` files and folders, sorted.

    The name is the path below the given folder, or the name of the given file. Folders of results are skipped: `out`,
    and every folder with a file named `mark`. Raises UserError when a path does not exist or there is no recording.
    """
    found = []
    for path in given:
        if os.path.realpath(path) == os.path.realpath(out):  # unlike resolve, it accepts a loop of links
            raise UserError(f"{path}: is both an input and --out; name another folder by --out")
        if path.is_dir():
            for file in walk(path, out, mark):
                if file.suffix.lower() in SUFFIXES and not file.name.lower().endswith(WITHOUT_MOTION):
                    found.append((printable_name(file.relative_to(path).as_posix()), file))
        elif not os.path.lexists(path):
            raise UserError(f"{path}: no such file or folder; expected recordings ({', '.join(SUFFIXES)})")
        elif path.suffix.lower() not in SUFFIXES:
            raise UserError(f"{path}: is no recording; expected a name in {', '.join(SUFFIXES)}, or a folder")
        else:
            found.append((printable_name(path.name), path))
    if not found:
        raise UserError(f"{', '.join(map(str, given))}: contains no recording; expected {', '.join(SUFFIXES)}")
    return sorted(found)


def read_recording(path: Path, options: ReadOptions) -> list[Person]:
    """All people in a recording, or only `options.person`.

    Raises TakeError when the file cannot be read, is damaged or incomplete, or its joints cannot be a person's.
    """
    try:
        stat_regular_file(path)
        people = _READERS[path.suffix.lower()](path, options)
    except OSError as error:
        raise TakeError(f"cannot be read ({error.strerror or error})") from error
    if options.person is None:
        return people
    chosen = [person for person in people if person.number == options.person]
    if not chosen:
        raise TakeError(f"has no person {options.person}: the highest --person is {len(people)}")
    return chosen


@functools.cache
def cached_body_joints(body: str, hands: str) -> BodyJoints:
    """Computes joints on the body that `load_body` reads. Raises UserError as `load_body` and BodyJoints do."""
    return BodyJoints(load_body(body), hands)


def _read_npz(path: Path, options: ReadOptions) -> list[Person]:
    arrays, names = read_npz(path, ("joints", "fps"))
    if "poses" not in names:
        if "joints" not in arrays:
            raise TakeError(f"has no array called joints or poses, only {', '.join(names[:8]) or 'nothing'}")
        fps = single_number(arrays["fps"], "fps") if "fps" in arrays else None
        return [Person(1, _joints_of_array(arrays["joints"], options.fps or fps, options))]
    try:
        body_joints = cached_body_joints(options.body, options.hands)
    except UserError as error:
        raise TakeError(f"is an AMASS take and needs a body ({error}): use --body FILE or --body synthetic") from error
    return [Person(1, body_joints(read_poses(path, body_joints.flavour)[1]))]


def _read_npy(path: Path, options: ReadOptions) -> list[Person]:
    return [Person(1, _joints_of_array(read_npy(path), options.fps, options))]


def _joints_of_array(array: np.ndarray, fps: float | None, options: ReadOptions) -> np.ndarray:
    """The 25 joints (T, 25, 3) at 30 fps of an array (T, J, 3)."""
    known = (NUM_JOINTS, *SMPL_JOINT_NAMES)  # joint counts that need no --joint-map
    is_motion = array.ndim == 3 and array.shape[2] == 3 and array.dtype.kind in "fiu"
    if not is_motion or not (array.shape[1] in known or options.joint_map):
        others = ", ".join(map(str, SMPL_JOINT_NAMES))
        raise TakeError(
            f"has an array of shape {array.shape} and type {array.dtype}, expected numbers (T, {NUM_JOINTS}, 3): "
            f"frames, joints of utils/skeleton.py, x y z; or SMPL's {others} joints; give --joint-map for others"
        )
    wanted = _wanted_frames(len(array), fps)
    joints = np.einsum("vj,tjc->tvc", array_weights(array.shape[1], options.joint_map), array[wanted])
    joints = _converted(joints, fps, options)
    check_sides(joints)
    return joints


def _read_bvh(path: Path, options: ReadOptions) -> list[Person]:
    bvh = read_bvh(path)
    names = [node.name for node in bvh.nodes]
    weights = (options.joint_map or choose_map(names)).matrix(names)
    fps = options.fps or bvh.fps
    values = bvh.values(_wanted_frames(bvh.frames, fps))
    blocks = [values[start : start + BVH_FRAMES] for start in range(0, len(values), BVH_FRAMES)]
    joints = np.concatenate(
        [np.einsum("vj,tjc->tvc", weights, forward_kinematics(bvh.nodes, block)) for block in blocks]
    )
    joints = _converted(joints, fps, options, up="y", unit=0.01)
    check_sides(joints)
    return [Person(1, joints)]


def _read_skeleton(path: Path, options: ReadOptions) -> list[Person]:
    fps = options.fps or FPS  # the file has no rate; Kinect records 30 frames per second
    bodies = dict(enumerate(read_ntu(path), start=1))
    if options.person in bodies:  # the others are not checked, because Kinect sometimes takes furniture for a person
        bodies = {options.person: bodies[options.person]}
    people = []
    for number, (first, joints) in bodies.items():
        try:
            joints = _converted(joints[_wanted_frames(len(joints), fps)], fps, options, up="y")
        except TakeError as error:
            others = f"; or choose another person than {number} by --person" if len(bodies) > 1 else ""
            raise TakeError(f"{error}{others}") from None
        people.append(Person(number, joints, round(first * FPS / fps)))
    return people


_READERS = {".npz": _read_npz, ".npy": _read_npy, ".bvh": _read_bvh, ".skeleton": _read_skeleton}  # as SUFFIXES


def _wanted_frames(frames: int, fps: float | None) -> np.ndarray:
    """Indices of the frames to read from a recording at `fps`: those that make 30 a second, or all if it is slower."""
    if fps is None:
        raise TakeError("has no frames per second: give them by --fps, which replaces the rates in other files, too")
    check_length_and_rate(frames, fps, hint=": give the right number by --fps")
    return np.arange(frames) if fps < FPS else resample_indices(frames, fps)


def _converted(joints: np.ndarray, fps: float, options: ReadOptions, up: str = "z", unit: float = 1.0) -> np.ndarray:
    """Joints (T, 25, 3) float32 metres at 30 fps, z up, from the wanted frames of a file at `fps`.

    `up` and `unit` (metres) are the format's usual ones.
    """
    scale, axis = options.scale or unit, options.up or up
    with np.errstate(over="ignore", invalid="ignore"):  # finite_float32 refuses joints that become infinite
        joints = finite_float32(joints.astype(np.float64) * scale, "joints")
    check_person(joints, scale, axis, axis_given=options.up is not None)
    joints = (joints @ AXIS_ROTATIONS[axis].T).astype(np.float32)
    if fps >= FPS:
        return joints
    # Position of each output frame, in units of input frames
    times = np.arange(int((len(joints) - 1) * FPS / fps) + 1) * fps / FPS
    return interpolate(joints, np.arange(len(joints)), times)
