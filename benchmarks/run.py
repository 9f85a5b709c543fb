"""Speed against plain baselines measured in the same minute.

    python benchmarks/run.py
    python benchmarks/run.py --only train infer --repeats 3 --json speed.json

Each benchmark runs ours and the baseline in turn, N times, and reports medians and their ratio. The baselines are
plain: smplx's full mesh, `benchmarks/plain.py` (the network as its description goes), frames compared as sets, and
reading the same files with numpy.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script

import numpy as np
import torch
from smplx.body_models import SMPLH
from smplx.utils import Struct

from benchmarks.plain import PlainLocalizer
from feeders.batches import TrainBatches
from model.localizer import Localizer, Output
from model.losses import objective
from model.mil_head import View
from prepare.body_file import check_body
from prepare.smplh import SmplhJoints
from prepare.stand_in_body import body_structure
from utils import config
from utils.atomic import write_json
from utils.errors import run_command
from utils.localization import Detections, ground_truth, localize
from utils.metrics import detection_map
from utils.run import provenance

ROOT = Path(__file__).parents[1]
CLASSES = 4
# Frames of 24 clips at even ranks among real_mocap's training clips of at most 1,000
LENGTHS = (139, 182, 201, 225, 243, 255, 277, 309, 325, 348, 379, 399, 421, 438, 460, 482, 500, 520, 537, 551, 570, 591)
LENGTHS += (602, 687)


class Result(NamedTuple):
    """One line: what is counted, per second, by ours and by the baseline, and their ratio."""

    name: str
    unit: str
    ours: float
    baseline: float

    @property
    def ratio(self) -> float:
        return self.ours / self.baseline


def in_turn(repeats: int, *works: Callable[[], object]) -> list[float]:
    """Median seconds of each piece of work, run in turn after one round of warming up."""
    seconds: list[list[float]] = [[] for _ in works]
    for repeat in range(repeats + 1):
        for work, taken in zip(works, seconds, strict=True):
            began = time.perf_counter()
            work()
            if repeat:
                taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in seconds]


def joints(repeats: int) -> Iterator[Result]:
    """Poses → 25 joints, per output frame, against smplx's full mesh; and from takes of 120 frames per second."""
    structure = body_structure()
    ours = SmplhJoints(check_body(structure, "the stand-in body"))
    poses = np.random.default_rng(0).normal(0, 0.4, (8192, 156)).astype(np.float32)

    def full_mesh(batch: int) -> Callable[[int], None]:
        model = SMPLH("", data_struct=Struct(**structure), use_pca=False, flat_hand_mean=False, batch_size=batch)
        names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose")

        def run(frames: int) -> None:
            with torch.inference_mode():
                for part in torch.from_numpy(poses[:frames]).split(batch):
                    model(**dict(zip(names, part.split([3, 63, 45, 45], dim=1), strict=True)))

        return run

    for name, batch, frames in (("one frame at a time", 1, 32), ("in batches of 64", 64, 256)):
        plain = full_mesh(batch)
        fast, slow = in_turn(repeats, lambda: ours(poses), lambda run=plain, count=frames: run(count))
        yield Result(f"joints, mesh {name}", "output frames/s", len(poses) / fast, frames / slow)
        fast, slow = in_turn(repeats, lambda: ours(poses[::4]), lambda run=plain, count=frames: run(count))
        yield Result(f"joints from 120 fps, mesh {name}", "output frames/s", len(poses) / 4 / fast, frames / 4 / slow)


