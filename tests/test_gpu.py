"""Training on a GPU, if there is one. A tool that is not part of the project counts what a GPU would do."""

import copy
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from runs import ROOT, command, finish, rows, small

from benchmarks.bench_network import random_batch
from feeders.micro_batches import FRAME_MULTIPLE
from model.cuda_graphs import CUDAGraphs
from model.localizer import Localizer
from model.losses import objective
from model.ops.batch_norm import moments
from utils import config
from utils.store import Split

TOOL = ROOT.parent / "shared" / "tools" / "pretend_gpu.py"

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
needs_tool = pytest.mark.skipif(not TOOL.exists() or shutil.which("g++") is None, reason="needs pretend_gpu.py and g++")


@on_gpu
@pytest.mark.parametrize("masked", [True, False])
def test_a_gpu_computes_the_loss_and_the_gradients_that_a_cpu_does(masked: bool) -> None:
    settings = config.load(assignments=["model.width=32", f"model.mask_padding={masked}"])
    torch.manual_seed(0)
    batch = random_batch([77, 91, 40, 112, 9, 64], torch.device("cpu"))
    model = Localizer(4, settings.model).double()
    found = []
    for device in map(torch.device, ("cpu", "cuda")):
        here, moved = batch.to(device), copy.deepcopy(model).to(device)
        output = moved(here.joints, here.mask, here.lengths)
        loss = objective(output, here.video_labels, here.mask, None, settings)["total"]
        loss.backward()
        found.append([loss.detach().cpu(), *(parameter.grad.cpu() for parameter in moved.parameters())])
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=1e-10)


@on_gpu
def test_a_mean_ten_thousand_times_the_deviation_costs_float32_no_precision() -> None:
    torch.manual_seed(0)
    x = (1e4 + torch.randn(2, 400, 25, 64, dtype=torch.float64)).float().cuda().permute(0, 3, 1, 2)
    mask = torch.arange(400, device="cuda") < torch.tensor([[400], [233]], device="cuda")
    real = x.permute(0, 2, 3, 1)[mask].flatten(0, 1).double()
    _, mean, var = moments(x, mask)
    torch.testing.assert_close(mean.double(), real.mean(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(var.double(), real.var(0, correction=0), rtol=1e-3, atol=0)


@on_gpu
@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_a_replayed_network_computes_what_it_computes_without_a_recording(precision: str) -> None:
    """Two shapes, captured once and replayed with other clips. An optimizer steps in between."""
    device, settings = torch.device("cuda"), config.load(assignments=["model.width=32"])
    torch.manual_seed(0)
    shapes = ([77, 91, 40, 112], [128, 64, 9, 100], [50, 60, 64]) * 2
    batches = [random_batch(lengths, device, FRAME_MULTIPLE) for lengths in shapes]
    model = Localizer(4, settings.model).in_precision(precision).to(device)
    networks = copy.deepcopy(model), CUDAGraphs(model)
    losses: list[list[float]] = [[], []]
    for network, found in zip(networks, losses, strict=True):
        adam = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
        for batch in batches:
            output = network(batch.joints, batch.mask, batch.lengths)
            loss = objective(output, batch.video_labels, batch.mask, None, settings)["total"]
            loss.backward()
            adam.step()
            adam.zero_grad(set_to_none=True)
            found.append(loss.item())
    exact = precision == "float64"
    assert len(networks[1].captures) == 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-9 if exact else 1e-2)
    running = [dict(network.named_buffers()) for network in (networks[0], model)]
    torch.testing.assert_close(*running, rtol=1e-7 if exact else 0.1, atol=1e-9 if exact else 0.1)


@on_gpu
def test_a_run_on_a_gpu_trains_refines_and_resumes(prepared: Path, tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    exact = "train.precision=float64"
    finish(command(*small(prepared, whole, exact, device="cuda")))
    finish(command(*small(prepared, resumed, exact, "train.epochs=2", device="cuda")))
    finish(command("--resume", *small(prepared, resumed, exact, device="cuda")))
    losses = [[row["loss"]["total"] for row in rows(run)] for run in (whole, resumed)]
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)  # atomic additions are not always in the same order


@on_gpu
def test_batches_with_two_people_train_beside_captured_ones(make_split: Callable[..., Split], tmp_path: Path) -> None:
    """A batch with two people is not captured. CUDA captures nothing while its autograd graph exists."""
    make_split(train=[64, 60, 64, 61, 50, 64], val=[35], pairs=("train0", "train1", "train4"))
    settings = "data.split=tiny", "train.batch_size=1", "train.precision=float64"
    losses = []
    for name, graphs in (("captured", "true"), ("not captured", "false")):
        finish(command(*small(tmp_path, tmp_path / name, *settings, f"train.cuda_graphs={graphs}", device="cuda")))
        losses.append([row["loss"]["total"] for row in rows(tmp_path / name)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-8)


@on_gpu
@pytest.mark.parametrize("backend", ["gloo", "nccl"])
def test_two_ranks_on_one_gpu_train_as_one_process_does(prepared: Path, tmp_path: Path, backend: str) -> None:
    runs = tmp_path / "one", tmp_path / "two"
    one, two = (small(prepared, run, "train.precision=float64", device="cuda") for run in runs)
    finish(command(*one))
    script = str(ROOT / "tests" / "ranks_on_one_gpu.py")
    finish([sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", script, backend, *two])
    last = [rows(run)[-1] for run in runs]
    assert last[1]["loss"]["total"] == pytest.approx(last[0]["loss"]["total"], rel=1e-9)
    assert last[1]["corrected"] == last[0]["corrected"]


@needs_tool
def test_a_step_waits_for_the_gpu_at_most_twice(make_split: Callable[..., Split], tmp_path: Path) -> None:
    """Once to see whether the loss of the step before is finite; the rest is what ends an epoch."""
    make_split(train=[41, 30, 64, 18, 52], val=[35])
    settings = "data.split=tiny", "train.epochs=1", "train.supervised=true", "train.batch_size=2"
    line = small(tmp_path, tmp_path / "run", *settings, device="cuda")
    outcome = subprocess.run([sys.executable, TOOL, "train.py", *line], cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    waits = float(re.search(r"a step has ([\d.]+) synchronisations", outcome.stdout)[1])
    assert 1 <= waits <= 2, outcome.stdout


@needs_tool
def test_a_step_takes_no_more_operations_and_less_memory_traffic_than_the_plain_network() -> None:
    """On the same padded batch at full width. Adam is part of the step. Masking the padding costs memory traffic."""

    def count(network: str) -> tuple[int, float]:
        line = [sys.executable, TOOL, "tests/one_step.py", network]
        printed = subprocess.run(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
        operations, moved = re.search(r"a step has .* ([\d,]+) operations, ([\d.]+) GB moved", printed).groups()
        return int(operations.replace(",", "")), float(moved)

    with ThreadPoolExecutor() as pool:
        (operations, moved), all_frames, default = pool.map(count, ("plain", "all-frames", "default"))
    assert all_frames[0] <= operations
    assert all_frames[1] <= 0.85 * moved
    assert default[0] <= operations
    assert default[1] <= 0.95 * moved
