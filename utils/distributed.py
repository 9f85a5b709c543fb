"""Several processes ("ranks") that train one model together, started by torchrun; alone, all of this does nothing.

    torchrun --nproc_per_node 4 train.py --config …

torchrun tells each process its rank by environment variables. Rank 0, the main one, writes and prints for all.
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
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from utils.errors import UserError

LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")  # in torch's words on a dead rank
PATIENCE = 10  # seconds until a rank ends by itself when another has failed
_store: dist.Store | None = None  # shared by all ranks; torchrun keeps it, so that it outlives each of them


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes train together; 1 without torchrun."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process writes and prints for all."""
    return rank() == 0


def member(main: Callable[[], int]) -> Callable[[], int]:
    """Let `main` run as one of torchrun's ranks: they meet first, and only the first one that fails says why."""

    @functools.wraps(main)
    def joined() -> int:
        if not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
            return main()
        _meet()
        try:
            with nullcontext() if is_main() else _silent(stderr=False):
                status = main()
        except SystemExit as end:  # of argparse, on all ranks alike
            if not is_main() and end.code:
                _wait_for_the_end()
            raise
        except (Exception, KeyboardInterrupt) as error:
            if not is_first_to_fail():
                _wait_for_the_end()
            _tell_torchrun(error)
            raise
        if status:
            sys.stdout.flush()
            os._exit(status)  # at once: others may be gone already
        dist.destroy_process_group()
        return status

    return joined


def local_gpu() -> torch.device:
    """The GPU of this rank: one for each process of a machine. Raises UserError when there are fewer."""
    local, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= found:
        raise UserError(
            f"torchrun started {os.environ.get('LOCAL_WORLD_SIZE')} processes on a machine with {found} GPUs: give "
            f"--nproc_per_node {found}, or --device cpu after train.py"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def is_first_to_fail() -> bool:
    """Whether no other rank has failed before; asked once by a rank that fails, and true where it is alone."""
    try:
        return _store is None or _store.add("failed", 1) == 1
    except (RuntimeError, ValueError):  # the machine that keeps the store is gone
        return True


def is_loss_of_a_rank(error: BaseException) -> bool:
    """Whether an exchange failed, which it does when another rank has died."""
    return size() > 1 and isinstance(error, RuntimeError) and any(sign in str(error) for sign in LOST)


def silent_unless_main() -> AbstractContextManager:
    """What all ranks would print alike, comes from the main one alone."""
    return nullcontext() if is_main() else _silent()


def no_bar() -> bool | None:
    """tqdm's `disable`: as it sees fit on the main rank, and no progress bar on others."""
    return None if is_main() else True


def wrap(model: nn.Module, device: torch.device, own_statistics: bool) -> nn.Module:
    """`model` as it is to be called in training: its gradients are then the mean over ranks.

    Args:
        own_statistics: of batch norm, different on each rank: the main one's are kept.
    """
    if size() == 1:
        return model
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=own_statistics)


def exchange_gradients(network: nn.Module, now: bool) -> None:
    """Before a forward pass: whether its backward pass ends in the mean over ranks of all gradients gathered so far."""
    if isinstance(network, DistributedDataParallel):
        network.require_backward_grad_sync = now  # what its no_sync() sets, without a block around both passes


def add_up(x: Tensor) -> Tensor:
    """The sum over ranks, in place and without a gradient."""
    if size() > 1:
        dist.all_reduce(x)
    return x


def stack(x: Tensor) -> Tensor:
    """(…) of each rank, all of one shape → (ranks, …); without a gradient."""
    if size() == 1:
        return x.unsqueeze(0)
    everyone = [torch.empty_like(x) for _ in range(size())]
    dist.all_gather(everyone, x.contiguous())
    return torch.stack(everyone)


def gather_rows(rows: Tensor) -> tuple[Tensor, slice]:
    """(n, …) of each rank → all of them one after another, and which are this rank's; without a gradient."""
    if size() == 1:
        return rows.detach(), slice(0, len(rows))
    counts = stack(torch.tensor(len(rows), device=rows.device)).tolist()
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    everyone = [part[:count] for part, count in zip(stack(padded), counts, strict=True)]
    start = sum(counts[: rank()])
    return torch.cat(everyone), slice(start, start + len(rows))


def gather(value: Any) -> list[Any]:
    """Any object of each rank → all of them, in the order of the ranks, on the main one; [] on others."""
    if size() == 1:
        return [value]
    everyone = [None] * size() if is_main() else None
    dist.gather_object(value, everyone)
    return everyone or []


def from_main(value: Any) -> Any:
    """The main rank's `value`, on all."""
    box = [value]
    if size() > 1:
        dist.broadcast_object_list(box)
    return box[0]


def deal(costs: list[float], hands: int) -> list[list[int]]:
    """Share out things among `hands`, largest first, each to whoever has least; then each hand in rising order."""
    dealt: list[list[int]] = [[] for _ in range(hands)]
    totals = [0.0] * hands
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = min(range(hands), key=lambda hand: (totals[hand], len(dealt[hand]), hand))
        dealt[least].append(i)
        totals[least] += costs[i]
    return [sorted(hand) for hand in dealt]


def _meet() -> None:
    global _store
    _store, number, count = next(rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=dist.PrefixStore("group", _store), rank=number, world_size=count)


def _tell_torchrun(error: BaseException) -> None:
    """Let torchrun's last words be about this error, and not about a rank that ended because of it."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path and isinstance(error, Exception):
        known = isinstance(error, UserError | OSError)
        text = f"error: {error}" if known else "".join(traceback.format_exception(error))
        details = {"py_callstack": text, "timestamp": str(int(time.time()))}
        Path(path).write_text(json.dumps({"message": {"message": text, "extraInfo": details}}))


def _wait_for_the_end() -> NoReturn:
    """Wait for torchrun to stop this rank, so that the one that has something to say is not stopped before it does."""
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
