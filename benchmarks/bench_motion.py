"""Motion files → joints. Three baselines: smplx's full mesh; only reading the files with numpy; one worker."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from smplx.body_models import SMPLH
from smplx.utils import Struct

from benchmarks.measure import Result, median_seconds
from prepare.formats.body_model import check_body
from prepare.skeletons.body_joints import BodyJoints
from prepare.synthetic.body import body_structure
from utils.config import ROOT
from utils.device import choose_device


def joints(repeats: int) -> Iterator[Result]:
    """Poses → 25 joints, against smplx's full mesh. Takes of 120 frames per second give one output frame in four.

    Both run on the GPU when there is one. The copies to it and back are included.
    """
    structure, device = body_structure(), choose_device(None)
    ours = BodyJoints(check_body(structure, "the synthetic body"), device=device)
    poses = np.random.default_rng(0).normal(0, 0.4, (8192, 156)).astype(np.float32)
    names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose")

    @torch.inference_mode()
    def full_mesh(model: SMPLH, batch: int, frames: int) -> None:
        for part in torch.from_numpy(poses[:frames]).to(device).split(batch):
            model(**dict(zip(names, part.split([3, 63, 45, 45], dim=1), strict=True)))

    for how, batch, frames in (("one frame at a time", 1, 32), ("in batches of 64", 64, 256)):
        model = SMPLH("", data_struct=Struct(**structure), use_pca=False, flat_hand_mean=True, batch_size=batch)
        plain = partial(full_mesh, model.to(device), batch, frames)
        for what, step in (("joints", 1), ("joints from 120 fps", 4)):
            fast, slow = median_seconds(repeats, partial(ours, poses[::step]), plain)
            rates = len(poses) / step / fast, frames / step / slow
            yield Result(f"{what}, mesh {how}", "output frames/s", *rates)


def prepare(repeats: int) -> Iterator[Result]:
    """The whole command on compressed float64 takes of 120 fps. Baselines: reading them with numpy, and one worker."""
    takes, frames = 320, 1440
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch)
        write_takes(data, takes, frames)

        def command(workers: int) -> None:
            line = [sys.executable, "-m", "prepare.build", "--name", "mine", "--body", "synthetic"]
            line += ["--amass", data / "amass", "--babel", data, "--actions", data / "actions.json"]
            line += ["--out", data / "out", "--workers", str(workers)]
            subprocess.run(line, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            shutil.rmtree(data / "out")

        def load() -> None:
            for file in (data / "amass").rglob("*.npz"):
                with np.load(file) as arrays:
                    arrays["poses"]

        workers = os.cpu_count() or 1
        many, one, plain = median_seconds(max(1, repeats // 3), partial(command, workers), partial(command, 1), load)
    seconds = takes * frames / 120
    what, unit = f"prepare, {workers} workers", "seconds of motion/s"
    yield Result(f"{what}, against only reading", unit, seconds / many, seconds / plain)
    yield Result(f"{what}, against 1 worker", unit, seconds / many, seconds / one)


def write_takes(folder: Path, takes: int, frames: int) -> None:
    """Writes `takes` takes of the same smooth random poses, in the formats of AMASS and BABEL."""
    subject, labels = folder / "amass/KIT/1", {"train": {}, "val": {}}
    subject.mkdir(parents=True)
    poses = np.random.default_rng(0).normal(0, 0.02, (frames, 156)).cumsum(axis=0)
    np.savez_compressed(folder / "take.npz", poses=poses, mocap_framerate=np.array(120.0))
    for number in range(takes):
        os.link(folder / "take.npz", subject / f"{number}_poses.npz")
        label = {"act_cat": ["walk"], "start_t": 0.0, "end_t": 3.0}
        entry = {"feat_p": f"KIT/KIT/1/{number}_poses.npz", "dur": frames / 120, "frame_ann": {"labels": [label]}}
        labels["val" if number % 4 == 0 else "train"][str(number)] = entry
    for subset, entries in labels.items():
        (folder / f"{subset}.json").write_text(json.dumps(entries))
    (folder / "actions.json").write_text('{"walk": 0}')
