"""Several processes ("ranks") that train one model together, started by torchrun. A single process is rank 0 of 1.

    torchrun --nproc_per_node 4 train.py --config …

torchrun tells each process its rank in environment variables. Rank 0, the main rank, writes and prints for all ranks.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from utils.errors import UserError

# What PyTorch's messages contain when a rank has died or does not answer.
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
PATIENCE = 10  # seconds that a rank waits for torchrun to stop it after another rank has failed
_LAUNCHED = dist.is_torchelastic_launched()  # by torchrun
_RANK, _SIZE = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE")) if _LAUNCHED else (0, 1)
_store: dist.Store | None = None  # shared by all ranks; torchrun keeps it, so it outlives each of them


class LossWeights(NamedTuple):
    """Weights that turn this rank's mean losses into its contribution to the mean over the full optimizer step.

    The defaults are those of a single process that computes the whole batch at once.

    Attributes:
        clips: this rank's clips as a share of the step's clips.
        labelled_frames: this rank's frames with pseudo-labels as a share of the step's.
        multi_view: the frames of all ranks in this pass as a share of the step's. The multi-view loss chooses its
            frames among those of all ranks.
        frames: number of these frames of all ranks; None: as many as the mask holds.
        rows: padded frames N·T of the rank that has most, so that each rank can send as many; None: this rank's.
    """

    clips: float = 1.0
    labelled_frames: float = 1.0
    multi_view: float = 1.0
    frames: int | None = None
    rows: int | None = None


def rank() -> int:
    """This process's number, from 0."""
    return _RANK


def size() -> int:
    """How many processes train together; 1 without torchrun."""
    return _SIZE


def is_main() -> bool:
    """Whether this process writes and prints for all."""
    return rank() == 0


def torchrun_main(main: Callable[[], int]) -> Callable[[], int]:
    """Let `main` run as one of torchrun's ranks. Of several ranks that fail, only the first one says why."""

    @functools.wraps(main)
    def run() -> int:
        global _store
        if size() == 1:
            return main()
        _store = next(rendezvous("env://"))[0]
        try:
            with nullcontext() if is_main() else _silent(stderr=False):
                status = main()
        except SystemExit as end:  # of argparse, on all ranks alike
            if not is_main() and end.code:
                _wait_to_be_stopped()
            raise
        except (Exception, KeyboardInterrupt) as error:
            if not is_first_to_fail():
                _wait_to_be_stopped()
            _report_to_torchrun(error)
            raise
        if status:
            sys.stdout.flush()
            os._exit(status)  # destroying the group would wait for ranks that may be gone
        dist.destroy_process_group()
        return status

    return run


def connect(timeout: float) -> None:
    """Let the ranks exchange tensors from now on. An exchange fails after `timeout` minutes without an answer."""
    if size() > 1:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        store = dist.PrefixStore("group", _store)
        limit = timedelta(minutes=timeout)
        dist.init_process_group(backend, store=store, rank=rank(), world_size=size(), timeout=limit)


def is_first_to_fail() -> bool:
    """Whether no other rank has failed before; a rank that fails asks once. True for a single process."""
    try:
        return _store is None or _store.add("failed", 1) == 1
    except (RuntimeError, ValueError):  # the machine that keeps the store is gone
        return True


def is_loss_of_a_rank(error: BaseException) -> bool:
    """Whether an exchange failed because another rank died or did not answer."""
    return size() > 1 and isinstance(error, RuntimeError) and any(sign in str(error) for sign in LOST)


def main_rank_only() -> AbstractContextManager:
    """Let only the main rank print; for messages that are the same on all ranks."""
    return nullcontext() if is_main() else _silent()


def no_bar() -> bool | None:
    """tqdm's `disable`: the main rank leaves it to tqdm, the others show no progress bar."""
    return None if is_main() else True


def wrap(model: nn.Module, device: torch.device, own_statistics: bool) -> nn.Module:
    """`model` in the form that training calls: its gradients are the mean over ranks.

    Args:
        own_statistics: each rank has batch-norm statistics of its own; those of the main rank are kept.
    """
    if size() == 1:
        return model
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=own_statistics)


def gradients(network: nn.Module, exchange: bool) -> AbstractContextManager:
    """Around a forward and a backward pass: whether the ranks then exchange the gradients that they accumulated."""
    return nullcontext() if exchange or size() == 1 else network.no_sync()


def add_up(x: Tensor) -> Tensor:
    """The sum over ranks, in place and without a gradient."""
    if size() > 1:
        dist.all_reduce(x)
    return x


def stack(x: Tensor) -> Tensor:
    """(…) of each rank, all of one shape → (ranks, …), without a gradient."""
    if size() == 1:
        return x.unsqueeze(0)
    everyone = x.new_empty(size(), *x.shape)
    dist.all_gather_into_tensor(everyone, x.contiguous().unsqueeze(0))
    return everyone


def gather(value: Any) -> list[Any]:
    """The objects of all ranks by rank, on the main rank; [] on the others."""
    if size() == 1:
        return [value]
    everyone = [None] * size() if is_main() else None
    dist.gather_object(value, everyone)
    return everyone or []


def from_main(value: Any) -> Any:
    """The main rank's `value`, on all ranks."""
    box = [value]
    if size() > 1:
        dist.broadcast_object_list(box)
    return box[0]


def balance(costs: list[float], groups: int) -> list[list[int]]:
    """Distribute items over groups of about equal cost. Returns the indices of each group, in rising order.

    The largest item comes first; each item goes to the group whose cost is lowest so far.
    """
    members: list[list[int]] = [[] for _ in range(groups)]
    totals = [0.0] * groups
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = min(range(groups), key=lambda group: (totals[group], len(members[group]), group))
        members[least].append(i)
        totals[least] += costs[i]
    return [sorted(group) for group in members]


def _report_to_torchrun(error: BaseException) -> None:
    """Let torchrun's summary show this error as the cause; PyTorch's own `record` would add a traceback to it."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path and isinstance(error, Exception):
        known = isinstance(error, UserError | OSError)
        text = f"error: {error}" if known else "".join(traceback.format_exception(error))
        details = {"py_callstack": text, "timestamp": str(int(time.time()))}
        Path(path).write_text(json.dumps({"message": {"message": text, "extraInfo": details}}))


def _wait_to_be_stopped() -> NoReturn:
    """Wait for torchrun to stop this rank, so that the first rank that failed has the time to say why."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(PATIENCE)
    os._exit(1)


@contextmanager
def _silent(stderr: bool = True) -> Iterator[None]:
    with (
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere if stderr else sys.stderr),
    ):
        yield
