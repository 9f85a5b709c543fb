"""The network against the plain one (benchmarks/plain.py).

Both networks run on the GPU when there is one, in the same precision. Ours is also compared with the roofline of the
device (benchmarks/roofline.py).
"""

import copy
import math
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.measure import Result, gpu_memory, median_seconds
from benchmarks.plain import PlainLocalizer
from benchmarks.roofline import Roofline
from feeders.batches import Batch, epoch_batches
from feeders.micro_batches import FRAME_MULTIPLE
from model.cuda_graphs import CUDAGraphs, uses_cuda_graphs
from model.inference import for_inference
from model.localizer import Localizer
from model.losses import objective
from utils import config
from utils.config import ROOT
from utils.device import choose_device, compile_blocks, set_matrix_precision

CLASSES = 4
PRECISIONS = {"cpu": ("float32", "bfloat16"), "cuda": ("float32", "TF32", "bfloat16")}
# Frames of 24 training clips: evenly spaced quantiles of the lengths in real_mocap (docs/results.md)
LENGTHS = (139, 182, 201, 225, 243, 255, 277, 309, 325, 348, 379, 399, 421, 438, 460, 482, 500, 520, 537, 551, 570, 591)
LENGTHS += (602, 687)


def train(repeats: int) -> Iterator[Result]:
    """Frames per second, padding not counted, of training steps on random clips with real_mocap's lengths.

    Identical batches: both networks get the same random batches and treat padding as real. Bucketed: ours has
    bucketed batches and its default settings, without CUDA graphs. On a GPU, another row has CUDA graphs.
    """
    released, ours, device = config.load([ROOT / "config" / "released.yaml"]), config.load(), choose_device(None)
    random, bucketed = batches(released, device), batches(ours, device)
    frames, unit = sum(LENGTHS), "real frames/s"

    for precision, roofline in in_each_precision(device):
        torch.manual_seed(5)
        networks = PlainLocalizer(CLASSES), Localizer(CLASSES, released.model), Localizer(CLASSES, ours.model)
        plain, same, fast = (network.in_precision(precision).to(device) for network in networks)
        works = {
            "plain": epoch_work(plain, random, released),
            "identical batches": epoch_work(same, random, released),
            "bucketed": epoch_work(fast, bucketed, ours),
        }
        if uses_cuda_graphs(ours, device):
            captured = CUDAGraphs(copy.deepcopy(fast))
            works["bucketed, CUDA graphs"] = epoch_work(captured, batches(ours, device, FRAME_MULTIPLE), ours)
        memory = gpu_memory(*works.values())  # before the timing: recording takes the most memory
        seconds = dict(zip(works, median_seconds(repeats, *works.values()), strict=True))
        for place, name in enumerate(works):
            if name != "plain":
                rates = frames / seconds[name], frames / seconds["plain"]
                taken = memory and (memory[place], memory[0])
                yield Result(f"train, {name}, {precision}", unit, *rates, taken)
        name, least = f"train, bucketed, {precision}, against its roofline", roofline.seconds(works["bucketed"])
        yield Result(name, unit, frames / seconds["bucketed"], frames / least)


def train_compiled(repeats: int) -> Iterator[Result]:
    """As `train`, on a GPU. Ours is compiled and gets bucketed batches. The plain network is both eager and compiled.

    Compiling takes minutes. So other processes compile first, one precision each. What they compile stays in PyTorch's
    cache.
    """
    if choose_device(None).type == "cpu":  # where the CPU path is faster than compiled code
        return
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as processes:
        list(processes.map(compile_both, PRECISIONS["cuda"]))
    for precision in PRECISIONS["cuda"]:
        torch.compiler.reset()
        works = compiled_works(precision)
        seconds, memory = median_seconds(repeats, *works), gpu_memory(*works)
        for place, name in ((1, "against eager"), (2, "both compiled")):
            rates = (sum(LENGTHS) / seconds[i] for i in (0, place))
            yield Result(f"train compiled, {precision}, {name}", "real frames/s", *rates, (memory[0], memory[place]))


def compile_both(precision: str) -> None:
    """Compile our network and the plain one by training them."""
    ours, _, plain = compiled_works(precision)
    ours()
    plain()


