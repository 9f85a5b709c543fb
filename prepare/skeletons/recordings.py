"""Anyone's recordings → people of 25 joints at 30 fps, z up, in metres.

AMASS takes (.npz with `poses`), joint arrays (.npy, .npz), BVH and NTU RGB+D's .skeleton files. What a format does not
say, or says wrong, the user does (`Reading`); what cannot be a person's motion is refused.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prepare.build import load_body
from prepare.formats.amass import MAX_RATE, MIN_RATE, TakeError, read_poses, resample_indices
from prepare.formats.bvh import read_bvh
from prepare.formats.npz import NpzError, NpzFile, open_npz, read_npy
from prepare.formats.ntu import FPS as NTU_FPS
from prepare.formats.ntu import read_ntu
from prepare.skeletons.checks import refuse_implausible
from prepare.skeletons.joint_map import JointMap, choose_map
from prepare.skeletons.smplh import SmplhJoints
from prepare.store.workers import MAX_FRAMES
from reporting.predictions import MARK
from utils.errors import UserError
from utils.skeleton import FPS, NUM_JOINTS

SUFFIXES = (".npz", ".npy", ".bvh", ".skeleton")
BLOCK_FRAMES = 4096
NO_TAKES = ("shape.npz", "_stagei.npz")  # ends of names: files beside AMASS's takes, without motion
# What turns a format's axes into the project's, by the one that points up: always a rotation, so left stays left.
TURNS = {
    "z": np.eye(3),
    "y": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    "x": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
}


@dataclass(frozen=True)
class Reading:
    """How files are read that do not say it themselves; None: what the format says, or what is customary in it.

    fps: frames per second. up: axis. scale: metres in a unit. joint_map: of BVH files. person: the only one to
    take, from 1. body: SMPL-H file, a folder with one, or "synthetic", for AMASS takes, which all of the others leave
    as they are.
    """

    body: str
    fps: float | None = None
    up: str | None = None
    scale: float | None = None
    joint_map: JointMap | None = None
    person: int | None = None


@dataclass(frozen=True)
class Person:
    """Somebody in a recording: number from 1; joints (T, 25, 3) float32; the frame (30 fps) in which they begin."""

    number: int
    joints: np.ndarray
    first: int = 0


def find_inputs(given: list[Path], out: Path) -> dict[str, Path]:
    """The recordings among files and below folders, by name: below its folder, or the file's own; sorted.

    What lies in `out` is no input. Raises UserError when a path does not exist, there is no recording, or what is
    written would lie on top of another recording's.
    """
    found: dict[str, Path] = {}
    for path in given:
        if path.resolve() == out.resolve():
            raise UserError(f"{path}: is --out as well; give a folder of its own by --out")
        if path.is_dir():
            pairs = list(_below(path, out))
        elif not path.exists():
            raise UserError(f"{path}: no such file or folder; expected recordings ({', '.join(SUFFIXES)})")
        elif path.suffix.lower() not in SUFFIXES:
            raise UserError(f"{path}: is no recording by its name; expected {', '.join(SUFFIXES)}, or a folder of them")
        else:
            pairs = [(path.name, path)]
        for name, file in pairs:
            name = as_text(name)
            if (out / name).is_file():
                raise UserError(f"{out / name}: is a file, where the recording's folder would be; choose another --out")
            other = found.setdefault(name, file)
            if other.resolve() != file.resolve():
                raise UserError(
                    f"{other} and {file} would both be written as {name}: give the folder that holds both, or run twice"
                )
    if not found:
        raise UserError(f"{', '.join(map(str, given))}: no recording in there; expected {', '.join(SUFFIXES)}")
    return dict(sorted(found.items()))


def read_recording(path: Path, reading: Reading) -> list[Person]:
    """Everyone in a recording, or the one that is asked for.

    Raises TakeError: the file is damaged, of no known kind, lacks what has to be known, or holds no person's motion.
    """
    people = _READERS[path.suffix.lower()](path, reading)
    if reading.person is None:
        return people
    chosen = [person for person in people if person.number == reading.person]
    if not chosen:
        raise TakeError(f"has {len(people)} person{'s' * (len(people) > 1)}, so that --person {reading.person} is none")
    return chosen


def as_text(name: str | Path) -> str:
    """A file's name as text: what a disk allows in names need not be any, and can then not be written or printed."""
    return str(name).encode("utf-8", "backslashreplace").decode()


@functools.cache
def smplh_joints(body: str) -> SmplhJoints:
    """The body of an SMPL-H file, of a folder with one, or "synthetic". Raises UserError when there is none."""
    return SmplhJoints(load_body(body))


def _below(folder: Path, out: Path) -> Iterator[tuple[str, Path]]:
    """Recordings below a folder with their names there; links are followed, no folder is entered twice."""
    entered = {out.resolve()}
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        here = Path(place)
        if here.resolve() in entered or MARK in files:  # a mark: results of an earlier prediction
            folders.clear()
            continue
        entered.add(here.resolve())
        for file in (here / name for name in files if not name.lower().endswith(NO_TAKES)):
            if file.suffix.lower() in SUFFIXES:
                yield file.relative_to(folder).as_posix(), file


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error


