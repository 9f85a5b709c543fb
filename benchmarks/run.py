"""Speed against plain baselines, which are measured in turn with our code.

    python benchmarks/run.py
    python benchmarks/run.py --only joints train infer                 # the fast ones that use a GPU

Each benchmark has a process of its own. It runs ours and the baseline in turn, N times (prepare: N // 3 times, at least
once), and reports medians and their ratio. Among the baselines are smplx's full mesh, the plain network
(`benchmarks/plain.py`), and reading the same files with numpy.

If there is a GPU, joints, train, compiled and infer run on it with their baselines, as does the training of `start`.
With an empty CUDA_VISIBLE_DEVICES they run on the CPU, and `compiled` is skipped. On a GPU, train, compiled and infer
show the memory of the tensors of ours and of the baseline. Other rows show the peak of the benchmark's process or of
the largest one that it started.
"""

import argparse
import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # when run as a script

from utils.command_line import argument_parser, check_first, number

MEMORY_OF = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
NAMES = ("joints", "prepare", "train", "compiled", "infer", "start", "scale")


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python benchmarks/run.py")
    add = parser.add_argument
    add("--only", nargs="+", choices=NAMES, default=NAMES, help="which ones (default: all)")
    repeats = "of each measurement, but N // 3 of prepare (default: 5)"
    add("--repeats", type=number(1), default=5, metavar="N", help=repeats)
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import torch

from benchmarks.bench_data import joints, prepare, scale, start
from benchmarks.bench_network import infer, train, train_compiled
from utils.device import choose_device
from utils.errors import run_command
from utils.run import provenance

BENCHMARKS = {
    "joints": joints,
    "prepare": prepare,
    "train": train,
    "compiled": train_compiled,
    "infer": infer,
    "start": start,
    "scale": scale,
}


def main() -> None:
    args = parse_arguments()
    print("| benchmark | unit | ours | baseline | ratio | memory |\n|---|---|---|---|---|---|", flush=True)
    for name in args.only:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:
            own.submit(measure, name, args.repeats).result()
    machine = provenance(choose_device(None))
    where = f"{machine['machine']}, {torch.get_num_threads()} threads, {machine['accelerator'] or 'no GPU'}"
    print(f"\n{where}, torch {torch.__version__}, {machine['commit']}")


def measure(name: str, repeats: int) -> None:
    """Run a benchmark. Each row is printed as soon as it is measured."""
    for result in BENCHMARKS[name](repeats):
        held = max(resource.getrusage(whose).ru_maxrss for whose in MEMORY_OF) / 2**20
        memory = "{:.1f} and {:.1f} GiB of GPU".format(*result.memory) if result.memory else f"{held:.1f} GiB"
        figures = (f"{number:,.3g}" if number < 100 else f"{number:,.0f}" for number in (result.ours, result.baseline))
        row = (result.name, result.unit, *figures, f"{result.ours / result.baseline:.2g}", memory)
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    run_command(main)