def compiled_works(precision: str) -> tuple[Callable[[], None], ...]:
    """An epoch of our compiled network, of the plain network, and of the plain network compiled."""
    released, ours, device = config.load([ROOT / "config" / "released.yaml"]), config.load(), choose_device(None)
    set_matrix_precision("high" if precision == "TF32" else "highest")
    random, bucketed = batches(released, device), batches(ours, device, FRAME_MULTIPLE)
    torch.manual_seed(5)
    networks = PlainLocalizer(CLASSES), Localizer(CLASSES, ours.model)
    plain, fast = (network.in_precision(precision).to(device) for network in networks)
    compile_blocks(fast.backbone.blocks, ours.train)
    compiled = torch.compile(plain, dynamic=True)
    return epoch_work(fast, bucketed, ours), epoch_work(plain, random, released), epoch_work(compiled, random, released)


def batches(settings: config.Settings, device: torch.device, multiple: int = 1) -> list[Batch]:
    """The random clips of an epoch in batches of 8. The default settings bucket them; config/released.yaml does not."""
    lengths = np.array(LENGTHS)
    return [random_batch(lengths[batch], device, multiple) for batch in epoch_batches(lengths, settings, 0)]


def in_each_precision(device: torch.device) -> Iterator[tuple[str, Roofline]]:
    """The precisions that a device is measured in, and its roofline in each. Only "TF32" allows TF32."""
    for precision in PRECISIONS[device.type]:
        set_matrix_precision("high" if precision == "TF32" else "highest")
        yield precision, Roofline.measure(device, torch.bfloat16 if precision == "bfloat16" else torch.float32)


def epoch_work(network: nn.Module, batches: Iterable[Batch], settings: config.Settings) -> Callable[[], None]:
    """One pass over the batches, a training step on each, as work that can be timed."""
    fused = next(network.parameters()).is_cuda
    adam = torch.optim.Adam(network.parameters(), 1e-3, weight_decay=1e-4, fused=fused)
    network.train()

    def run() -> None:
        for batch in batches:
            output = network(batch.joints, batch.mask, batch.lengths)
            loss = objective(output, batch.video_labels, batch.mask, None, settings)["total"]
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()

    return run


def infer(repeats: int) -> Iterator[Result]:
    """One long clip, and 8 clips: one by one through the plain network, in a padded batch through ours."""
    settings, device = config.load().model, choose_device(None)
    inputs = {
        "one clip of 4,000 frames": random_batch([4000], device),
        "8 clips of 139 to 591 frames": random_batch(LENGTHS[::3], device),
        "8 clips of 90 frames": random_batch([90] * 8, device),
    }

    @torch.inference_mode()
    def one_by_one(network: nn.Module, batch: Batch) -> None:
        for clip in zip(batch.joints.split(1), batch.mask.split(1), batch.lengths.split(1), strict=True):
            network(*clip)

    @torch.inference_mode()
    def at_once(network: nn.Module, batch: Batch) -> None:
        network(batch.joints, batch.mask, batch.lengths)

    for precision, roofline in in_each_precision(device):
        plain = PlainLocalizer(CLASSES).in_precision(precision).to(device).eval()
        fast = for_inference(Localizer(CLASSES, settings).in_precision(precision).to(device))
        for clips, batch in inputs.items():
            name, frames = f"infer, {clips}, {precision}", int(batch.lengths.sum())
            works = partial(at_once, fast, batch), partial(one_by_one, plain, batch)
            quick, slow = median_seconds(repeats, *works)
            yield Result(name, "frames/s", frames / quick, frames / slow, gpu_memory(*works))
            least = roofline.seconds(works[0])
            yield Result(f"{name}, against its roofline", "frames/s", frames / quick, frames / least)


def random_batch(lengths: Iterable[int], device: torch.device, multiple: int = 1) -> Batch:
    """A batch of random clips of these lengths, padded to a multiple of `multiple` frames."""
    lengths = torch.as_tensor(lengths)
    N, T = len(lengths), math.ceil(lengths.max() / multiple) * multiple
    mask = torch.arange(T) < lengths.unsqueeze(1)
    joints = torch.randn(N, 3, T, 25, 1) * mask.view(N, 1, T, 1, 1)
    video_labels = torch.eye(CLASSES)[torch.arange(N) % CLASSES]
    return Batch(joints, mask, lengths, video_labels, torch.arange(N)).to(device)
