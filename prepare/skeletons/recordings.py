"""Recordings in several formats → people with 25 joints at 30 fps, z up, in metres.

Formats: AMASS takes (.npz with `poses`), joint arrays (.npy, .npz), BVH, and NTU RGB+D's .skeleton files. The user's
`ReadOptions` replace what a file says or lacks. Joints that cannot belong to a person are refused.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from prepare.formats.amass import read_poses, resample_indices
from prepare.formats.bvh import read_bvh
from prepare.formats.errors import MAX_FRAMES, MAX_RATE, MIN_RATE, TakeError
from prepare.formats.folders import walk
from prepare.formats.npz import NpzFile, open_npz, pick_rows, read_npy
from prepare.formats.ntu import FPS as NTU_FPS
from prepare.formats.ntu import read_ntu
from prepare.formats.smplh_body import load_body
from prepare.skeletons.checks import check_person
from prepare.skeletons.joint_map import JointMap, choose_map
from prepare.skeletons.smplh import SmplhJoints
from utils.errors import UserError
from utils.skeleton import FPS, NUM_JOINTS

SUFFIXES = (".npz", ".npy", ".bvh", ".skeleton")
BLOCK_FRAMES = 4096
NO_TAKES = ("shape.npz", "_stagei.npz")  # ends of names: files beside AMASS's takes, without motion
# From a file's axes to z up, by the axis that points up in the file. All are rotations, so left stays left.
AXIS_ROTATIONS = {
    "z": np.eye(3),
    "y": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "x": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
}


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about recordings. None: what the file says, or the custom of its format.

    body: for AMASS takes, as `load_body` takes it; the other options do not apply to those, but `person` does.
    fps: frames per second. up: axis that points up. scale: metres in a unit. joint_map: of BVH files.
    person: the number, from 1, of the only person to read.
    """

    body: str
    fps: float | None = None
    up: str | None = None
    scale: float | None = None
    joint_map: JointMap | None = None
    person: int | None = None


@dataclass(frozen=True)
class Person:
    """A person in a recording: number from 1, joints (T, 25, 3) float32 metres, first frame at 30 fps."""

    number: int
    joints: np.ndarray
    first: int = 0


def find_inputs(given: list[Path], out: Path, mark: str) -> dict[str, Path]:
    """Recordings among files and below folders, by name, sorted. A name is the path below the given folder.

    Args:
        out: folder of results; nothing in it is an input.
        mark: name of a file that every folder of results holds; such folders are no inputs either.

    Raises:
        UserError: a path does not exist, there is no recording, or two recordings would have results at one place.
    """
    found: dict[str, Path] = {}
    for path in given:
        for below, file in _recordings_at(path, out, mark):
            name = as_text(below)
            if (out / name).is_file():
                raise UserError(
                    f"{out / name}: is a file; the recording's folder needs this name, so choose another --out"
                )
            other = found.setdefault(name, file)
            if other.resolve() != file.resolve():
                raise UserError(
                    f"{other} and {file} would both be written as {name}: give the folder that holds both, or run twice"
                )
    if not found:
        raise UserError(f"{', '.join(map(str, given))}: contains no recording; expected {', '.join(SUFFIXES)}")
    return dict(sorted(found.items()))


def read_recording(path: Path, options: ReadOptions) -> list[Person]:
    """All people in a recording, or the one that `options` ask for.

    Raises TakeError when the file is damaged, lacks something, or holds joints that cannot be a person's.
    """
    people = _READERS[path.suffix.lower()](path, options)
    if options.person is None:
        return people
    chosen = [person for person in people if person.number == options.person]
    if not chosen:
        raise TakeError(f"has no --person {options.person}, only {len(people)}")
    return chosen


def as_text(name: str | Path) -> str:
    """A file's name as text that can be written and printed: bytes that are not UTF-8 become \\xNN."""
    return str(name).encode("utf-8", "backslashreplace").decode()


@functools.cache
def smplh_joints(body: str) -> SmplhJoints:
    """Joints on the body that `load_body` gives. Raises UserError as it does."""
    return SmplhJoints(load_body(body))


def _recordings_at(path: Path, out: Path, mark: str) -> list[tuple[str, Path]]:
    """The recording `path`, or those below the folder `path`, with their names."""
    if path.resolve() == out.resolve():
        raise UserError(f"{path}: is both an input and --out; name another folder by --out")
    if path.is_dir():
        files = [file for file in walk(path, out, mark) if not file.name.lower().endswith(NO_TAKES)]
        return [(f.relative_to(path).as_posix(), f) for f in files if f.suffix.lower() in SUFFIXES]
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected recordings ({', '.join(SUFFIXES)})")
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: is no recording; expected a name in {', '.join(SUFFIXES)}, or a folder")
    return [(path.name, path)]


def _read_npz(path: Path, options: ReadOptions) -> list[Person]:
    with open_npz(path) as file:
        if "poses" not in file.names:
            name = _joints_name(file)
            header = file.header(name)
            _check_shape(header.shape, header.dtype)
            stored = file.number("fps") if "fps" in file.names else None
            wanted, fps = _wanted_frames(header.shape[0], options.fps or stored)
            return [_person(pick_rows(file.row_blocks(name), wanted), fps, options, up="z", unit=1.0)]
    return _read_amass(path, options)


