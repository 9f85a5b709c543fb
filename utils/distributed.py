"""Several processes ("ranks") that train one model together, started by torchrun. A single process is rank 0 of 1.

    torchrun --nproc_per_node 4 train.py --config …

torchrun tells each process its rank in environment variables. Rank 0 is the main rank. It alone writes and prints,
except that the first rank that fails prints its error.
"""

import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import get_error_handler
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from utils.errors import UserError

PATIENCE = 10  # seconds that a rank waits for torchrun to stop it after another rank has failed
_LAUNCHED = dist.is_torchelastic_launched()  # by torchrun
_RANK = int(os.environ["RANK"]) if _LAUNCHED else 0
_SIZE = int(os.environ["WORLD_SIZE"]) if _LAUNCHED else 1
_store: dist.Store | None = None  # key-value store of all ranks; torchrun holds it, so it outlives each rank
pass_began: float | None = None  # when this rank began its present pass (a micro-batch); None between epochs


class LossNormalization(NamedTuple):
    """Numbers that turn the losses of one micro-batch into its contributions to the losses of the full optimizer step.

    Feeders make them, and the losses use them. Three weights are factors on the losses. The two numbers of frames are
    for the multi-view loss, which selects its frames among those of all ranks. The defaults are for one process that
    computes the whole batch at once.
    """

    clip_weight: float = 1.0  # clips of the micro-batch / clips of the step
    label_weight: float = 1.0  # frames with pseudo-labels in the micro-batch / in the step
    multi_view_weight: float = 1.0  # frames of all ranks in this pass / frames of the step
    frames_of_ranks: int | None = None  # frames of all ranks that count in this pass; None: the frames in the mask
    max_frames_of_a_rank: int | None = None  # largest N·T of a rank in this pass, with padding; None: of this rank


def rank() -> int:
    """Number of this process, from 0."""
    return _RANK


def size() -> int:
    """Number of processes that train together; 1 without torchrun."""
    return _SIZE


def is_main() -> bool:
    """Whether this process writes and prints for all ranks."""
    return rank() == 0


def torchrun_main(main: Callable[[], int]) -> Callable[[], int]:
    """`main`, ready to run as one of torchrun's ranks. If several ranks fail, only the first one prints its error."""

    @functools.wraps(main)
    def run() -> int:
        global _store
        if size() == 1:
            return main()
        # With --max-restarts, torchrun keeps the store, with the addresses and failures of the attempt before. Several
        # machines may count restarts differently
        attempt = os.environ["TORCHELASTIC_RESTART_COUNT"] if os.environ["LOCAL_WORLD_SIZE"] == str(_SIZE) else ""
        _store = dist.PrefixStore(attempt, next(rendezvous("env://"))[0])
        try:
            with main_rank_only(stderr=False):
                status = main()
        except SystemExit as end:  # raised by argparse on all ranks
            if not is_main() and end.code:
                _wait_to_be_stopped()
            raise
        except (Exception, KeyboardInterrupt) as error:
            if not report_failure():
                _wait_to_be_stopped()
            if isinstance(error, Exception):
                _report_to_torchrun(error)
            raise
        if not status:  # after a failure, this call would wait for ranks that may have died
            dist.destroy_process_group()
        sys.stdout.flush()
        os._exit(status)  # Python's own shutdown was seen to abort (SIGABRT) after a finished run

    return run


@contextmanager
def main_rank_only(stderr: bool = True) -> Iterator[None]:
    """Let only the main rank print to stdout and, if `stderr`, to stderr."""
    if is_main():
        yield
        return
    with Path(os.devnull).open("w") as null, redirect_stdout(null), redirect_stderr(null if stderr else sys.stderr):
        yield


def connect(timeout: float) -> None:
    """Let the ranks exchange tensors from now on. An exchange fails after `timeout` minutes without an answer.

    With NCCL, PyTorch waits one minute longer and then aborts the process. `utils.stops` ends it before with a message.
    """
    if size() > 1:
        backend = "cpu:gloo,cuda:nccl" if uses_nccl() else "gloo"
        store = dist.PrefixStore("group", _store)
        limit = timedelta(minutes=timeout + uses_nccl())
        dist.init_process_group(backend, store=store, rank=rank(), world_size=size(), timeout=limit)


def uses_nccl() -> bool:
    """Whether ranks on GPUs exchange tensors by NCCL."""
    return size() > 1 and torch.cuda.is_available()


def begin_pass() -> None:
    """Note that this rank begins a pass. `utils.stops` ends the process if a pass takes too long."""
    global pass_began
    pass_began = time.monotonic()


def end_passes() -> None:
    """Note that no pass is under way."""
    global pass_began
    pass_began = None


def report_failure() -> bool:
    """Tell the other ranks that this rank fails; call it once. Returns whether this rank is the first to fail."""
    try:
        return _store is None or _store.add("failed", 1) == 1
    except (RuntimeError, ValueError):  # the machine of the key-value store is gone
        return True


def end_with_message(error: Exception) -> NoReturn:
    """End the process from a thread, while the main thread waits for another rank."""
    try:
        os.write(2, f"error: {error}\n".encode())
        try:
            raise error  # torchrun shows the exception that is being handled
        except Exception:
            _report_to_torchrun(error)
    finally:
        os._exit(1)


def wrap(model: nn.Module, device: torch.device, own_statistics: bool) -> nn.Module:
    """`model` for training: its gradients are averaged over ranks.

    With `own_statistics`, each rank computes the batch-norm statistics of its own clips, and all ranks begin each step
    with the running statistics of the main rank.
    """
    if size() == 1:
        return model
    devices = [device] if device.type == "cuda" else None
    begin_pass()  # the ranks wait for each other, as in a pass
    wrapped = DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=own_statistics)
    end_passes()
    return wrapped


def gradient_exchange(network: nn.Module, enabled: bool) -> AbstractContextManager:
    """Begin a pass. In this context, backward adds to the gradients, and the ranks average them if `enabled`."""
    begin_pass()
    return nullcontext() if enabled or size() == 1 else network.no_sync()


def all_reduce(x: Tensor) -> Tensor:
    """Sum over ranks, in place and without a gradient."""
    if size() > 1:
        dist.all_reduce(x)
    return x


def all_gather(x: Tensor) -> Tensor:
    """The tensors `x` of all ranks, stacked: (ranks, …). All must have the same shape; no gradient."""
    if size() == 1:
        return x.unsqueeze(0)
    gathered = x.new_empty(size(), *x.shape)
    dist.all_gather(list(gathered), x.contiguous())
    return gathered


def gather(value: Any) -> list[Any]:
    """On the main rank: the objects `value` of all ranks, by rank. On other ranks: []."""
    if size() == 1:
        return [value]
    gathered = [None] * size() if is_main() else None
    dist.gather_object(value, gathered)
    return gathered or []


def broadcast_buffers(model: nn.Module) -> None:
    """Copy the main rank's buffers, such as running statistics, to all ranks."""
    if size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def broadcast(value: Any) -> Any:
    """The main rank's `value`, on all ranks."""
    box = [value]
    if size() > 1:
        dist.broadcast_object_list(box)
    return box[0]


def _report_to_torchrun(error: Exception) -> None:
    """Show `error` as the root cause in torchrun's summary; a traceback only where the user needs one."""
    if isinstance(error, UserError | OSError):
        error.__traceback__ = error.__cause__ = None
        error.__suppress_context__ = True
    get_error_handler().record_exception(error)


def _wait_to_be_stopped() -> NoReturn:
    """Wait for torchrun to stop this rank. Meanwhile the rank that failed first prints its error."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(PATIENCE)
    os._exit(1)
