"""AMASS takes: where BABEL's paths lie in a user's folder, and what is in the files.

AMASS (Mahmood et al. 2019) is downloaded data set by data set, BABEL (Punnakkal et al. 2021) names
takes by older folder names: the table of both names is here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from prepare.formats.npz import NpzError, NpzFile, open_npz
from utils.errors import UserError
from utils.skeleton import FPS

AMASS_PAGE = "https://amass.is.tue.mpg.de"
RELEASE = "SMPL+H G"  # the flavour to choose on AMASS's download page
POSE_WIDTH = 156  # axis-angle of 52 joints
MIN_RATE, MAX_RATE = 1.0, 2000.0  # frames per second; AMASS has 59.99 to 250

# Folder in BABEL's feat_p: the names that the same data set has in AMASS downloads, today's first.
FOLDER_ALIASES = {
    "BioMotionLab_NTroje": ("BMLrub",),
    "DFaust_67": ("DFaust", "DFaust67"),
    "Eyes_Japan_Dataset": ("EyesJapanDataset",),
    "MPI_HDM05": ("HDM05", "MPIHDM05"),
    "MPI_mosh": ("MoSh", "MPImosh"),
    "MPI_Limits": ("PosePrior", "MPILimits"),
    "SSM_synced": ("SSM", "SSMsynced"),
    "TCD_handMocap": ("TCDHands", "TCDhandMocap"),
    "Transitions_mocap": ("Transitions", "Transitionsmocap"),
}
_SAME_NAME = ("ACCAD", "BMLmovi", "CMU", "EKUT", "HumanEva", "KIT", "SFU", "TotalCapture")

# Widths of `poses` in other AMASS flavours
_FLAVOURS = {
    63: "body joints only",
    66: "root and body without hands",
    69: "SMPL without its root",
    72: "SMPL",
    165: "SMPL-X",
    159: "SMPL-X without its eyes",
}

_Key = tuple[str, ...]


class TakeError(Exception):
    """Why one take cannot be used, as the end of a sentence; never the end of a run."""


@dataclass(frozen=True)
class TakeInfo:
    """A take's length in its own frames and its frames per second."""

    frames: int
    fps: float


class AmassIndex:
    """Every take below an AMASS folder, found by BABEL's `feat_p` whatever the folder names are.

    The folder is walked once. Names match in any case, with spaces or underscores, with both endings
    of AMASS's releases, and below further leading folders.
    """

    def __init__(self, root: Path, folders: set[str]):
        """Index the takes of `folders` (first components below AMASS, any alias) under `root`.

        Raises UserError when there is no such folder, or no .npz file in it.
        """
        self.root = root
        self._files: dict[_Key, list[str]] = {}
        wanted = {_canonical_folder(folder) for folder in folders}
        count = 0
        for file in _walk(root):
            count += 1
            key = _key(PurePosixPath(file).parts)
            for start in range(len(key) - 1):
                folder = _canonical_folder(key[start])
                if folder in wanted:
                    self._files.setdefault((folder, *key[start + 1 :]), []).append(file)
        if count == 0:
            raise UserError(
                f"{root} holds no AMASS take (.npz): download {RELEASE!r} of each data set from {AMASS_PAGE} "
                f"and unpack it there, as {root}/<Folder>/<subject>/<take>_poses.npz"
            )

    def find(self, feat_p: str) -> str | None:
        """Path of a take relative to the AMASS folder, or None when it is not there."""
        parts = take_path(feat_p).parts
        key = _key(parts)
        files = self._files.get((_canonical_folder(key[0]), *key[1:]), [])
        wanted = str(PurePosixPath(*parts))
        return min(files, key=lambda file: (file != wanted, *_preference(file)), default=None)


def take_path(feat_p: str) -> PurePosixPath:
    """BABEL's `feat_p` without its first component: the path below the AMASS folder.

    Raises TakeError when it is no path of a file below that folder.
    """
    parts = feat_p.split("/")
    if len(parts) < 3 or any(p in ("", ".", "..") or "\\" in p or "\0" in p for p in parts):
        raise TakeError("has a feat_p that is no path below the AMASS folder")
    return PurePosixPath(*parts[1:])


def download_name(folder: str) -> str | None:
    """Name on AMASS's download page of the data set that BABEL calls `folder`; None if unknown."""
    canonical = _canonical_folder(folder)
    for name, aliases in FOLDER_ALIASES.items():
        if name.lower() == canonical:
            return aliases[0]
    return next((name for name in _SAME_NAME if name.lower() == canonical), None)


