"""A split in the layouts of other code: the released code, ActivityNet, pyskl and MMAction2, ActionFormer and OpenTAD.

docs/data.md describes the files. Every function writes into an existing folder and returns what it wrote.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluation.detections import escaped_name
from evaluation.segments import runs_of_classes
from feeders.batches import eval_loader
from feeders.dataset import SkeletonClips
from feeders.label_policy import corrected_policy, used_labels
from model.checkpoint import load_localizer
from model.inference import for_inference
from prepare.formats.annotations import LONG_NAMES
from utils import config
from utils.atomic import whole_file, write_json, write_whole
from utils.device import choose_device, set_matrix_precision
from utils.manifest import SUBSETS
from utils.progress import progress
from utils.skeleton import FPS, KINECT_ORDER
from utils.store import Split

SUBSET_NAMES = {short: long for long, short in LONG_NAMES.items()}  # ActivityNet's


def export_released(split: Split, out: Path) -> list[Path]:
    """Write each subset as a pickle of the released code, {"sid": [...], "X": [...], "Y": [...], "L": [...]}.

    X (3, T, 25, M): joints in metres at 30 fps. L (T,): the lowest class index of each frame, K for background. Y: the
    class indices in L. So a class that always overlaps one of a lower index is in neither.
    """
    data = config.load(assignments=["data.overlaps=lowest", "data.max_frames=1000"]).data
    written = []
    for subset in SUBSETS:
        content: dict[str, list[Any]] = {"sid": [], "X": [], "Y": [], "L": []}
        for sid in split.clip_ids(subset):
            labels = used_labels(split.labels(sid), split.annotated(sid), data)
            if labels is None:
                continue
            content["sid"].append(sid)
            content["X"].append(split.store.people(sid).transpose(3, 0, 2, 1))
            content["Y"].append(np.flatnonzero(labels.any(axis=0)).tolist())
            content["L"].append(np.where(labels.any(axis=1), labels.argmax(axis=1), labels.shape[1]))
        if left_out := len(split.clip_ids(subset)) - len(content["sid"]):
            print(f"{left_out} {subset} clips are left out: longer than 1,000 frames, or no label has times")
        path = out / f"{split.name}_{subset}.pkl"
        with whole_file(path) as file:
            pickle.dump(content, file, protocol=4)
        written.append(path)
    return written


def export_ground_truth(split: Split, out: Path) -> list[Path]:
    """Write ActivityNet's ground truth, as `prepare.own_data` reads it. Labels without times have no segment."""
    clips = [(sid, sid, subset) for subset in SUBSETS for sid in split.clip_ids(subset)]
    return [_write_annotations(split, clips, out / f"{split.name}.json", with_untimed=True), _write_classes(split, out)]


def export_pyskl(split: Split, out: Path) -> list[Path]:
    """Write the annotation pickle of pyskl and MMAction2: all clips, with the list of their classes as label.

    `keypoint` (M, T, V, C) is in metres, z up, with the joints in Kinect's order.
    """
    ids = {subset: split.clip_ids(subset) for subset in SUBSETS}
    annotations = []
    for sid in split.clip_ids():
        labels = split.labels(sid)
        joints = split.store.people(sid)[:, :, KINECT_ORDER]
        about = {"frame_dir": sid, "total_frames": len(labels), "label": np.flatnonzero(split.present(sid)).tolist()}
        annotations.append({**about, "keypoint": joints.transpose(1, 0, 2, 3)})
    with whole_file(out / f"{split.name}.pkl") as file:
        pickle.dump({"split": ids, "annotations": annotations}, file, protocol=4)
    return [out / f"{split.name}.pkl", _write_classes(split, out)]


def export_features(split: Split, weights: Path, out: Path) -> list[Path]:
    """Write a checkpoint's features of clips, and their annotations, as ActionFormer and OpenTAD read them.

    Clips that are longer than the checkpoint's data.max_frames are left out.

    `features/<clip>.npy` is (T', D) float32; row i belongs to frame i · model.stride · data.frame_step. Raises
    UserError when the checkpoint is damaged or has other classes.
    """
    model, settings, _ = load_localizer(weights, split, config.load())
    device = choose_device(None)
    set_matrix_precision(settings.train.matrix_precision)
    network = for_inference(model).to(device)
    (out / "features").mkdir(exist_ok=True)
    exported = []  # name in the files, id and subset of each clip
    for subset in SUBSETS:
        clips = SkeletonClips(split, subset, corrected_policy(settings.data))
        print(clips.summary())
        for batch in progress(eval_loader(clips, batch_size=1), f"features of {subset} clips", "clip"):
            sid = clips.clip_ids[batch.index.item()]
            name = escaped_name(sid)
            batch = batch.to(device)
            with torch.inference_mode():
                features = network(batch.joints, batch.mask, batch.lengths).features[0]
            with whole_file(out / "features" / f"{name}.npy") as file:
                np.save(file, features.float().cpu().numpy())
            exported.append((name, sid, subset))
    stride, width = network.backbone.stride * settings.data.frame_step, network.backbone.out_channels
    print(f"settings of ActionFormer: feat_stride {stride}, num_frames 1, default_fps {FPS}, input_dim {width}")
    annotations = _write_annotations(split, exported, out / f"{split.name}_features.json", with_untimed=False)
    return [annotations, _write_classes(split, out), out / "features"]


def _write_annotations(split: Split, clips: list[tuple[str, str, str]], path: Path, *, with_untimed: bool) -> Path:
    """Write the annotations of clips, each given by its name in the file, its id and its subset, as JSON."""
    database: dict[str, Any] = {}
    for name, sid, subset in clips:
        labels = split.labels(sid)
        classes, segments = runs_of_classes(labels)
        annotations = [
            {"label": split.classes[k], "label_id": k, "segment": [start / FPS, end / FPS]}
            for k, (start, end) in zip(classes.tolist(), segments.tolist(), strict=True)
        ]
        if with_untimed:
            untimed = np.flatnonzero(split.untimed(sid)).tolist()
            annotations += [{"label": split.classes[k], "label_id": k} for k in untimed]
        about = {"subset": SUBSET_NAMES[subset], "duration": len(labels) / FPS, "fps": FPS, "frame": len(labels)}
        database[name] = {**about, "annotations": annotations}
    write_json(path, {"version": split.name, "database": database})
    return path


def _write_classes(split: Split, out: Path) -> Path:
    path = out / f"{split.name}_classes.txt"
    write_whole(path, "".join(f"{name}\n" for name in split.classes).encode())
    return path
