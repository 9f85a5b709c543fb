"""PKU-MMD, phase 1 (Liu et al. 2017): untrimmed recordings of one or two people by Kinect v2, at 30 fps.

A recording such as 0002-L has two text files of its name. The file of skeletons has a row for each frame: 150 numbers,
which are 2 people × 25 joints × (x, y, z) in metres, y up. The second person is zeros when absent. The file of labels
has a row for each segment: action,start frame,end frame,confidence. A protocol is a text file. Each of its headings,
"Training videos" and "Validation videos", is followed by lines of names, separated by commas.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter

from prepare.formats.files import parse_numbers, walk
from prepare.formats.frames import check_length_and_rate, interpolate
from prepare.formats.labels import ClassName, Label
from prepare.formats.npz import finite_float32
from utils.errors import TakeError, UserError, shown
from utils.files import read_text, read_yaml, stat_regular_file
from utils.skeleton import FPS, KINECT_ORDER, NUM_JOINTS

PAGE = "https://struct002.github.io/PKUMMD/"
PEOPLE = 2
ROW_LENGTH = PEOPLE * NUM_JOINTS * 3  # numbers
TEXT = "a text file of PKU-MMD"  # for messages
NAME_BY_NUMBER = TypeAdapter(dict[int, ClassName])  # not strict, because the keys of JSON are text


class RecordingFiles(NamedTuple):
    """Subset of a recording, and its two files; None where a file is missing."""

    subset: str
    skeletons: Path | None
    labels: Path | None


def read_action_names(path: Path) -> list[str]:
    """Names of the actions 1, 2, 3, … from a YAML or JSON file {number: name}. Raises UserError."""
    expected = "the names of the actions 1, 2, 3, … such as {1: bow, 2: brushing hair}"
    actions: dict[int, str] = read_yaml(path, expected, NAME_BY_NUMBER)
    names = [actions[number] for number in sorted(actions)]
    if not names or sorted(actions) != list(range(1, len(names) + 1)) or len(set(names)) < len(names):
        raise UserError(f"{path}: has numbers that do not count from 1, or a name twice; expected {expected}")
    return names


def find_recordings(root: Path, protocol: str) -> dict[str, RecordingFiles]:
    """The recordings of a protocol ("cross-subject" or "cross-view") and their files, in any folders below `root`.

    The first row shows whether a file has labels or skeletons, so the names of folders do not matter. Raises UserError
    when the protocol or all recordings are missing, or when a file is there twice, OSError when one cannot be read.
    """
    if not root.is_dir():
        raise UserError(f"{root}: is no folder; name the folder of PKU-MMD by --root")
    texts = [path for path in walk(root) if path.suffix.lower() == ".txt"]
    wanted = [path for path in texts if path.stem.lower().replace("_", "-") == protocol]
    if len(wanted) != 1:
        there = " and ".join(map(str, wanted)) or f"no {protocol}.txt"
        raise UserError(f"{root}: has {there}, expected one; unpack the folder 'Split' of PKU-MMD there ({PAGE})")
    subsets = _read_protocol(wanted[0])
    skeletons: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    empty: list[Path] = []
    for path in texts:
        if path.stem not in subsets:
            continue
        stat_regular_file(path)
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline(1 << 14)
        if not first.strip():
            empty.append(path)
            continue
        found = labels if "," in first else skeletons
        if path.stem in found:
            raise UserError(
                f"{path}: {found[path.stem]} is the same recording; name the folder of one of them by --root"
            )
        found[path.stem] = path
    for path in empty:  # labels without any action, or a damaged file of skeletons
        (labels if path.stem in skeletons else skeletons).setdefault(path.stem, path)
    kinds = (("skeleton", skeletons, "PKU_Skeleton_Renew"), ("label", labels, "Train_Label_PKU_final"))
    for kind, found, folder in kinds:
        if not found:
            missing = f"no {kind} file of the recordings in {wanted[0].name}, such as {next(iter(subsets))}.txt"
            raise UserError(f"{root}: has {missing}; unpack the folder {folder!r} there, or correct --root")
    return {name: RecordingFiles(subset, skeletons.get(name), labels.get(name)) for name, subset in subsets.items()}


def read_skeletons(path: Path) -> np.ndarray:
    """Joints (T, M, 25, 3) float32 of a recording, in the file's axes. M is 2 if the second person ever appears.

    Frames without the first person are interpolated linearly. At the start and the end, the nearest known frame is
    repeated. Raises TakeError when a row is wrong or the recording is too long, OSError when the file cannot be read.
    """
    lines = path.read_text(encoding="ascii", errors="replace").rstrip().split("\n")
    check_length_and_rate(len(lines), FPS)
    expected = f"{ROW_LENGTH}: {PEOPLE} people × {NUM_JOINTS} joints × x y z"
    try:
        rows = [parse_numbers(line.split(), ROW_LENGTH, expected, f"row {row}") for row, line in enumerate(lines, 1)]
        numbers = finite_float32(np.stack(rows), "joints")
    except TakeError as error:
        raise TakeError(f"{error}; download it again ({PAGE})") from None
    people = numbers.reshape(len(rows), PEOPLE, NUM_JOINTS, 3)[:, :, KINECT_ORDER]
    there = people.any(axis=(2, 3))  # (T, 2)
    if not there[:, 0].any():
        raise TakeError("has no first person in any frame")
    seen = np.flatnonzero(there[:, 0])
    people[:, 0] = interpolate(people[seen, 0], seen, np.arange(len(rows)))
    return people if there[:, 1].any() else people[:, :1]


def read_labels(path: Path, actions: list[str]) -> list[Label]:
    """The labels of a recording. Raises UserError, which names the row and the remedy."""
    labels = []
    for number, line in enumerate(read_text(path, TEXT).splitlines(), start=1):
        if not line.strip():
            continue
        where, cells = f"{path}: row {number}", [cell.strip() for cell in line.split(",")]
        if len(cells) != 4 or not all(cell.isdecimal() and len(cell) < 10 for cell in cells):
            raise UserError(f"{where} is {shown(line)}, expected action,start frame,end frame,confidence in integers")
        action, start, end, _ = map(int, cells)
        if not 1 <= action <= len(actions):
            known = f"expected 1 to {len(actions)}; name a list that has it by --actions"
            raise UserError(f"{where} has the action {action}, {known}")
        if end <= start:
            raise UserError(f"{where} has a segment from frame {start} to {end}; correct the row, or remove it")
        labels.append(Label((actions[action - 1],), start / FPS, end / FPS, where))
    return labels


def _read_protocol(path: Path) -> dict[str, str]:
    """Subset of each recording, in the order of the file."""
    subset, subsets = None, {}
    for number, line in enumerate(read_text(path, TEXT).splitlines(), start=1):
        words = line.replace(",", " ").split()
        heading = line.strip().lower()
        if "video" in heading or heading.startswith(("train", "val")):  # the download has "Validataion videos"
            subset = next((name for name in ("train", "val") if name in heading), None)
        elif words and subset is None:
            raise UserError(f"{path}: row {number} is {shown(line)}, expected a heading, such as Training videos")
        else:
            for name in words:
                if subsets.setdefault(name, subset) != subset:
                    raise UserError(f"{path}: row {number}: {shown(name)} is for training and for validation")
    if set(subsets.values()) != {"train", "val"}:
        raise UserError(f"{path}: does not name training and validation videos; download it again ({PAGE})")
    return subsets
