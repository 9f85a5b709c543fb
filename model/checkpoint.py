"""Checkpoints: what a file holds, how an untrusted file is read, and how a trained localizer is loaded from it.

Only this module reads checkpoints: those of this project, and weights of the released code. What --resume does with one
is in model/training_state.py.
"""

import errno
import math
import mmap
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError

from model.localizer import Localizer
from model.released import load_released, refuse_misfit, upgraded
from utils import stored_settings
from utils.config import Settings
from utils.errors import UserError, first_problem
from utils.files import PartialModel
from utils.run import FORMAT
from utils.store import Split


class NetworkFile(PartialModel):
    """best.pt: a network for evaluation."""

    format: int  # version of the checkpoint format
    settings: dict  # by group, as in config.yaml
    classes: list[str]
    model: dict  # the network's state_dict
    skeletons: dict[str, str] = {}  # body model and hand poses of the training data (`Split.skeleton_facts`)


class TrainingFile(NetworkFile):
    """last.pt and previous.pt: all that --resume needs."""

    script: str = ""  # name of the file that trained
    epoch: Annotated[int, Field(ge=0)]  # index of the last finished epoch
    best_score: Annotated[float, Field(ge=-math.inf)]  # of best.pt, -inf if there is none; NaN is refused
    store: str  # digest of the store of joints
    clips: int  # number of training clips
    labels: str | None = None  # name of the labels file; the name contains a digest of the content
    untimed: dict[str, list[int]] = {}  # labels without times, as in `utils.manifest.SplitManifest`
    optimizer: dict  # the optimizer's state_dict
    # history (H, F, K+1) float32 and seen (H, clips) bool, where H = refine.history and F = frames of all clips;
    # epochs: number of finished epochs
    pseudo_labels: dict


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint of this project, or weights of the released code, without running any code in the file.

    Raises UserError when the file is missing, damaged, or holds more than tensors and plain containers. Raises OSError
    when the system cannot read it.
    """
    path = Path(path)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "no such file"
        raise UserError(f"{path}: {found}; expected a checkpoint, such as work_dir/split1/last.pt")
    try:
        problem = _problem(path)
        if not problem:
            with warnings.catch_warnings(action="ignore"):  # torch.load warns about other kinds of files
                checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load and zipfile raise nearly anything on a damaged file
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # a damaged zip gives these two
            raise OSError(error.errno, error.strerror, str(path)) from None
        code = re.search(r"(?:GLOBAL|class) ([\w.]+)", str(error))
        problem = f"it asks to run {code[1]}, which is refused" if code else "PyTorch cannot load it"
    if problem:
        raise UserError(f"{path}: cannot be read as a checkpoint; it is damaged or of another kind ({problem})")
    if not isinstance(checkpoint, dict) or not checkpoint:
        found = "an empty dictionary" if checkpoint == {} else f"a {type(checkpoint).__name__}"
        raise UserError(f"{path}: expected a checkpoint's dictionary, found {found}")
    return checkpoint


def load_localizer(path: Path, split: Split, settings: Settings) -> tuple[Localizer, Settings, Settings | None]:
    """The network in `path`, the settings for its use on `split`, and those of its training.

    The settings for its use are the given `settings`, but those that the weights depend on come from the checkpoint:
    the model settings, `normalization`, `frame_step` and the label policy. Released weights hold no settings, so
    nothing is replaced, and the last value is None.

    Raises UserError when the file is missing or damaged, was trained for other classes or on another body model, or
    does not fit.
    """
    checkpoint = load_checkpoint(path)
    if not _is_own(checkpoint):
        model = Localizer(len(split.classes), settings.model)
        load_released(model, checkpoint, str(path))
        return model, settings, None
    model, trained, own_classes = _network(checkpoint, path)
    if own_classes != split.classes:
        raise UserError(
            f"{path}: was trained for {', '.join(own_classes)}, the data has {', '.join(split.classes)}; "
            f"set data.split={trained.data.split}, if that split has the classes of the training"
        )
    # The versions that wrote no such entry used the released code's hand poses
    body = checkpoint.get("skeletons", {"hands": "released"})
    refuse_other_body(body, split.skeleton_facts, path, str(split.folder))
    return model, stored_settings.with_settings_of_weights(settings, trained), trained


def load_trained(path: Path | str) -> tuple[Localizer, Settings, tuple[str, ...], dict[str, Any]]:
    """The network in a checkpoint of this project, its settings, its classes, and its entry `skeletons`.

    Raises UserError when the file is missing or damaged, or holds weights alone.
    """
    checkpoint = load_checkpoint(path)
    if not _is_own(checkpoint):
        raise UserError(
            f"{path}: holds weights alone, without classes and settings; expected a last.pt or best.pt of train.py"
        )
    return *_network(checkpoint, path), checkpoint.get("skeletons", {})


def refuse_other_body(trained: dict[str, str], used: dict[str, str], path: Path, data_name: str) -> None:
    """Raise UserError if a checkpoint was trained on another body model than that of the data.

    The joints of two models differ by up to a few centimetres. Other hand poses concern four joints only, so they give
    a warning. An entry that either side lacks is not compared.
    """
    model = used.get("model")
    if model and trained.get("model", model) != model:
        raise UserError(
            f"{path}: was trained on skeletons of {trained['model']}, {data_name} has {model}; use the same body model"
        )
    hands = used.get("hands")
    if hands and trained.get("hands", hands) != hands:
        print(f"warning: {path} was trained with hands {trained['hands']}, {data_name} has hands {hands}")


def check_contents(checkpoint: dict[str, Any], expected: type[NetworkFile], path: Path) -> None:
    """Raise UserError when an entry of a checkpoint is missing, of another type than in `expected`, or invalid."""
    try:
        expected.model_validate(checkpoint)
    except ValidationError as error:
        raise UserError(f"{path}: is damaged: {first_problem(error)}") from None
    if checkpoint["format"] != FORMAT:
        raise UserError(f"{path}: is of format {checkpoint['format']}, this version reads format {FORMAT}")


def present_names(checkpoint: dict[str, Any]) -> Mapping[str, Any]:
    """The weights under the present names. Every version that stored `script` used these names already."""
    return checkpoint["model"] if "script" in checkpoint else upgraded(checkpoint["model"])


def _network(checkpoint: dict[str, Any], path: Path) -> tuple[Localizer, Settings, tuple[str, ...]]:
    check_contents(checkpoint, NetworkFile, path)
    settings = stored_settings.read_stored(checkpoint["settings"], str(path), for_inference=True)
    classes = tuple(checkpoint["classes"])
    model = Localizer(len(classes), settings.model)
    weights = present_names(checkpoint)
    refuse_misfit(weights, model.state_dict(), str(path))
    model.load_state_dict(weights)
    return model, settings, classes


def _is_own(checkpoint: dict[str, Any]) -> bool:
    """Whether this project wrote the checkpoint."""
    return all(name in checkpoint for name in ("format", "settings", "classes", "model"))


def _problem(path: Path) -> str | None:
    """Returns the reason to refuse a file, or None if there is none.

    torch.load does not compare checksums, so they are compared here. A small file can expand to fill the memory, and
    `weights_only` does not prevent that. Such a file is refused. torch.save never writes one.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"\nbytearray\n") >= 0:  # a pickle can call it with a huge number, which fills the memory
            return "it makes a bytearray"
    if not zipfile.is_zipfile(path):  # PyTorch before version 1.6 wrote no zip, and no checksums
        return None
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            return "its entries are larger than the file"
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            return "its entries are compressed"
        damaged = archive.testzip()  # reads all, and compares each entry with its CRC-32
        return f"{damaged} differs from its checksum" if damaged else None
