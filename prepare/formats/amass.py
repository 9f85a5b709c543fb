"""AMASS takes: finds those that BABEL names (`find_takes`), and reads their poses (`read_poses`).

AMASS (Mahmood et al. 2019) is downloaded as one folder for each data set. BABEL (Punnakkal et al. 2021) uses older
names for some of these folders.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from prepare.formats.files import walk
from prepare.formats.flavours import AMASS_PAGE, FLAVOURS, Flavour
from prepare.formats.frames import check_length_and_rate, resample_indices
from prepare.formats.npz import finite_float32, read_npz, single_number
from utils.errors import TakeError, UserError
from utils.manifest import OTHER_DURATION

# Seconds: 6 frames at 30 fps. In 224 clips of real motion in BABEL's layout, takes were at most 0.034 s shorter and
# 0.0003 s longer than `dur`. A doubled or halved frame rate changes the duration by more in every clip over 0.4 s.
DURATION_TOLERANCE = 0.2

RATE_NAMES = ("mocap_framerate", "mocap_frame_rate")  # names of a take's frame rate

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
# Folder name in lower case, old or new: name on the download page
_CURRENT_NAMES = {old.lower(): names[0] for name, names in FOLDER_ALIASES.items() for old in (name, *names)}


def find_takes(root: Path, flavour: Flavour, wanted: Iterable[str]) -> dict[str, str]:
    """The `wanted` takes that are below the AMASS folder `root`: the file of each, by BABEL's path (`feat_p`).

    Case, spaces or underscores, and the release's file ending do not matter. Every alias of a folder matches. A data
    set's folder may be nested in other folders. If several files match, the flavour's ending is preferred, then the
    exact name, then the shortest path. Raises UserError when `root` holds no .npz file.
    """
    takes = [file for file in walk(root) if file.name.lower().endswith(".npz")] if root.is_dir() else []
    if not takes:
        raise UserError(
            f"{root} holds no AMASS take (.npz): download {flavour.download!r} of each data set from {AMASS_PAGE} "
            f"and unpack it as {root}/<Folder>/<subject>/<take>{flavour.ending}, or name your folder by --amass"
        )
    files: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for take in takes:
        file = take.relative_to(root).as_posix()
        key = _key(file)
        for start in range(len(key) - 1):  # by every trailing part of the path, so outer folders do not matter
            files[key[start:]].append(file)
    found = {}
    for feat_p in wanted:
        path = feat_p.partition("/")[2]  # without the first folder, which repeats the data set
        ranked = [
            (not file.lower().endswith(flavour.ending), file != path, file.count("/"), file)
            for file in files.get(_key(path), [])
        ]
        if ranked:
            found[feat_p] = min(ranked)[-1]
    return found


def download_name(folder: str) -> str | None:
    """Name on AMASS's download page of the data set that BABEL calls `folder`; None if unknown."""
    return _CURRENT_NAMES.get(folder.lower().replace(" ", "_"))


def read_poses(path: Path, flavour: Flavour, seconds: float | None = None) -> tuple[float, np.ndarray]:
    """A take's own frame rate, and its poses at 30 fps, (T, pose_width) float32 radians.

    Every pose in the file is checked, also those that resampling skips. Raises TakeError. A take that does not last for
    the `seconds` that BABEL says is refused, because its labels would be misplaced. If `seconds` is None, the duration
    is not checked.
    """
    arrays, names = read_npz(path, ("poses", *RATE_NAMES))
    rate_name = next((name for name in RATE_NAMES if name in arrays), None)
    if "poses" not in arrays or rate_name is None:
        found = ", ".join(names[:8]) or "nothing"
        raise TakeError(f"has {found}, expected the arrays 'poses' and {' or '.join(map(repr, RATE_NAMES))}")
    poses, fps = arrays["poses"], single_number(arrays[rate_name], rate_name)
    if poses.dtype.kind != "f" or poses.ndim != 2 or poses.shape[1] != flavour.pose_width:
        shape = ", ".join(["T", *map(str, poses.shape[1:])])
        others = [f", or give an {f.model} body by --body" for f in FLAVOURS if poses.shape[1:] == (f.pose_width,)]
        raise TakeError(
            f"has poses ({shape}) of type {poses.dtype}, those of {flavour.model} are (T, {flavour.pose_width}) "
            f"floats: download {flavour.download!r} from {AMASS_PAGE}{''.join(others)}"
        )
    frames = len(poses)
    check_length_and_rate(frames, fps)
    if seconds is not None and abs(frames / fps - seconds) > DURATION_TOLERANCE:
        raise TakeError(
            f"{OTHER_DURATION} ({frames} frames at {fps:g} fps are {frames / fps:.2f} s, BABEL has {seconds:.2f} s): "
            "its frame rate is wrong, or frames are missing"
        )
    return fps, finite_float32(poses, "poses")[resample_indices(frames, fps)]


def _key(path: str) -> tuple[str, ...]:
    """Normalized path: lower case, underscores for spaces, current folder names, without the release's file ending."""
    *folders, file = path.lower().replace(" ", "_").split("/")
    file = file.removesuffix(".npz").removesuffix("_poses").removesuffix("_stageii")
    return (*(_CURRENT_NAMES.get(folder, folder) for folder in folders), file)
