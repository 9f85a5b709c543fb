"""AMASS takes: where the file of a take is, and what is in it.

AMASS (Mahmood et al. 2019) is downloaded data set by data set. BABEL (Punnakkal et al. 2021) uses older names of some
of these folders; `FOLDER_ALIASES` maps the names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from prepare.formats.errors import MAX_RATE, MIN_RATE, TakeError
from prepare.formats.folders import walk
from prepare.formats.npz import NpzFile, open_npz, pick_rows
from utils.errors import UserError
from utils.skeleton import FPS

AMASS_PAGE = "https://amass.is.tue.mpg.de"
RELEASE = "SMPL+H G"  # the flavour to choose on AMASS's download page
POSE_WIDTH = 156  # axis-angle of 52 joints

# A folder's name in BABEL's feat_p: its names in AMASS downloads, today's first
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
    **{name: (name,) for name in ("ACCAD", "BMLmovi", "CMU", "EKUT", "HumanEva", "KIT", "SFU", "TotalCapture")},
}
_CANONICAL = {alias.lower(): name.lower() for name, aliases in FOLDER_ALIASES.items() for alias in aliases}

# Other flavours of AMASS by the width of `poses`
_FLAVOURS = {
    63: "body joints only",
    66: "root and body without hands",
    69: "SMPL without its root",
    72: "SMPL",
    159: "SMPL-X without its eyes",
    165: "SMPL-X",
}


@dataclass(frozen=True)
class TakeInfo:
    """A take's length in frames of its own rate, and that rate in frames per second."""

    frames: int
    fps: float


class AmassIndex:
    """Finds takes below an AMASS folder by BABEL's `feat_p`.

    Names match in any case, with spaces or underscores, with the file endings of all AMASS releases, under every alias
    of a folder, and below further leading folders.
    """

    def __init__(self, root: Path, folders: set[str]):
        """Index the takes of `folders` (first components below AMASS, any alias) under `root`.

        Raises UserError when there is no such folder, or no .npz file in it.
        """
        if not root.is_dir():
            raise UserError(f"the AMASS folder {root} does not exist: unpack AMASS there, or name yours by --amass")
        self._files: dict[tuple[str, ...], list[str]] = {}
        wanted = {_canonical_folder(folder) for folder in folders}
        files = [f.relative_to(root).as_posix() for f in walk(root) if f.name.lower().endswith(".npz")]
        if not files:
            raise UserError(
                f"{root} holds no AMASS take (.npz): download {RELEASE!r} of each data set from {AMASS_PAGE} "
                f"and unpack it there, as {root}/<Folder>/<subject>/<take>_poses.npz"
            )
        for file in files:
            key = _key(PurePosixPath(file))
            for start in range(len(key) - 1):
                folder = _canonical_folder(key[start])
                if folder in wanted:
                    self._files.setdefault((folder, *key[start + 1 :]), []).append(file)

    def find(self, feat_p: str) -> str | None:
        """Path of a take relative to the AMASS folder, or None when it is not there.

        Of several files the exact name wins, then the older ending (SMPL-H), then the shortest path.
        """
        path = take_path(feat_p)
        folder, *rest = _key(path)
        files = self._files.get((_canonical_folder(folder), *rest), [])

        def preference(file: str) -> tuple[bool, bool, int, str]:
            return file != str(path), not file.lower().endswith("_poses.npz"), file.count("/"), file

        return min(files, key=preference, default=None)


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
    return next((aliases[0] for name, aliases in FOLDER_ALIASES.items() if name.lower() == canonical), None)


def read_poses(path: Path, limit: float = math.inf) -> tuple[TakeInfo, Iterator[np.ndarray]]:
    """A take's length and rate, and its poses at 30 fps in blocks (T, 156) float32 radians, in order.

    At most `limit` rows come, those of `resample_indices`. All rows of the file are checked to be finite.
    Raises TakeError, also while the blocks are taken.
    """
    with open_npz(path) as file:
        info = _read_info(file)
    indices = resample_indices(info.frames, info.fps)
    return info, _pose_blocks(path, indices[: int(min(limit, len(indices)))])


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


def _pose_blocks(path: Path, indices: np.ndarray) -> Iterator[np.ndarray]:
    def finite(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            if not np.isfinite(block).all():
                raise TakeError("has poses that are not finite (NaN or infinite)")
            yield block

    with open_npz(path) as file:
        for rows in pick_rows(finite(file.row_blocks("poses")), indices):
            with np.errstate(over="ignore"):
                poses = rows.astype(np.float32)
            if not np.isfinite(poses).all():
                raise TakeError("has poses beyond all angles (larger than 32 bits hold)")
            yield poses


def _read_info(file: NpzFile) -> TakeInfo:
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
    name = next((n for n in ("mocap_framerate", "mocap_frame_rate") if n in file.names), None)
    if name is None:
        raise TakeError("has neither 'mocap_framerate' nor 'mocap_frame_rate'")
    rate = file.number(name)
    if not MIN_RATE <= rate <= MAX_RATE:
        raise TakeError(f"has a {name} of {rate}, not between {MIN_RATE:g} and {MAX_RATE:g} frames per second")
    return TakeInfo(frames, rate)


def _key(path: PurePosixPath) -> tuple[str, ...]:
    """A path below AMASS as it is compared: lower case, underscores, without suffix and release ending."""
    *folders, file = str(path).lower().replace(" ", "_").split("/")
    return (*folders, file.removesuffix(".npz").removesuffix("_poses").removesuffix("_stageii"))


def _canonical_folder(folder: str) -> str:
    plain = folder.lower().replace(" ", "_")
    return _CANONICAL.get(plain, plain)