def _read_npz(path: Path, reading: Reading) -> list[Person]:
    try:
        with open_npz(path) as file:
            if "poses" not in file.names:
                name = _joints_name(file)
                shape, rate = file.header(name).shape, _stored_rate(file)
                _check_shape(shape, file.header(name).dtype)
                wanted, fps = _wanted(shape[0], reading.fps or rate)
                return _one_person(_picked(file.row_blocks(name), wanted), fps, reading, up="z", unit=1.0)
    except NpzError as error:
        raise TakeError(str(error)) from error
    _, blocks = read_poses(path, MAX_FRAMES + 1)
    try:
        body = smplh_joints(reading.body)
    except UserError as error:
        raise TakeError(f"is an AMASS take, and needs a body (--body FILE, or --body synthetic): {error}") from error
    joints = np.concatenate([body(poses) for poses in blocks if len(poses)])
    _refuse_too_long(len(joints))
    if not np.isfinite(joints).all():
        raise TakeError("has poses beyond all angles (their joints are not finite)")
    return [Person(1, joints)]


def _read_npy(path: Path, reading: Reading) -> list[Person]:
    try:
        array = read_npy(path)
    except NpzError as error:
        raise TakeError(str(error)) from error
    _check_shape(array.shape, array.dtype)
    wanted, fps = _wanted(len(array), reading.fps)
    blocks = (array[wanted[start : start + BLOCK_FRAMES]] for start in range(0, len(wanted), BLOCK_FRAMES))
    return _one_person(blocks, fps, reading, up="z", unit=1.0)


def _read_bvh(path: Path, reading: Reading) -> list[Person]:
    bvh = read_bvh(path)
    weights = (reading.joint_map or choose_map(bvh.names)).matrix(bvh.names)
    if reading.fps is None and bvh.fps is None:
        raise TakeError("has a frame time that is no capture's: give its frames per second by --fps")
    wanted, fps = _wanted(bvh.frames, reading.fps or bvh.fps)
    blocks = (np.einsum("vj,tjc->tvc", weights, block) for block in bvh.positions(wanted))
    return _one_person(blocks, fps, reading, up="y", unit=0.01)


def _read_skeleton(path: Path, reading: Reading) -> list[Person]:
    fps = reading.fps or NTU_FPS
    people = []
    for number, (first, joints) in enumerate(read_ntu(path), start=1):
        wanted, rate = _wanted(len(joints), fps)
        (person,) = _one_person([joints[wanted]], rate, reading, up="y", unit=1.0)
        people.append(Person(number, person.joints, round(first * FPS / fps)))
    return people


_READERS = {".npz": _read_npz, ".npy": _read_npy, ".bvh": _read_bvh, ".skeleton": _read_skeleton}


def _one_person(blocks: Iterable[np.ndarray], fps: float, reading: Reading, up: str, unit: float) -> list[Person]:
    """Blocks of joints (T, 25, 3) in the file's axes and unit, at 30 fps or less, as a person; the user's word wins."""
    scale = reading.scale or unit
    turn = scale * TURNS[reading.up or up].T
    with np.errstate(over="ignore", invalid="ignore"):  # absurd numbers end as joints that are not finite
        joints = np.concatenate([(np.asarray(block, np.float64) @ turn).astype(np.float32) for block in blocks])
    if not np.isfinite(joints).all():
        raise TakeError("has joints that are not finite (NaN, infinite or beyond 32 bits)")
    refuse_implausible(joints, scale, reading.up or up, axis_given=reading.up is not None)
    return [Person(1, _raised(joints, fps))]


def _wanted(frames: int, fps: float | None) -> tuple[np.ndarray, float]:
    """Frames to read of a recording at `fps`, and the rate that these have: 30, or its own where that is lower."""
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


def _raised(joints: np.ndarray, fps: float) -> np.ndarray:
    """Joints (T, 25, 3) of a rate below 30 fps at 30 fps, by straight lines between frames."""
    if fps >= FPS:
        return joints
    place = np.arange(int((len(joints) - 1) * FPS / fps) + 1) * fps / FPS
    before = np.minimum(place.astype(np.int64), len(joints) - 1)
    after = np.minimum(before + 1, len(joints) - 1)
    share = (place - before).astype(np.float32)[:, None, None]
    return (1 - share) * joints[before] + share * joints[after]


def _picked(blocks: Iterable[np.ndarray], wanted: np.ndarray) -> Iterator[np.ndarray]:
    """The `wanted` rows out of blocks of rows, in blocks."""
    start = 0
    for block in blocks:
        first, last = np.searchsorted(wanted, (start, start + len(block)))
        yield block[wanted[first:last] - start]
        start += len(block)


def _joints_name(file: NpzFile) -> str:
    """The array that holds the joints: `joints`, or the only one that can."""
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
    """An array's shape; none of one that is not read, as notes beside the joints may be."""
    try:
        return file.header(name).shape
    except NpzError:
        return ()


def _stored_rate(file: NpzFile) -> float | None:
    """The rate that an .npz of joints may carry as `fps`."""
    if "fps" not in file.names:
        return None
    value = file.array("fps")
    if value.size != 1 or value.dtype.kind not in "fiu":
        raise TakeError(f"has an fps of shape {value.shape} and type {value.dtype}, not one number")
    return float(value.reshape(()))


def _check_shape(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if shape[1:] != (NUM_JOINTS, 3) or dtype.kind not in "fiu":
        raise TakeError(
            f"has an array of shape {shape} and type {dtype}, expected numbers (T, {NUM_JOINTS}, 3): frames, "
            "joints of utils/skeleton.py, x y z"
        )