def read_info(file: NpzFile) -> TakeInfo:
    """Length and rate of an open take. Raises TakeError (or NpzError) when it is no SMPL-H take."""
    if "poses" not in file.names:
        raise TakeError(f"has no array 'poses', only {', '.join(file.names[:8]) or 'nothing'}")
    header = file.header("poses")
    if header.dtype.kind != "f" or len(header.shape) != 2:
        raise TakeError(f"has poses of shape {header.shape} and type {header.dtype}, not (T, {POSE_WIDTH})")
    frames, width = header.shape
    if width != POSE_WIDTH:
        flavour = f" ({_FLAVOURS[width]})" if width in _FLAVOURS else ""
        raise TakeError(
            f"has poses of width {width}{flavour}, SMPL-H has {POSE_WIDTH}: download {RELEASE!r} from {AMASS_PAGE}"
        )
    if frames == 0:
        raise TakeError("has no frame")
    return TakeInfo(frames, _read_rate(file))


def read_poses(path: Path, limit: float = math.inf) -> tuple[TakeInfo, Iterator[np.ndarray]]:
    """A take's length and rate, and its poses at 30 fps in blocks (T, 156) float32 radians, in order.

    Only the rows that `resample_indices` names are kept, at most `limit` of them; all are checked to
    be finite. TakeError may come while the blocks are taken.
    """
    try:
        with open_npz(path) as file:
            info = read_info(file)
    except NpzError as error:
        raise TakeError(str(error)) from error
    return info, _pose_blocks(path, info, limit)


def resample_indices(frames: int, fps: float) -> np.ndarray:
    """Input frame of every output frame at 30 fps: output n is input floor(n * fps / 30).

    Args: length and rate of the take; a rate within 1e-3 of a whole number is that number (AMASS has
    59.9999885 and 120.0000458). Returns (n,) int64, all below `frames`. The released code drops a
    second a minute at 59.9999885 fps; at the other rates of AMASS it gives the same indices.
    """
    if abs(fps - round(fps)) <= 1e-3:
        rate = round(fps)
        return np.arange(-(-frames * FPS // rate), dtype=np.int64) * rate // FPS
    indices = np.floor(np.arange(math.ceil(frames * FPS / fps) + 1) * fps / FPS).astype(np.int64)
    return indices[indices < frames]


def _pose_blocks(path: Path, info: TakeInfo, limit: float) -> Iterator[np.ndarray]:
    indices = resample_indices(info.frames, info.fps)
    indices = indices[: int(min(limit, len(indices)))]
    start = 0
    try:
        with open_npz(path) as file:
            for block in file.row_blocks("poses"):
                if not np.isfinite(block).all():
                    raise TakeError("has poses that are not finite (NaN or infinite)")
                first, last = np.searchsorted(indices, (start, start + len(block)))
                with np.errstate(over="ignore"):
                    kept = block[indices[first:last] - start].astype(np.float32)
                if not np.isfinite(kept).all():
                    raise TakeError("has poses beyond all angles (larger than 32 bits hold)")
                start += len(block)
                yield kept
    except NpzError as error:
        raise TakeError(str(error)) from error


def _read_rate(file: NpzFile) -> float:
    name = next((n for n in ("mocap_framerate", "mocap_frame_rate") if n in file.names), None)
    if name is None:
        raise TakeError("has neither 'mocap_framerate' nor 'mocap_frame_rate'")
    header = file.header(name)
    if math.prod(header.shape) != 1 or header.dtype.kind not in "fiu":
        raise TakeError(f"has a {name} of shape {header.shape} and type {header.dtype}, not one number")
    rate = float(file.array(name).reshape(()))
    if not MIN_RATE <= rate <= MAX_RATE:
        raise TakeError(f"has a {name} of {rate}, not between {MIN_RATE:g} and {MAX_RATE:g} frames per second")
    return rate


def _walk(root: Path) -> Iterator[str]:
    """Paths of all .npz files below `root`, relative to it; each folder is entered once, links too."""
    if not root.is_dir():
        raise UserError(f"the AMASS folder {root} does not exist: unpack AMASS there, or name yours by --amass")
    pending = [""]
    entered: set[tuple[int, int]] = set()
    while pending:
        folder = pending.pop()
        try:
            status = (root / folder).stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(root / folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir():
                        pending.append(path)
                    elif entry.name.lower().endswith(".npz"):
                        yield path
        except OSError as error:
            raise UserError(f"{root / folder} cannot be read: {error.strerror}") from error


def _key(parts: tuple[str, ...]) -> _Key:
    """Path below AMASS as it is compared: lower case, underscores, without suffix and release ending."""
    plain = [part.lower().replace(" ", "_") for part in parts]
    stem = plain[-1].removesuffix(".npz")
    plain[-1] = stem.removesuffix("_poses").removesuffix("_stageii")
    return tuple(plain)


def _canonical_folder(folder: str) -> str:
    plain = folder.lower().replace(" ", "_")
    return _CANONICAL.get(plain, plain)


_CANONICAL = {alias.lower(): name.lower() for name, aliases in FOLDER_ALIASES.items() for alias in aliases}


def _preference(file: str) -> tuple[bool, int, str]:
    """Of several files of one take: the older ending first (SMPL-H), then the shortest path."""
    return (not file.lower().endswith("_poses.npz"), file.count("/"), file)
