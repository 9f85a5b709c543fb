"""From motion files to the first step of training, and how cost grows with the size of the data."""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np
import torch
from smplx.body_models import SMPLH
from smplx.utils import Struct

from benchmarks.bench_network import CLASSES, epoch_work, random_batch
from benchmarks.measure import Result, median_seconds
from evaluation.localization import ground_truth, localize
from evaluation.metrics import detection_ap
from model.inference import for_inference
from model.localizer import Localizer
from prepare.build import build
from prepare.formats.body_model import check_body
from prepare.skeletons.body_joints import BodyJoints
from prepare.synthetic.body import body_structure
from utils import config
from utils.config import ROOT
from utils.device import choose_device
from utils.manifest import Clip
from utils.skeleton import FPS, NUM_JOINTS
from utils.store import write_split, write_store

TAKES, FRAMES = 12_660, 366  # of BABEL, and frames of each: 43 hours
SIZES = (1, 4, 16)
CPU = torch.device("cpu")
# Runs train.py until Adam's first step. Then prints, counted from the imports: seconds, and MB of memory (Linux).
FIRST_STEP = """
import re, time, torch, torch._dynamo, train  # Adam would import torch._dynamo within the measured time
from pathlib import Path
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
began, before = time.perf_counter(), peak()
def stop(*_, **__):
    print(time.perf_counter() - began, peak() - before)
    raise SystemExit
torch.optim.Adam.step = stop
train.main()
"""


def joints(repeats: int) -> Iterator[Result]:
    """Poses → 25 joints, against smplx's full mesh. In the rows "from 120 fps", ours computes every fourth pose only.

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


def start(repeats: int) -> Iterator[Result]:
    """From the end of the imports to the first training step. The baseline reads the whole file of joints."""
    for takes in (TAKES // 16, TAKES // 4, TAKES):
        with tempfile.TemporaryDirectory() as scratch:
            data = Path(scratch)
            write_data_set(data, takes)
            (file,) = (data / "skeletons-bench").glob("joints-*")
            measured: list[list[float]] = []
            _, whole = median_seconds(repeats, partial(train_to_first_step, data, measured), file.read_bytes)
            seconds, memory = np.median(measured[1:], axis=0)
            size = file.stat().st_size / 2**20
            what, when = f"start, {takes:,} takes", "from the imports to the first step"
            yield Result(f"{what}, time {when}; baseline: reading all joints", "s (lower is better)", seconds, whole)
            yield Result(f"{what}, memory {when}; baseline: all joints", "MB (lower is better)", memory, size)


def train_to_first_step(data: Path, measured: list[list[float]]) -> None:
    """Run train.py until Adam's first step. Append its seconds and MB to `measured`."""
    line = [sys.executable, "-c", FIRST_STEP, "--work-dir", data / "run"]
    line += ["--set", f"data.root={data}", "data.split=bench", "model.width=8"]  # a small network, to time the loading
    found = subprocess.run(line, check=True, cwd=ROOT, capture_output=True, text=True)
    measured.append([float(number) for number in found.stdout.splitlines()[-1].split()])
    shutil.rmtree(data / "run")


def scale(repeats: int) -> Iterator[Result]:
    """Cost at 1, 4 and 16 times the size: the slope of log cost over log size. Linear growth has slope 1."""
    with tempfile.TemporaryDirectory() as scratch:
        for size in SIZES:
            write_takes(Path(scratch) / str(size), takes=30 * size, frames=480)

        def prepare_takes(size: int) -> None:
            data = Path(scratch) / str(size)
            with redirect_stdout(io.StringIO()):
                build(data / "amass", data, "synthetic", data / "out", {"mine": ["walk"]})
            shutil.rmtree(data / "out")

        yield _slope("prepare, 30, 120, 480 takes", repeats, prepare_takes)

    settings = config.load(assignments=["model.width=16"])
    model = Localizer(CLASSES, settings.model)
    trained = for_inference(model)
    clips = {size: random_batch([250 * size], CPU) for size in SIZES}
    steps = {size: epoch_work(model, [random_batch([100 * size] * 4, CPU)], settings) for size in SIZES}

    @torch.inference_mode()
    def infer(size: int) -> None:
        trained(clips[size].joints, clips[size].mask, clips[size].lengths)

    yield _slope("infer, a clip of 250, 1,000, 4,000 frames", repeats, infer)
    yield _slope("train, 4 clips of 100, 400, 1,600 frames", repeats, lambda size: steps[size]())

    walks = torch.randn(100 * SIZES[-1], 400, 21, dtype=torch.float64).cumsum(dim=1)  # smooth, of 20 classes
    probs = (walks / 6).softmax(dim=2).numpy()
    labels = probs[..., :20] > 0.3

    def evaluate(size: int) -> None:
        some = slice(100 * size)
        found = localize(probs[some], np.full((100 * size, 21), 0.5), settings.eval)
        detection_ap(found, ground_truth(labels[some]), 20, settings.eval.tious)

    yield _slope("evaluate, 100, 400, 1,600 clips", repeats, evaluate)


def _slope(what: str, repeats: int, work: Callable[[int], None]) -> Result:
    seconds = median_seconds(repeats, *(partial(work, size) for size in SIZES))
    slope = np.polyfit(np.log(SIZES), np.log(seconds), 1)[0]
    listed = ", ".join(f"{taken:.2g}" for taken in seconds)
    return Result(f"scale: {what}: {listed} s", "slope (lower is better)", float(slope), 1.0)


def write_takes(folder: Path, takes: int, frames: int) -> None:
    """Write `takes` takes of the same smooth random poses, in the formats of AMASS and BABEL."""
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


def write_data_set(folder: Path, takes: int) -> None:
    """Write a store of `takes` clips of the same random joints, and a split `bench` of four classes over it."""
    motion = np.random.default_rng(0).normal(0, 0.3, (FRAMES, NUM_JOINTS, 3))
    clips, labelled = [], {"train": [], "val": []}
    for number in range(takes):
        subset = "val" if number % 4 == 0 else "train"
        facts = {"feat_p": "A/B/x.npz", "fps": 30.0, "duration": FRAMES / FPS, "source": {}}
        clips.append(Clip(sid=str(number), subset=subset, start=number * FRAMES, frames=FRAMES, **facts))
        labels = np.zeros((FRAMES, CLASSES), bool)
        labels[: FRAMES // 2, len(labelled[subset]) % CLASSES] = True  # both subsets have all classes
        labelled[subset].append((str(number), labels, np.ones(FRAMES, bool)))
    (folder / "skeletons-bench").mkdir()
    write_store(folder / "skeletons-bench", clips, (motion for _ in clips), {})
    facts = {"name": "bench", "classes": ["walk", "run", "turn", "wave"], "skeletons": "skeletons-bench"}
    write_split(folder / "bench", labelled, facts)
