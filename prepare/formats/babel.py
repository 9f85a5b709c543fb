"""BABEL's frame labels (Punnakkal et al. 2021)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from prepare.formats.labels import AnnotatedClip, Label
from utils.errors import UserError, shown
from utils.files import PartialModel, read_json, sha256
from utils.manifest import SUBSETS

BABEL_PAGE = "https://babel.is.tue.mpg.de"
Seconds = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]  # 1e9 s are 30 years
Text = Annotated[str, Field(max_length=1000)]  # with a limit, pydantic also refuses text that cannot be encoded


class BabelSegment(PartialModel):
    """One label of a clip: seconds [start_t, end_t), and its categories, or None."""

    start_t: Seconds
    end_t: Seconds
    act_cat: list[Text] | None = None


class FrameAnnotation(PartialModel):
    """`frame_ann` of a clip."""

    labels: list[BabelSegment]


class BabelClip(PartialModel):
    """A clip of train.json or val.json; `frame_ann` is None if the clip has no frame labels."""

    feat_p: str
    dur: Annotated[Seconds, Field(gt=0)]
    frame_ann: FrameAnnotation | None


CLIPS = TypeAdapter(dict[Text, BabelClip])


@dataclass(frozen=True)
class Babel:
    """Content of train.json and val.json.

    test.json is not read because it has no labels. The extra_ files are not read because they hold several annotations
    of a clip, which BABEL has not merged.
    """

    clips: list[AnnotatedClip]  # with frame labels: those of train first, then val, in the files' order
    unlabelled: dict[str, int]  # clips without frame labels, by subset
    hashes: dict[str, str]  # SHA-256 by file name


def read_babel(folder: Path) -> Babel:
    """Read BABEL's `train.json` and `val.json`.

    Raises UserError when a file is missing or has another layout, or when no clip has frame labels.
    """
    expected = f"BABEL's labels: download them from {BABEL_PAGE}, unpack them and name the folder by --babel"
    clips: dict[str, AnnotatedClip] = {}
    unlabelled, hashes = {}, {}
    for subset in SUBSETS:
        path = folder / f"{subset}.json"
        entries: dict[str, BabelClip] = read_json(path, CLIPS, expected)
        hashes[path.name] = sha256(path)
        unlabelled[subset] = sum(entry.frame_ann is None for entry in entries.values())
        for sid, entry in entries.items():
            if entry.frame_ann is None:
                continue
            if sid in clips:
                raise UserError(f"{path}: clip {shown(sid)} is in {clips[sid].subset}.json too; expected {expected}")
            labels = [Label(tuple(label.act_cat or ()), label.start_t, label.end_t) for label in entry.frame_ann.labels]
            clips[sid] = AnnotatedClip(sid, subset, entry.feat_p, labels, entry.dur)
    if not clips:
        raise UserError(f"{folder}: no clip of train.json and val.json has frame labels (frame_ann); are they BABEL's?")
    return Babel(list(clips.values()), unlabelled, hashes)
