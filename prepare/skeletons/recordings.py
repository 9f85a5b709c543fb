"""Recordings in several formats → people with 25 joints at 30 fps, z up, in metres.

Formats: AMASS takes (.npz with `poses`), arrays of joints (.npy, .npz), BVH, and NTU RGB+D's .skeleton files. Joints
that cannot belong to a person are refused.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prepare.formats.amass import resample_indices
from prepare.formats.body_model import load_body
from prepare.formats.bvh import read_bvh
from prepare.formats.errors import MAX_RATE, MIN_RATE, TakeError
from prepare.formats.files import SUFFIXES, walk
from prepare.formats.npz import Header, NpzFile, finite_float32, open_npz, pick_rows, read_npy
from prepare.formats.ntu import FPS as NTU_FPS
from prepare.formats.ntu import read_ntu
from prepare.options import ReadOptions
from prepare.skeletons.body_joints import BodyJoints, read_joints, refuse_too_long
from prepare.skeletons.checks import check_person
from prepare.skeletons.joint_map import ARRAY_NAMES, array_weights, choose_map
from utils.errors import UserError
from utils.regular import regular_file
from utils.skeleton import FPS, NUM_JOINTS
from utils.text import printable_bytes

BLOCK_FRAMES = 4096
# From a file's axes to z up, by the file's upward axis. All are rotations, so left and right are kept.
AXIS_ROTATIONS = {
    "z": np.eye(3),
    "y": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "x": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
}
ARRAY_JOINTS = (NUM_JOINTS, *ARRAY_NAMES)  # numbers of joints in an array that need no --joint-map
WITHOUT_MOTION = ("shape.npz", "_stagei.npz")  # endings of other files of AMASS


@dataclass(frozen=True)
class Person:
    """A person in a recording: number from 1, joints (T, 25, 3) float32 metres, index of the first frame at 30 fps."""

    number: int
    joints: np.ndarray
    first: int = 0


def find_inputs(given: list[Path], out: Path, mark: str) -> list[tuple[str, Path]]:
    """Recordings among the `given` files and folders: path below the given folder, as text, and file. Sorted.

    Folders of results are skipped: `out`, and every folder with a file named `mark`. Raises UserError when a path does
    not exist or there is no recording.
    """
    found = [(printable_bytes(below), file) for path in given for below, file in _recordings_at(path, out, mark)]
    if not found:
        raise UserError(f"{', '.join(map(str, given))}: contains no recording; expected {', '.join(SUFFIXES)}")
    return sorted(found)


def read_recording(path: Path, options: ReadOptions) -> list[Person]:
    """All people in a recording, or only `options.person`.

    Raises TakeError when the file cannot be read, is damaged or incomplete, or its joints cannot be a person's.
    """
    try:
        regular_file(path)
        people = _READERS[path.suffix.lower()](path, options)
    except OSError as error:
        raise TakeError(f"cannot be read ({error.strerror or error})") from error
    if options.person is None:
        return people
    chosen = [person for person in people if person.number == options.person]
    if not chosen:
        raise TakeError(f"has no --person {options.person}, only {len(people)}")
    return chosen


@functools.cache
def body_joints(body: str, hands: str) -> BodyJoints:
    """Computes joints on the body that `load_body` reads. Raises UserError as it and BodyJoints do."""
    return BodyJoints(load_body(body), hands)


def _recordings_at(path: Path, out: Path, mark: str) -> list[tuple[str, Path]]:
    """Name and path of the recording `path`, or of each recording below the folder `path`."""
    if os.path.realpath(path) == os.path.realpath(out):  # unlike resolve, it accepts a loop of links
        raise UserError(f"{path}: is both an input and --out; name another folder by --out")
    if path.is_dir():
        files = [file for file in walk(path, out, mark) if not file.name.lower().endswith(WITHOUT_MOTION)]
        return [(f.relative_to(path).as_posix(), f) for f in files if f.suffix.lower() in SUFFIXES]
    if not os.path.lexists(path):
        raise UserError(f"{path}: no such file or folder; expected recordings ({', '.join(SUFFIXES)})")
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: is no recording; expected a name in {', '.join(SUFFIXES)}, or a folder")
    return [(path.name, path)]


def _read_npz(path: Path, options: ReadOptions) -> list[Person]:
    with open_npz(path) as file:
        if "poses" not in file.names:
            name = _joints_name(file)
            header = file.header(name)
            _check_joints(header, options)
            stored = file.number("fps") if "fps" in file.names else None
            wanted, fps = _wanted_frames(header.shape[0], options.fps or stored)
            blocks = pick_rows(file.row_blocks(name), wanted)
            return [_person(_mapped(blocks, header.shape[1], options), fps, options)]
    try:
        joints_of = body_joints(options.body, options.hands)
    except UserError as error:
        raise TakeError(f"is an AMASS take, and needs a body (--body FILE, or --body synthetic): {error}") from error
    return [Person(1, read_joints(path, joints_of)[1])]


def _read_npy(path: Path, options: ReadOptions) -> list[Person]:
    array = read_npy(path)
    _check_joints(array, options)
    wanted, fps = _wanted_frames(len(array), options.fps)
    blocks = (array[wanted[start : start + BLOCK_FRAMES]] for start in range(0, len(wanted), BLOCK_FRAMES))
    return [_person(_mapped(blocks, array.shape[1], options), fps, options)]


def _mapped(blocks: Iterable[np.ndarray], joints: int, options: ReadOptions) -> Iterable[np.ndarray]:
    """The 25 joints (T, 25, 3) from blocks of an array (T, J, 3)."""
    if joints == NUM_JOINTS:
        return blocks
    weights = array_weights(joints, options.joint_map)
    return (np.einsum("vj,tjc->tvc", weights, block) for block in blocks)


def _read_bvh(path: Path, options: ReadOptions) -> list[Person]:
    bvh = read_bvh(path)
    weights = (options.joint_map or choose_map(bvh.names)).matrix(bvh.names)
    if options.fps is None and bvh.fps is None:
        raise TakeError("has a frame time that is not plausible: give its frames per second by --fps")
    wanted, fps = _wanted_frames(bvh.frames, options.fps or bvh.fps)
    blocks = (np.einsum("vj,tjc->tvc", weights, block) for block in bvh.positions(wanted))
    return [_person(blocks, fps, options, up="y", unit=0.01)]


def _read_skeleton(path: Path, options: ReadOptions) -> list[Person]:
    fps = options.fps or NTU_FPS
    people = []
    for number, (first, joints) in enumerate(read_ntu(path), start=1):
        wanted, rate = _wanted_frames(len(joints), fps)
        person = _person([joints[wanted]], rate, options, up="y")
        people.append(replace(person, number=number, first=round(first * FPS / fps)))
    return people


_READERS = {".npz": _read_npz, ".npy": _read_npy, ".bvh": _read_bvh, ".skeleton": _read_skeleton}


def _person(blocks: Iterable[np.ndarray], fps: float, options: ReadOptions, up: str = "z", unit: float = 1.0) -> Person:
    """A person from blocks of joints (T, 25, 3) at `fps` ≤ 30. `up` and `unit` (metres) are the format's usual ones."""
    scale, axis = options.scale or unit, options.up or up
    transform = scale * AXIS_ROTATIONS[axis].T
    with np.errstate(over="ignore", invalid="ignore"):  # finite_float32 refuses joints that become infinite
        joints = [finite_float32(np.asarray(block, np.float64) @ transform, "joints") for block in blocks]
    joints = np.concatenate(joints)
    check_person(joints, scale, axis, axis_given=options.up is not None)
    return Person(1, _interpolated(joints, fps) if fps < FPS else joints)


