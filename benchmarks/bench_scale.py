"""How long training takes to start, and how cost grows with the size of the data."""

import io
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
from scipy.special import softmax

from benchmarks.bench_motion import write_takes
from benchmarks.bench_network import CLASSES, epoch_work, random_batch
from benchmarks.measure import Result, median_seconds
from evaluation.localization import ground_truth, localize
from evaluation.metrics import detection_ap
from model.inference import for_inference
from model.localizer import Localizer
from prepare.build import build
from utils import config
from utils.config import ROOT
from utils.manifest import Clip
from utils.skeleton import FPS, NUM_JOINTS
from utils.store import write_split, write_store

TAKES, FRAMES = 12_660, 366  # of BABEL, and frames of each: 43 hours
SIZES = (1, 4, 16)
CPU = torch.device("cpu")
# Runs train.py until Adam's first step. Last it prints the seconds and the growth of memory in MB since the imports
# (Linux).
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


def start(repeats: int) -> Iterator[Result]:
    """From the end of the imports to the first training step. The baseline reads the whole file of joints."""
    for takes in (TAKES // 16, TAKES // 4, TAKES):
        with tempfile.TemporaryDirectory() as scratch:
            data = Path(scratch)
            write_data_set(data, takes)
            (joints,) = (data / "skeletons-bench").glob("joints-*")
            measured: list[list[float]] = []
            _, whole = median_seconds(repeats, partial(train_to_first_step, data, measured), joints.read_bytes)
            seconds, memory = np.median(measured[1:], axis=0)
            size = joints.stat().st_size / 2**20
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


def write_data_set(folder: Path, takes: int) -> None:
    """A store of `takes` clips of the same random joints, and a split `bench` of four classes over it."""
    joints = np.random.default_rng(0).normal(0, 0.3, (FRAMES, NUM_JOINTS, 3)).astype(np.float32)
    labels = np.zeros((CLASSES, FRAMES, CLASSES), bool)
    labels[:, : FRAMES // 2] = np.eye(CLASSES, dtype=bool)[:, None]  # labels[k] has class k in its first half
    clips, labelled = [], {"train": [], "val": []}
    for number in range(takes):
        subset = "val" if number % 4 == 0 else "train"
        facts = {"feat_p": "A/B/x.npz", "fps": 30.0, "duration": FRAMES / FPS, "source": {}}
        clips.append(Clip(sid=str(number), subset=subset, start=number * FRAMES, frames=FRAMES, **facts))
        k = len(labelled[subset]) % CLASSES  # both subsets have all classes
        labelled[subset].append((str(number), labels[k], np.ones(FRAMES, bool)))
    (folder / "skeletons-bench").mkdir()
    write_store(folder / "skeletons-bench", clips, (joints for _ in clips), {})
    facts = {"name": "bench", "classes": ["walk", "run", "turn", "wave"], "skeletons": "skeletons-bench"}
    write_split(folder / "bench", labelled, facts)


def scale(repeats: int) -> Iterator[Result]:
    """Cost at 1, 4 and 16 times the size: the slope of log cost over log size. Linear growth has slope 1."""
    with tempfile.TemporaryDirectory() as scratch:
        for size in SIZES:
            write_takes(Path(scratch) / str(size), takes=30 * size, frames=480)

        def prepare(size: int) -> None:
            data = Path(scratch) / str(size)
            with redirect_stdout(io.StringIO()):
                build(data / "amass", data, "synthetic", data / "out", {"mine": ["walk"]})
            shutil.rmtree(data / "out")

        yield _slope("prepare, 30, 120, 480 takes", repeats, prepare)

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

    probs, labels = random_scores(np.full(100 * SIZES[-1], 400), 20)

    def evaluate(size: int) -> None:
        some = slice(100 * size)
        found = localize(probs[some], np.full((100 * size, 21), 0.5), settings.eval)
        detection_ap(found, ground_truth(labels[some]), 20, settings.eval.tious)

    yield _slope("evaluate, 100, 400, 1,600 clips", repeats, evaluate)


def random_scores(lengths: np.ndarray, classes: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Smooth frame probabilities (T, K+1) of clips of these lengths, and frame labels (T, K) that fit them."""
    rng = np.random.default_rng(0)
    scores = [rng.normal(0, 1, (length, classes + 1)).cumsum(0) / 6 for length in lengths]
    probs = [softmax(s, axis=1) for s in scores]
    return probs, [p[:, :classes] > 0.3 for p in probs]


def _slope(what: str, repeats: int, work: Callable[[int], None]) -> Result:
    seconds = median_seconds(repeats, *(partial(work, size) for size in SIZES))
    slope = np.polyfit(np.log(SIZES), np.log(seconds), 1)[0]
    listed = ", ".join(f"{taken:.2g}" for taken in seconds)
    return Result(f"scale: {what}: {listed} s", "slope (lower is better)", float(slope), 1.0)
