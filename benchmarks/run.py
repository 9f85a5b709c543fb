"""Speed against plain baselines measured in the same minute.

    python benchmarks/run.py
    python benchmarks/run.py --only train infer --repeats 3 --json speed.json

Each benchmark runs ours and the baseline in turn, N times, in a process of its own, and reports medians, their ratio
and the largest memory of that process, for both. The baselines are plain: smplx's full mesh, `benchmarks/plain.py`
(the network as its description goes), localization frame by frame, and reading the same files with numpy. On a machine
with a GPU, train and infer run there, baseline included; CUDA_VISIBLE_DEVICES= keeps them on the CPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as a script

import torch

from benchmarks.bench_motion import joints, prepare
from benchmarks.bench_network import evaluate, infer, train
from benchmarks.bench_scale import scale, start
from benchmarks.measure import Result
from utils.atomic import write_json
from utils.errors import run_command
from utils.run import provenance

BENCHMARKS = {run.__name__: run for run in (joints, prepare, train, infer, evaluate, start, scale)}


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
    print("| benchmark | unit | ours | baseline | ratio | peak memory |\n|---|---|---|---|---|---|", flush=True)
    for name in args.only:
        with multiprocessing.get_context("spawn").Pool(1) as own:
            results, peak = own.apply(measured, (name, args.repeats))
        for result in results:
            figures = " | ".join(f"{number:,.3g}" if number < 100 else f"{number:,.0f}" for number in result[2:])
            print(f"| {result.name} | {result.unit} | {figures} | {result.ratio:.2g} | {peak:.1f} GiB |", flush=True)
            stored.append({**result._asdict(), "ratio": result.ratio, "peak_GiB": peak})
    machine = {**provenance(), "threads": torch.get_num_threads()}
    print(f"\n{machine['machine']}, {machine['threads']} threads, torch {torch.__version__}, {machine['commit']}")
    if args.json:
        write_json(args.json, {"results": stored, **machine})
    return 0


def measured(name: str, repeats: int) -> tuple[list[Result], float]:
    """A benchmark's results, and the most memory that this process ever held, on the GPU where it used one, in GiB."""
    results = list(BENCHMARKS[name](repeats))
    of_gpu = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_initialized() else 0.0
    return results, of_gpu or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    run_command(main)