def _read_amass(path: Path, options: ReadOptions) -> list[Person]:
    _, blocks = read_poses(path, MAX_FRAMES + 1)
    try:
        joints_of = smplh_joints(options.body)
    except UserError as error:
        raise TakeError(f"is an AMASS take, and needs a body (--body FILE, or --body synthetic): {error}") from error
    joints = np.concatenate([joints_of(poses) for poses in blocks if len(poses)])
    _refuse_too_long(len(joints))
    if not np.isfinite(joints).all():
        raise TakeError("has poses beyond all angles (their joints are not finite)")
    return [Person(1, joints)]


def _read_npy(path: Path, options: ReadOptions) -> list[Person]:
    array = read_npy(path)
    _check_shape(array.shape, array.dtype)
    wanted, fps = _wanted_frames(len(array), options.fps)
    blocks = (array[wanted[start : start + BLOCK_FRAMES]] for start in range(0, len(wanted), BLOCK_FRAMES))
    return [_person(blocks, fps, options, up="z", unit=1.0)]


def _read_bvh(path: Path, options: ReadOptions) -> list[Person]:
    bvh = read_bvh(path)
    weights = (options.joint_map or choose_map(bvh.names)).matrix(bvh.names)
    if options.fps is None and bvh.fps is None:
        raise TakeError("has a frame time that no capture has: give its frames per second by --fps")
    wanted, fps = _wanted_frames(bvh.frames, options.fps or bvh.fps)
    blocks = (np.einsum("vj,tjc->tvc", weights, block) for block in bvh.positions(wanted))
    return [_person(blocks, fps, options, up="y", unit=0.01)]


def _read_skeleton(path: Path, options: ReadOptions) -> list[Person]:
    fps = options.fps or NTU_FPS
    people = []
    for number, (first, joints) in enumerate(read_ntu(path), start=1):
        wanted, rate = _wanted_frames(len(joints), fps)
        person = _person([joints[wanted]], rate, options, up="y", unit=1.0)
        people.append(replace(person, number=number, first=round(first * FPS / fps)))
    return people


_READERS = {".npz": _read_npz, ".npy": _read_npy, ".bvh": _read_bvh, ".skeleton": _read_skeleton}


def _person(blocks: Iterable[np.ndarray], fps: float, options: ReadOptions, up: str, unit: float) -> Person:
    """A person from blocks of joints (T, 25, 3) at `fps` ≤ 30; `up` and `unit` are the custom of the format."""
    scale, axis = options.scale or unit, options.up or up
    with np.errstate(over="ignore", invalid="ignore"):  # joints that become infinite are refused below
        transform = scale * AXIS_ROTATIONS[axis].T
        joints = np.concatenate([(np.asarray(block, np.float64) @ transform).astype(np.float32) for block in blocks])
    if not np.isfinite(joints).all():
        raise TakeError("has joints that are not finite (NaN, infinite or beyond 32 bits)")
    check_person(joints, scale, axis, axis_given=options.up is not None)
    return Person(1, _interpolated(joints, fps) if fps < FPS else joints)


def _wanted_frames(frames: int, fps: float | None) -> tuple[np.ndarray, float]:
    """Frames to read of a recording at `fps`, and the rate of these: 30, or `fps` where that is lower."""
    if fps is None:
        raise TakeError("does not say its frames per second: give them by --fps")
    if not MIN_RATE <= fps <= MAX_RATE:
        raise TakeError(f"has {fps:g} frames per second, not between {MIN_RATE:g} and {MAX_RATE:g}")
    if frames == 0:
        raise TakeError("has no frame")
    _refuse_too_long(frames * FPS / fps)
    return (np.arange(frames), fps) if fps < FPS else (resample_indices(frames, fps), FPS)


def _refuse_too_long(frames: float) -> None:
    if frames > MAX_FRAMES:
        raise TakeError(f"has more than {MAX_FRAMES:,} frames at {FPS} fps: cut it into shorter ones")


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
    fitting = [name for name in file.names if _shape(file, name)[1:] == (NUM_JOINTS, 3)]
    if len(fitting) != 1:
        raise TakeError(
            f"has {len(fitting) or 'no'} arrays of shape (T, {NUM_JOINTS}, 3) and none called joints or poses, only "
            f"{', '.join(file.names[:8]) or 'nothing'}"
        )
    return fitting[0]


def _shape(file: NpzFile, name: str) -> tuple[int, ...]:
    """Shape of an array; () when it cannot be read, because arrays beside the joints do not matter."""
    try:
        return file.header(name).shape
    except TakeError:
        return ()


def _check_shape(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if shape[1:] != (NUM_JOINTS, 3) or dtype.kind not in "fiu":
        raise TakeError(
            f"has an array of shape {shape} and type {dtype}, expected numbers (T, {NUM_JOINTS}, 3): frames, "
            "joints of utils/skeleton.py, x y z"
        )
