"""Formats of the JSON files of prepared data: store.json and split.json. They are checked when they are read."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import FailFast, Field, PositiveInt, Strict, TypeAdapter, model_validator

from utils.atomic import write_json
from utils.errors import UserError, shown
from utils.files import StrictModel, read_json
from utils.skeleton import FPS

FORMAT = 1
MISSING = "missing"  # why a clip is not in the store: it has no take
OTHER_DURATION = "does not last as long as BABEL says"  # why a take cannot be used; followed by the durations
PLAIN_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"  # cannot lead to another folder

_ARRAY_NAME = re.compile(r"(joints|labels|annotated)-[0-9a-f]{12}\.npy")

Subset = Literal["train", "val"]
SUBSETS: tuple[Subset, ...] = get_args(Subset)
IdAndFrames = Annotated[tuple[str, PositiveInt], Strict(False)]  # not strict, because JSON has lists for tuples
FiniteNonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Clip(StrictModel):
    """One annotated clip of the store: rows [start, start + rows) of its joints array, by frame, then person."""

    sid: str  # BABEL's id, or the name of the recording
    subset: Subset | None  # None: different splits may put the clip into different subsets
    feat_p: str  # the take: BABEL's path, or the name of the recording
    start: int
    frames: PositiveInt  # at 30 fps
    people: PositiveInt = 1  # in every frame; the joints of absent people are zeros
    fps: FiniteNonNegative  # of the take of a BABEL clip, before it was brought to 30 fps; 30 for all other data
    duration: FiniteNonNegative  # seconds
    source: dict[str, Any]  # the take: its `file`, `bytes`, `mtime_ns` and `sha256`; empty for imports

    @property
    def rows(self) -> int:
        """Rows of the joints array: one for each person in each frame."""
        return self.frames * self.people


class Manifest(StrictModel):
    """What store.json and split.json have in common."""

    format: Literal[FORMAT]
    checksum: str  # SHA-256 of all other entries
    babel: dict[str, str] = {}  # SHA-256 of BABEL's files
    imported: dict[str, str] = {}  # source of labels that are not BABEL's, such as {"annotations": file}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a manifest. Raises UserError when it is missing, damaged or of another format."""
        expected = f"prepared data of this version. If it is damaged or of another one, {_make_again(path.parent)}"
        return read_json(path, TypeAdapter(cls), expected)

    @model_validator(mode="before")
    @classmethod
    def _fits_its_checksum(cls, content: Any) -> Any:
        if isinstance(content, dict) and "checksum" in content and content["checksum"] != _checksum(content):
            raise ValueError("its checksum does not fit its content")
        return content


class StoreManifest(Manifest):
    """store.json: the clips of a store, in the order of their joints, and their sources."""

    fps: Literal[FPS]
    joints_file: str
    digest: str = Field(pattern="^[0-9a-f]{64}$")  # SHA-256 of the joints file
    clips: Annotated[list[Clip], FailFast()]
    settings: dict[str, Any] = {}  # how joints were computed, and from which body
    versions: dict[str, str] = {}  # of packages
    left_out: dict[str, str] = {}  # why an annotated clip is not in the store, by its id

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.joints_file != array_name("joints", self.digest):
            raise ValueError(f"joints_file is {shown(self.joints_file)}, which does not fit the digest")
        end = 0
        for clip in self.clips:
            if clip.start != end:
                raise ValueError(f"clip {shown(clip.sid)} starts at row {shown(clip.start)}, expected {end}")
            end += clip.rows
        _refuse_repeated([clip.sid for clip in self.clips], "clip")
        return self


class SplitManifest(Manifest):
    """split.json: classes, and the clips that have any of them, in the order of their labels."""

    name: str
    classes: list[str] = Field(min_length=1)  # by index
    skeletons: str = Field(pattern=f"^{PLAIN_NAME}$")  # name of the store's folder, which is beside the split's folder
    skeletons_digest: str = ""  # digest of the store when the split was made; not checked
    labels_file: str = Field(pattern=r"^labels-[0-9a-f]{12}\.npy$")
    annotated_file: str = Field(pattern=r"^annotated-[0-9a-f]{12}\.npy$")
    clips: dict[Subset, Annotated[list[IdAndFrames], FailFast()]] = Field(min_length=2)  # both subsets
    untimed: dict[str, list[int]] = {}  # classes of a training clip whose times are not known, by clip id
    counts: dict[str, dict[str, Any]] = {}  # of earlier versions; no longer written
    left_out: dict[str, dict[str, int]] = {}  # clips that are not in the split, by subset and reason

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _refuse_repeated(self.classes, "class")
        _refuse_repeated([sid for _, sid, _ in self.clips_in_order()], "clip")
        if not {k for labels in self.untimed.values() for k in labels} <= set(range(len(self.classes))):
            raise ValueError("untimed names a class that is not in classes")
        return self

    def clips_in_order(self) -> Iterator[tuple[Subset, str, int]]:
        """Subset, id and frames of every clip, in the order of their labels."""
        return ((subset, sid, frames) for subset in SUBSETS for sid, frames in self.clips[subset])


def write_manifest(path: Path, entries: dict[str, Any]) -> None:
    """Write a manifest with its format and checksum. Delete arrays in its folder that it does not name."""
    content = {"format": FORMAT, **entries}
    write_json(path, {**content, "checksum": _checksum(content)})
    for array in path.parent.glob("*.npy"):
        if _ARRAY_NAME.fullmatch(array.name) and array.name not in content.values():
            array.unlink()


def plain_name(name: str, what: str) -> str:
    """`name`, if it is safe as the name of a file or folder. Raises UserError otherwise, calling it `what`."""
    if not re.fullmatch(PLAIN_NAME, name):
        raise UserError(
            f"{what} {shown(name)} is not a plain name: letters, digits, '_', '-' and '.', "
            "a letter or digit first, at most 100 in all"
        )
    return name


def array_name(stem: str, digest: str) -> str:
    """Name of the .npy file with this SHA-256."""
    return f"{stem}-{digest[:12]}.npy"


def unusable(path: Path, why: str) -> UserError:
    """The error for a file of prepared data that is damaged or of another format."""
    return UserError(f"{path} cannot be used: {why}; {_make_again(path.parent)}")


def _make_again(folder: Path) -> str:
    return f"move {folder} away and make it again with `bash prepare/generate_dataset.sh`, or the command that made it"


def _checksum(content: dict[str, Any]) -> str:
    entries = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode("ascii")).hexdigest()


def _refuse_repeated(names: list[str], what: str) -> None:
    for name, count in Counter(names).most_common(1):
        if count > 1:
            raise ValueError(f"{what} {shown(name)} is listed {count} times")
