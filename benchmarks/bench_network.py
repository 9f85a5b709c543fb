"""The network against the plain one (benchmarks/plain.py), and the evaluation against going frame by frame.

Both networks run on the GPU when there is one, and are held against its roofline (benchmarks/roofline.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Result, in_turn
from benchmarks.plain import PlainLocalizer
from benchmarks.plain_localization import localize_plainly
from benchmarks.roofline import Roofline
from evaluation.localization import Detections, ground_truth, localize
from evaluation.metrics import detection_map
from feeders.batches import TrainBatches
from model.localizer import Localizer, Output
from model.losses import objective
from model.mil_head import View
from utils import config
from utils.device import choose_device

ROOT = Path(__file__).parents[1]
CLASSES = 4
Segment = tuple[int, int, int]  # clip, start, end
# Frames of 24 clips at even ranks among real_mocap's training clips of at most 1,000
LENGTHS = (139, 182, 201, 225, 243, 255, 277, 309, 325, 348, 379, 399, 421, 438, 460, 482, 500, 520, 537, 551, 570, 591)
LENGTHS += (602, 687)


def train(repeats: int) -> Iterator[Result]:
    """Real frames through forward, loss, backward and step, at real_mocap's clip lengths; float32 where not said."""
    faithful, ours, device = config.load([ROOT / "config" / "original.yaml"]), config.load(), choose_device(None)
    lengths = np.array(LENGTHS)
    settings = ours.data
    random, bucketed = (
        list(TrainBatches(lengths, 8, 5, b, settings.bucket_noise, drop_last=False)) for b in (False, True)
    )
    torch.manual_seed(5)
    plain, same = PlainLocalizer(CLASSES).to(device), Localizer(CLASSES, faithful.model).to(device)
    fast, rough = (Localizer(CLASSES, ours.model).in_precision(name).to(device) for name in ("float32", "bfloat16"))

    def plain_forward(joints: torch.Tensor, _: torch.Tensor) -> Output:
        views = tuple(View(*outputs) for outputs in plain(joints))
        return Output(views, joints)

    def epoch(
        forward: Callable[..., Output], model: torch.nn.Module, batches: list[list[int]], chosen: config.Settings
    ) -> Callable[[], None]:
        adam = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=1e-4)

        def run() -> None:
            for batch in batches:
                data = random_batch(lengths[batch], device)
                terms = objective(forward(*data[:2]), data[2], data[1], None, chosen)
                adam.zero_grad(set_to_none=True)
                terms["total"].backward()
                adam.step()

        return run

    exact, low = epoch(fast, fast, bucketed, ours), epoch(rough, rough, bucketed, ours)
    slow, equal, quick, quickest = in_turn(
        repeats, epoch(plain_forward, plain, random, faithful), epoch(same, same, random, faithful), exact, low
    )
    frames = lengths.sum()
    yield Result("train, identical batches", "real frames/s", frames / equal, frames / slow)
    yield Result("train, bucketed", "real frames/s", frames / quick, frames / slow)
    yield Result("train, bucketed, bfloat16", "real frames/s", frames / quickest, frames / slow)
    for name, work, seconds, dtype in (
        ("train, bucketed", exact, quick, torch.float32),
        ("train, bucketed, bfloat16", low, quickest, torch.bfloat16),
    ):
        yield against_roofline(name, "real frames/s", frames, work, seconds, Roofline.measure(device, dtype))


def infer(repeats: int) -> Iterator[Result]:
    """One long clip, and many short ones clip by clip against batches of 8; the baseline is float32."""
    ours, device = config.load(), choose_device(None)
    plain, fast, rough = (PlainLocalizer(CLASSES), *(Localizer(CLASSES, ours.model) for _ in range(2)))
    rough.in_precision("bfloat16")
    for network in (plain, fast, rough):
        network.eval().to(device)
    long, short = random_batch([4000], device), random_batch([90] * 8, device)
    exact, low = (Roofline.measure(device, dtype) for dtype in (torch.float32, torch.bfloat16))

    @torch.inference_mode()
    def by_clip(batch: tuple[torch.Tensor, ...]) -> None:
        for clip in batch[0].split(1):
            plain(clip)

    @torch.inference_mode()
    def at_once(model: Localizer, batch: tuple[torch.Tensor, ...]) -> None:
        model(*batch[:2])

    for name, batch in (("one clip of 4,000 frames", long), ("clips of 90 frames", short)):
        ways = (partial(at_once, fast, batch), partial(at_once, rough, batch), partial(by_clip, batch))
        quick, quickest, slow = in_turn(repeats, *ways)
        frames = int(batch[1].sum())
        yield Result(f"infer, {name}", "frames/s", frames / quick, frames / slow)
        yield Result(f"infer, {name}, bfloat16", "frames/s", frames / quickest, frames / slow)
        yield against_roofline(f"infer, {name}", "frames/s", frames, ways[0], quick, exact)
        yield against_roofline(f"infer, {name}, bfloat16", "frames/s", frames, ways[1], quickest, low)