def prepare(repeats: int) -> Iterator[Result]:
    """The whole command, cold, on takes of 120 fps, float64, compressed; against reading the arrays with numpy."""
    distinct, takes, frames = 16, 320, 1440
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch)
        _write_takes(data, distinct, takes, frames)
        files = sorted((data / "amass").rglob("*.npz"))
        runs = iter(range(1000))

        def command(workers: int) -> Callable[[], None]:
            def run() -> None:
                arguments = ["--amass", data / "amass", "--babel", data, "--actions", data / "actions.json"]
                arguments += [
                    "--name",
                    "mine",
                    "--body",
                    "stand-in",
                    "--workers",
                    workers,
                    "--out",
                    data / str(next(runs)),
                ]
                arguments = [sys.executable, "-m", "prepare.build", *map(str, arguments)]
                subprocess.run(arguments, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)

            return run

        def load() -> None:
            for file in files:
                with np.load(file) as arrays:
                    arrays["poses"]

        workers = os.cpu_count() or 1
        many, one, plain = in_turn(max(1, repeats // 3), command(workers), command(1), load)
    seconds = takes * frames / 120
    yield Result(f"prepare, {workers} workers, of reading", "seconds of motion/s", seconds / many, seconds / plain)
    yield Result(f"prepare, {workers} workers, of one", "seconds of motion/s", seconds / many, seconds / one)


def _write_takes(folder: Path, distinct: int, takes: int, frames: int) -> None:
    """`takes` takes of smooth random poses, of which `distinct` differ, in AMASS's and BABEL's formats."""
    rng, labels = np.random.default_rng(0), {}
    (folder / "amass/KIT/1").mkdir(parents=True)
    for number in range(takes):
        path = folder / f"amass/KIT/1/{number}_poses.npz"
        if number < distinct:
            poses = rng.normal(0, 0.02, (frames, 156)).cumsum(axis=0)
            np.savez_compressed(path, poses=poses, mocap_framerate=np.array(120.0))
        else:
            os.link(folder / f"amass/KIT/1/{number % distinct}_poses.npz", path)
        label = {"act_cat": ["walk"], "start_t": 0.0, "end_t": 3.0}
        entry = {"feat_p": f"KIT/KIT/1/{number}_poses.npz", "dur": frames / 120, "frame_ann": {"labels": [label]}}
        labels["val" if number % 4 == 0 else "train"] = {
            **labels.get("val" if number % 4 == 0 else "train", {}),
            str(number): entry,
        }
    for subset, entries in labels.items():
        (folder / f"{subset}.json").write_text(json.dumps(entries))
    (folder / "actions.json").write_text('{"walk": 0}')


def train(repeats: int) -> Iterator[Result]:
    """Real frames through forward, loss, backward and step, float32, at real_mocap's clip lengths."""
    faithful, ours = config.load([ROOT / "config" / "original.yaml"]), config.load()
    lengths = np.array(LENGTHS)
    settings = ours.data
    random, bucketed = (
        list(TrainBatches(lengths, 8, 5, b, settings.bucket_noise, drop_last=False)) for b in (False, True)
    )
    torch.manual_seed(5)
    plain, same, fast = PlainLocalizer(CLASSES), Localizer(CLASSES, faithful.model), Localizer(CLASSES, ours.model)

    def plain_forward(joints: torch.Tensor, _: torch.Tensor) -> Output:
        views = tuple(View(*outputs) for outputs in plain(joints))
        return Output(views, joints)

    def epoch(
        forward: Callable[..., Output], model: torch.nn.Module, batches: list[list[int]], chosen: config.Settings
    ) -> Callable[[], None]:
        adam = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=1e-4)

        def run() -> None:
            for batch in batches:
                data = _random_batch(lengths[batch])
                terms = objective(forward(*data[:2]), data[2], data[1], None, chosen)
                adam.zero_grad(set_to_none=True)
                terms["total"].backward()
                adam.step()

        return run

    slow, equal, quick = in_turn(
        repeats,
        epoch(plain_forward, plain, random, faithful),
        epoch(same, same, random, faithful),
        epoch(fast, fast, bucketed, ours),
    )
    frames = lengths.sum()
    yield Result("train, identical batches", "real frames/s", frames / equal, frames / slow)
    yield Result("train, bucketed", "real frames/s", frames / quick, frames / slow)


def infer(repeats: int) -> Iterator[Result]:
    """One long clip, and many short ones clip by clip against batches of 8."""
    ours = config.load()
    plain, fast = PlainLocalizer(CLASSES).eval(), Localizer(CLASSES, ours.model).eval()
    long, short = _random_batch([4000]), _random_batch([90] * 8)

    @torch.inference_mode()
    def by_clip(batch: tuple[torch.Tensor, ...]) -> None:
        for clip in batch[0].split(1):
            plain(clip)

    @torch.inference_mode()
    def at_once(batch: tuple[torch.Tensor, ...]) -> None:
        fast(*batch[:2])

    for name, batch in (("one clip of 4,000 frames", long), ("clips of 90 frames", short)):
        quick, slow = in_turn(repeats, lambda b=batch: at_once(b), lambda b=batch: by_clip(b))
        frames = int(batch[1].sum())
        yield Result(f"infer, {name}", "frames/s", frames / quick, frames / slow)


def _random_batch(lengths: np.ndarray | list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Joints, mask and video labels of clips of these lengths, padded."""
    lengths = torch.as_tensor(lengths)
    mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
    joints = torch.randn(len(lengths), 3, mask.shape[1], 25, 1) * mask.view(len(lengths), 1, -1, 1, 1)
    return joints, mask, torch.eye(CLASSES)[torch.arange(len(lengths)) % CLASSES]


def evaluate(repeats: int) -> Iterator[Result]:
    """Proposals and mAP at 7 tIoUs of 2,000 clips × 20 classes, against sets of frames on a sample."""
    clips, classes, sample = 2000, 20, 4
    rng, settings = np.random.default_rng(0), config.load().eval
    scores = [rng.normal(0, 1, (int(t), classes + 1)).cumsum(0) / 6 for t in rng.integers(60, 900, clips)]
    probs = [np.exp(s) / np.exp(s).sum(1, keepdims=True) for s in scores]
    labels = [p[:, :classes] > 0.3 for p in probs]
    video = np.full(classes + 1, 0.5)

    def fast() -> None:
        found = Detections.concatenate([localize(i, p, video, settings) for i, p in enumerate(probs)])
        detection_map(found, ground_truth(labels), classes, settings.tious)

    def slow() -> None:
        found = Detections.concatenate([localize(i, p, video, settings) for i, p in enumerate(probs[:sample])])
        truth = ground_truth(labels[:sample])
        for tiou in settings.tious:
            _hits_by_sets(found, truth, tiou)

    ours, plain = in_turn(repeats, fast, slow)
    yield Result("evaluate 2,000 clips x 20 classes", "clips/s", clips / ours, sample / plain)


def _hits_by_sets(found: Detections, truth: Detections, tiou: float) -> int:
    """True positives, every detection's set of frames against that of every true segment of its clip and class."""
    taken: set[int] = set()
    for i in np.argsort(-found.scores):
        frames, best, at = set(range(*map(int, found.segments[i]))), 0.0, -1
        for j in range(len(truth)):
            if truth.clip[j] == found.clip[i] and truth.label[j] == found.label[i] and j not in taken:
                other = set(range(*map(int, truth.segments[j])))
                overlap = len(frames & other) / len(frames | other)
                best, at = max((best, at), (overlap, j))
        if best >= tiou:
            taken.add(at)
    return len(taken)


BENCHMARKS = {run.__name__: run for run in (joints, prepare, train, infer, evaluate)}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), help="which ones (default: all)"
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="of each measurement (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also store the figures there")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error(f"--repeats is {args.repeats}: expected 1 or more")
    stored = []
    print("| benchmark | unit | ours | baseline | ratio | peak memory |\n|---|---|---|---|---|---|")
    for name in args.only:
        for result in BENCHMARKS[name](args.repeats):
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            figures = f"{result.ours:,.0f} | {result.baseline:,.0f} | {result.ratio:.1f}"
            print(f"| {result.name} | {result.unit} | {figures} | {peak:.1f} GiB |", flush=True)
            stored.append({**result._asdict(), "ratio": result.ratio, "peak_GiB": peak})
    machine = {**provenance(), "threads": torch.get_num_threads()}
    print(f"\n{machine['machine']}, {machine['threads']} threads, torch {torch.__version__}, {machine['commit']}")
    if args.json:
        write_json(args.json, {"results": stored, **machine})
    return 0


if __name__ == "__main__":
    run_command(main)
