"""AMASS takes: finds the file that BABEL names, and reads its poses.

AMASS (Mahmood et al. 2019) is downloaded as one folder for each data set. BABEL (Punnakkal et al. 2021) uses older
names for some of these folders.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from prepare.formats.errors import MAX_RATE, MIN_RATE, TakeError
from prepare.formats.files import walk
from prepare.formats.flavours import AMASS_PAGE, FLAVOURS, SMPLH, Flavour
from prepare.formats.npz import NpzFile, finite_float32, open_npz, pick_rows
from utils.errors import UserError
from utils.manifest import OTHER_DURATION
from utils.skeleton import FPS

# Seconds: 6 frames at 30 fps. In 224 clips of real motion in BABEL's layout, takes were at most 0.034 s shorter and
# 0.0003 s longer than `dur`. A doubled or halved frame rate is more than the tolerance in every clip over 0.4 s.
DURATION_TOLERANCE = 0.2

# Folder name in BABEL's feat_p: folder names in AMASS downloads, the current one first
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
_CURRENT_NAMES = {old.lower(): names[0] for name, names in FOLDER_ALIASES.items() for old in (name, *names)}
# Flavours of AMASS that are not read, by the width of `poses`
_OTHER_FLAVOURS = {
    63: "body joints only",
    66: "root and body without hands",
    69: "SMPL without its root",
    72: "SMPL",
    159: "SMPL-X without its eyes",
}


class AmassIndex:
    """Finds takes below an AMASS folder by BABEL's `feat_p`.

    Case, spaces or underscores, and the release's file ending do not matter. Every alias of a folder matches. A data
    set's folder may be nested in other folders.
    """

    def __init__(self, root: Path, flavour: Flavour = SMPLH):
        """Index the takes below `root`. Raises UserError when `root` does not exist or holds no .npz file."""
        if not root.is_dir():
            raise UserError(f"the AMASS folder {root} does not exist: unpack AMASS there, or name yours by --amass")
        self._ending = flavour.ending
        self._files: dict[tuple[str, ...], list[str]] = {}
        files = [f.relative_to(root).as_posix() for f in walk(root) if f.name.lower().endswith(".npz")]
        if not files:
            raise UserError(
                f"{root} holds no AMASS take (.npz): download {flavour.release!r} of each data set from {AMASS_PAGE} "
                f"and unpack it there, as {root}/<Folder>/<subject>/<take>{flavour.ending}"
            )
        for file in files:
            key = _key(file)
            for start in range(len(key) - 1):
                self._files.setdefault(key[start:], []).append(file)

    def find(self, feat_p: str) -> str | None:
        """Path of a take relative to the AMASS folder, or None when it is not there.

        If several files match, the flavour's ending is preferred, then the exact name, then the shortest path.
        """
        path = take_path(feat_p)

        def preference(file: str) -> tuple[bool, bool, int, str]:
            return not file.lower().endswith(self._ending), file != path, file.count("/"), file

        return min(self._files.get(_key(path), []), key=preference, default=None)


def take_path(feat_p: str) -> str:
    """BABEL's `feat_p` without its first component: the path below the AMASS folder.

    Raises TakeError when the path would leave that folder, or has too few components.
    """
    parts = feat_p.split("/")
    if len(parts) < 3 or not feat_p.isprintable() or any(p in ("", ".", "..") or "\\" in p for p in parts):
        raise TakeError("has a feat_p that is no path below the AMASS folder")
    return "/".join(parts[1:])


def download_name(folder: str) -> str | None:
    """Name on AMASS's download page of the data set that BABEL calls `folder`; None if unknown."""
    return _CURRENT_NAMES.get(folder.lower().replace(" ", "_"))


def read_poses(
    path: Path, limit: int | None = None, flavour: Flavour = SMPLH, seconds: float | None = None
) -> tuple[float, Iterator[np.ndarray]]:
    """A take's own frame rate, and its first `limit` poses at 30 fps, in blocks (T, pose_width) float32 radians.

    Every pose in the file is checked, also those that are not returned. Raises TakeError, also from the iterator. A
    take that does not last for the `seconds` that BABEL says is refused, because its labels would be misplaced.
    """
    with open_npz(path) as file:
        frames, fps = _length_and_rate(file, flavour)
    if seconds is not None and abs(frames / fps - seconds) > DURATION_TOLERANCE:
        raise TakeError(
            f"{OTHER_DURATION} ({frames} frames at {fps:g} fps are {frames / fps:.2f} s, BABEL has {seconds:.2f} s): "
            "its frame rate is wrong, or frames are missing"
        )
    return fps, _pose_blocks(path, resample_indices(frames, fps)[:limit])


def resample_indices(frames: int, fps: float) -> np.ndarray:
    """Input frame of every output frame at 30 fps, (n,) int64: output frame n is input frame floor(n * fps / 30).

    Rates within 1e-3 of a whole number are rounded, because AMASS has 59.9999885 and 120.0000458. The released code
    loses one second a minute at 59.9999885 fps. It selects the same frames at AMASS's other rates.
    """
    rate = round(fps) if abs(fps - round(fps)) <= 1e-3 else fps
    indices = np.floor(np.arange(math.ceil(frames * FPS / rate) + 1) * rate / FPS).astype(np.int64)
    return indices[indices < frames]


def _pose_blocks(path: Path, indices: np.ndarray) -> Iterator[np.ndarray]:
    with open_npz(path) as file:
        yield from pick_rows((finite_float32(block, "poses") for block in file.row_blocks("poses")), indices)


def _length_and_rate(file: NpzFile, flavour: Flavour) -> tuple[int, float]:
    """Frames of a take at its own rate, and that rate in frames per second. Raises TakeError."""
    if "poses" not in file.names:
        raise TakeError(f"has no array 'poses', only {', '.join(file.names[:8]) or 'nothing'}")
    header = file.header("poses")
    if header.dtype.kind != "f" or len(header.shape) != 2:
        raise TakeError(f"has poses of shape {header.shape} and type {header.dtype}, not (T, {flavour.pose_width})")
    frames, width = header.shape
    if width != flavour.pose_width:
        for other in FLAVOURS:
            if width == other.pose_width:
                raise TakeError(
                    f"is a take of {other.model}, and the body is {flavour.model}: download {flavour.release!r} from "
                    f"{AMASS_PAGE}, or give an {other.model} body by --body (from {other.page})"
                )
        name = f" ({_OTHER_FLAVOURS[width]})" if width in _OTHER_FLAVOURS else ""
        raise TakeError(
            f"has poses of width {width}{name}, {flavour.model} has {flavour.pose_width}: "
            f"download {flavour.release!r} from {AMASS_PAGE}"
        )
    if frames == 0:
        raise TakeError("has no frame")
    name = next((n for n in ("mocap_framerate", "mocap_frame_rate") if n in file.names), None)
    if name is None:
        raise TakeError("has neither 'mocap_framerate' nor 'mocap_frame_rate'")
    rate = file.number(name)
    if not MIN_RATE <= rate <= MAX_RATE:
        raise TakeError(f"has a {name} of {rate}, not between {MIN_RATE:g} and {MAX_RATE:g} frames per second")
    return frames, rate


def _key(path: str) -> tuple[str, ...]:
    """Normalized path: lower case, underscores, current folder names, without the release's file ending."""
    *folders, file = path.lower().replace(" ", "_").split("/")
    file = file.removesuffix(".npz").removesuffix("_poses").removesuffix("_stageii")
    return (*(_CURRENT_NAMES.get(folder, folder) for folder in folders), file)
