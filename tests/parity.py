"""Compare this code with numbers that the released code gave.

    python tests/parity.py GOLDEN_DIR

Prints a line for each check: the largest difference found, and the largest allowed. The exit status is 1 if one fails.
Takes of 59.99999 frames per second are not compared: there, the released code loses a second a minute.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script

from utils.command_line import argument_parser, check_first


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python tests/parity.py")
    parser.add_argument("folder", type=Path, metavar="GOLDEN_DIR", help="the folder of .npz, .pt and .json files")
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np
import torch
from torch import Tensor

from evaluation.localization import RELEASED, ground_truth, localize
from evaluation.metrics import classification_ap, detection_ap
from feeders.normalize import normalize
from model.graph import adjacency
from model.localizer import Localizer
from model.losses import multi_view_loss, objective, pseudo_label_loss
from model.released import load_released, places
from prepare.formats.frames import resample_indices
from utils import config
from utils.errors import UserError, run_command

REFINED_FROM = 2  # the update of training.npz that uses pseudo-labels
RELEASED_YAML = config.BASE.parent / "released.yaml"


class Check(NamedTuple):
    """One comparison: its name, the largest difference found and the largest allowed."""

    name: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.tolerance  # not-a-number fails


def normalization(folder: Path) -> Iterator[Check]:
    files = load(folder / "normalize.npz")
    for key in keys(files, r"in\d+"):
        ours = normalize(files[key].astype(np.float64), "released").transpose(2, 0, 1)[..., None]
        yield Check(f"normalization {key}", largest(ours, files[key.replace("in", "out")]), 1e-5)


def resampling(folder: Path) -> Iterator[Check]:
    unequal: dict[float, int] = {}
    for entry in json.loads((folder / "subsample_30fps.json").read_text()):
        fps = entry["fps"]
        drifts = abs(fps - round(fps)) <= 1e-3 and int(fps) != round(fps)  # 59.99999: the difference on purpose
        if not drifts:
            equal = resample_indices(entry["frames"], fps).tolist() == list(entry["index"])
            unequal[fps] = unequal.get(fps, 0) + (not equal)
    for fps, count in unequal.items():
        yield Check(f"frames taken at {fps:.6g} fps, unequal lists", count, 0)


def graph(folder: Path) -> Iterator[Check]:
    yield Check("adjacency", largest(adjacency(), load(folder / "graph.npz")["A"]), 1e-6)


def network(folder: Path) -> Iterator[Check]:
    files, model = load(folder / "model_outputs.npz"), released_model(folder)
    model.eval()
    for key in keys(files, r"x\d+"):
        joints = torch.from_numpy(files[key]).float()
        with torch.no_grad():
            lengths = torch.full((len(joints),), joints.shape[2])
            views = model(joints, torch.ones(*joints.shape[:3:2], dtype=torch.bool), lengths).views
        for number, view in enumerate(views, start=1):
            for name, ours in (("video", view.video_probs), ("frame", view.frame_scores)):
                found = largest(ours, files[f"{name}{number}_{key[1:]}"])
                yield Check(f"network, {key[1:]} frames, {name} scores of view {number}", found, 1e-5)


def losses(folder: Path) -> Iterator[Check]:
    files = {name: torch.from_numpy(values) for name, values in load(folder / "losses.npz").items()}
    y1, y2, soft = files["y1"], files["y2"], files["soft"]
    real = soft[..., 0] > -100
    multi_view = multi_view_loss(y1, y2, torch.ones_like(real), share=0.2)
    yield Check("multi-view loss", largest(multi_view, files["multi_view"]), 1e-5)
    refined = pseudo_label_loss(y1, soft.masked_fill(~real.unsqueeze(-1), 0), real)
    yield Check("pseudo-label loss", largest(refined, files["refined_ce"]), 1e-5)


def training(folder: Path) -> Iterator[Check]:
    """Updates in training mode on a padded batch: MIL + multi-view first, refinement from REFINED_FROM on."""
    files, settings = load(folder / "training.npz"), config.load([RELEASED_YAML])
    model = released_model(folder, torch.float64).train()
    adam = torch.optim.Adam(model.parameters(), settings.train.learning_rate, weight_decay=settings.train.weight_decay)
    joints, video_labels, soft = (torch.from_numpy(files[key]) for key in ("joints", "video_labels", "soft"))
    lengths = torch.from_numpy(files["lengths"])
    mask = torch.arange(joints.shape[2]) < lengths.unsqueeze(1)
    pseudo = soft.masked_fill(~mask.unsqueeze(-1), 0), torch.ones(len(soft), dtype=torch.bool)
    for update in sorted(int(key.removeprefix("loss")) for key in keys(files, r"loss\d+")):
        output = model(joints.double(), mask, lengths)
        used = pseudo if update >= REFINED_FROM else None
        terms = objective(output, video_labels, mask, used, settings)
        refined = sum(pseudo_label_loss(view.frame_scores, pseudo[0], mask) for view in output.views)
        found = {"loss": terms["total"], "mil": terms["mil"], "multi_view": terms["multi_view"], "refined_ce": refined}
        for number, view in enumerate(output.views, start=1):
            found |= {f"video{number}_": view.video_probs, f"frame{number}_": view.frame_scores}
        for name, value in found.items():
            if f"{name}{update}" in files:
                yield Check(f"update {update}, {name.strip('_')}", largest(value, files[f"{name}{update}"]), 1e-6)
        adam.zero_grad()
        terms["total"].backward()
        yield from gradients(files, update, model)
        adam.step()


def gradients(files: dict[str, np.ndarray], update: int, model: Localizer) -> Iterator[Check]:
    ours, table = {name: p.grad for name, p in model.named_parameters()}, places(model)
    for key in keys(files, rf"grad{update}:.*"):
        name = key.partition(":")[2]
        found = table[name].of(ours).reshape(files[key].shape)
        scale = max(float(np.abs(files[key]).max()), np.finfo(float).tiny)
        yield Check(f"update {update}, gradient of {name}", largest(found, files[key]) / scale, 1e-5)


def detection(folder: Path) -> Iterator[Check]:
    """Proposals of every class, background too, and both mAPs in percent."""
    files, settings = load(folder / "detection.npz"), config.load([RELEASED_YAML]).eval
    settings = settings.model_copy(update={"thresholds": files["thresholds"].tolist()})
    video_probs, clips = files["video_scores"], range(len(files["video_scores"]))
    classes = video_probs.shape[1] - 1
    frame_probs = [files[f"frame_scores{i}"] for i in clips]
    every = [np.pad(probs, ((0, 0), (0, 1))) for probs in frame_probs]  # the last column is not localized
    found = localize(every, np.pad(video_probs, ((0, 0), (0, 1))), settings, RELEASED)
    for key in keys(files, r"segments_class\d+"):
        label = int(key.removeprefix("segments_class"))
        own, theirs = found.select(found.label == label), files[key].reshape(-1, 4)  # an empty list may have any shape
        rows = (np.column_stack([own.clip, own.segments, own.scores]), theirs)
        ours, theirs = (r[np.lexsort((r[:, 2], r[:, 1], r[:, 0]))] for r in rows)
        yield Check(f"proposals of class {label}, clip, start and end", largest(ours[:, :3], theirs[:, :3]), 0)
        yield Check(f"proposals of class {label}, scores", largest(ours[:, 3], theirs[:, 3]), 1e-5)
    labels = [files[f"frame_labels{i}"][:, None] == np.arange(classes) for i in clips]
    ap = detection_ap(found, ground_truth(labels, RELEASED), classes, settings.tious)
    mean = ap[:, ~np.isnan(ap).any(axis=0)].mean(axis=1)  # over the classes that occur
    for tiou, ours, theirs in zip(settings.tious, mean, files["map"], strict=True):
        yield Check(f"detection mAP at tIoU {tiou:g}, of 100", largest(ours, theirs), 1e-5)
    ap = classification_ap(video_probs[:, :classes], files["video_labels"][:, :classes], RELEASED.absent_ap)
    yield Check("classification mAP, of 100", largest(ap.mean(), files["classification_map"]), 1e-5)


CHECKS: tuple[Callable[[Path], Iterator[Check]], ...] = (
    normalization,
    resampling,
    graph,
    network,
    losses,
    training,
    detection,
)


def compare(folder: Path) -> Iterator[Check]:
    """All checks on a folder of released numbers."""
    for check in CHECKS:
        yield from check(folder)


def released_model(folder: Path, dtype: torch.dtype = torch.float32) -> Localizer:
    """The network with the folder's weights, the faults of config/released.yaml, and as many classes as they have."""
    state = torch.load(folder / "model_state.pt", weights_only=True)
    classes = len(state["classifier_1.ac_center"]) - 1
    model = Localizer(classes, config.load([RELEASED_YAML]).model).to(dtype)
    load_released(model, state, str(folder / "model_state.pt"))
    return model


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as files:
        return dict(files)


def keys(files: dict[str, np.ndarray], pattern: str) -> list[str]:
    """The names that match, numbers in their order."""
    return sorted((key for key in files if re.fullmatch(pattern, key)), key=lambda key: (len(key), key))


def largest(ours: Tensor | np.ndarray, theirs: Tensor | np.ndarray) -> float:
    """The largest absolute difference; infinite when the shapes differ."""
    ours = ours.detach().numpy() if isinstance(ours, Tensor) else np.asarray(ours)
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours.astype(np.float64) - np.asarray(theirs, np.float64)).max(initial=0))


def main() -> int:
    folder = parse_arguments().folder
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected one that holds model_state.pt, normalize.npz, …")
    failed = 0
    for check in compare(folder):
        failed += not check.passed
        verdict = "ok  " if check.passed else "FAIL"
        print(f"{verdict}  {check.name:<52} {check.difference:.1e}  (at most {check.tolerance:.0e})")
    print(f"{failed} checks failed" if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    run_command(main)