def against_roofline(
    name: str, unit: str, frames: int, work: Callable[[], object], seconds: float, roofline: Roofline
) -> Result:
    """Frames a second as measured, and at the roofline."""
    return Result(f"{name}, against its roofline", unit, frames / seconds, frames / roofline.seconds(work))


def random_batch(
    lengths: np.ndarray | list[int], device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Joints, mask and video labels of clips of these lengths, padded."""
    lengths = torch.as_tensor(lengths)
    mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
    joints = torch.randn(len(lengths), 3, mask.shape[1], 25, 1) * mask.view(len(lengths), 1, -1, 1, 1)
    labels = torch.eye(CLASSES)[torch.arange(len(lengths)) % CLASSES]
    return joints.to(device), mask.to(device), labels.to(device)


def evaluate(repeats: int) -> Iterator[Result]:
    """Proposals and mAP at 7 tIoUs of 2,000 clips × 20 classes; the baseline is plain loops over frames of 20 clips.

    The baseline compares the frames of each detection with those of every true segment of its clip and class. The first
    row searches for these segments among those of all 2,000 clips, the second row among those of the 20 clips.
    """
    clips, classes, sample = 2000, 20, 20
    rng, settings = np.random.default_rng(0), config.load().eval
    scores = [rng.normal(0, 1, (int(t), classes + 1)).cumsum(0) / 6 for t in rng.integers(60, 900, clips)]
    probs = [np.exp(s) / np.exp(s).sum(1, keepdims=True) for s in scores]
    labels = [p[:, :classes] > 0.3 for p in probs]
    video = np.full((clips, classes + 1), 0.5)

    def fast() -> None:
        detection_map(localize(probs, video, settings), ground_truth(labels), classes, settings.tious)

    def slow(true: list[list[Segment]]) -> None:
        found = []
        for clip, p in enumerate(probs[:sample]):
            rows = localize_plainly(p[:, :classes], video[clip, :classes], settings)
            found += [(score, k, (clip, start, end)) for k, start, end, score in rows]
        for tiou in settings.tious:
            _hits_by_sets(found, true, tiou)

    of_all, of_sample = (_by_class(ground_truth(some), classes) for some in (labels, labels[:sample]))
    ours, plain, known = in_turn(repeats, fast, lambda: slow(of_all), lambda: slow(of_sample))
    what = f"evaluate {clips:,} clips x {classes} classes"
    yield Result(f"{what}, all true segments searched", "clips/s", clips / ours, sample / plain)
    yield Result(f"{what}, only those of the sample", "clips/s", clips / ours, sample / known)


def _by_class(truth: Detections, classes: int) -> list[list[Segment]]:
    parts = map(truth.of_class, range(classes))
    return [[(c, int(s), int(e)) for c, (s, e) in zip(p.clip.tolist(), p.segments, strict=True)] for p in parts]


def _hits_by_sets(found: list[tuple[float, int, Segment]], true: list[list[Segment]], tiou: float) -> int:
    """Number of true positives: detections and true segments are compared as sets of frames."""
    taken: set[tuple[int, Segment]] = set()
    for _, k, (clip, start, end) in sorted(found, reverse=True):
        frames, best, at = set(range(start, end)), 0.0, None
        for segment in true[k]:
            if segment[0] == clip and (k, segment) not in taken:
                other = set(range(segment[1], segment[2]))
                overlap = len(frames & other) / len(frames | other)
                if overlap > best:
                    best, at = overlap, segment
        if at and best >= tiou:
            taken.add((k, at))
    return len(taken)