def _wanted_frames(frames: int, fps: float | None) -> tuple[np.ndarray, float]:
    """Indices of the frames to read from a recording at `fps`, and their rate: 30, or `fps` if it is lower."""
    if fps is None:
        raise TakeError("does not say its frames per second: give them by --fps")
    if not MIN_RATE <= fps <= MAX_RATE:
        raise TakeError(f"has {fps:g} frames per second, not between {MIN_RATE:g} and {MAX_RATE:g}")
    if frames == 0:
        raise TakeError("has no frame")
    refuse_too_long(frames * FPS / fps)
    return (np.arange(frames), fps) if fps < FPS else (resample_indices(frames, fps), FPS)


def _interpolated(joints: np.ndarray, fps: float) -> np.ndarray:
    """Joints (T, 25, 3) at `fps` < 30, interpolated linearly to 30 fps."""
    position = np.arange(int((len(joints) - 1) * FPS / fps) + 1) * fps / FPS
    before = np.minimum(position.astype(np.int64), len(joints) - 1)
    after = np.minimum(before + 1, len(joints) - 1)
    weight = (position - before).astype(np.float32)[:, None, None]
    return (1 - weight) * joints[before] + weight * joints[after]


def _joints_name(file: NpzFile) -> str:
    """Name of the array of joints: `joints`, or the only array of that shape."""
    if "joints" in file.names:
        return "joints"
    fitting = []
    for name in file.names:
        with suppress(TakeError):  # arrays besides the joints may be unreadable
            if file.header(name).shape[1:] in [(joints, 3) for joints in ARRAY_JOINTS]:
                fitting.append(name)
    if len(fitting) != 1:
        raise TakeError(
            f"has {len(fitting) or 'no'} arrays of shape (T, {NUM_JOINTS}, 3) and none called joints or poses, only "
            f"{', '.join(file.names[:8]) or 'nothing'}"
        )
    return fitting[0]


def _check_joints(array: Header | np.ndarray, options: ReadOptions) -> None:
    shape = array.shape
    known = len(shape) == 3 and shape[2] == 3 and shape[1] and (shape[1] in ARRAY_JOINTS or options.joint_map)
    if not known or array.dtype.kind not in "fiu":
        others = ", ".join(map(str, ARRAY_NAMES))
        raise TakeError(
            f"has an array of shape {shape} and type {array.dtype}, expected numbers (T, {NUM_JOINTS}, 3): frames, "
            f"joints of utils/skeleton.py, x y z; or SMPL's {others} joints; give --joint-map for others"
        )
