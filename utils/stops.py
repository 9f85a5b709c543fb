"""Ends an interrupted training with one message, which says how to continue."""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils import distributed
from utils.device import is_out_of_memory
from utils.errors import UserError, first_line, reason

# PyTorch's messages contain one of these when a rank has died or does not answer, or the connection has failed
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
UNUSED = "parameters that were not used in producing loss"  # in the message of DistributedDataParallel
PATIENCE = 5  # seconds after a signal or after `train.timeout` until the process is stopped by force


@contextmanager
def explain_interruptions(folder: Path, timeout: float) -> Iterator[None]:
    """Context of a training in `folder`. A signal that stops it ends the main rank with exit status 130.

    Errors that the user can correct become a UserError that says how to continue. The ranks wait for each other for
    `timeout` minutes.
    """
    try:
        with _ended_by_signals(folder):
            if distributed.uses_nccl():
                threading.Thread(target=_end_if_unanswered, args=(folder, timeout), daemon=True).start()
            yield
    except OSError as error:  # most likely a full disk
        raise UserError(f"{reason(error)}; {_how_to_continue(folder)}") from error
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise UserError(
                f"out of memory ({first_line(error)}); {_how_to_continue(folder)}. If it fails again: on a GPU, "
                "--set train.cuda_graphs=false needs less memory. So does a new run in another --work-dir with "
                "train.accumulate=2 or a smaller train.batch_size"
            ) from error
        if UNUSED in str(error):
            raise UserError(
                "your network has parameters that got no gradient in a step, which several ranks do not allow: use "
                "them in every step, or freeze them (requires_grad). TORCH_DISTRIBUTED_DEBUG=INFO prints their names"
            ) from error
        if distributed.size() > 1 and any(sign in str(error) for sign in LOST):
            raise _rank_lost(folder, timeout, str(error).strip().splitlines()[-1]) from error
        raise


def _rank_lost(folder: Path, timeout: float, why: str) -> UserError:
    return UserError(
        "another process of this training was killed, lost its machine, or did not answer for "
        f"{timeout:g} minutes (train.timeout), or the connection failed ({why}); {_how_to_continue(folder)}"
    )


def _how_to_continue(folder: Path) -> str:
    begun = (folder / "config.yaml").exists()
    state = "every finished epoch is kept" if begun else "the training had not begun"
    if distributed.size() > int(os.environ.get("LOCAL_WORLD_SIZE", 1)):  # ranks of this machine, set by torchrun
        return f"{state}. Submit the job again{', with --resume' if begun else ''}"
    by = f"torchrun --nproc_per_node {distributed.size()}" if distributed.size() > 1 else "python"
    again = shlex.join(argument for argument in sys.argv if not argument.startswith("--resume"))
    return f"{state}. Go on with: {by} {again} --resume" if begun else f"{state}. Start it with: {by} {again}"


@contextmanager
def _ended_by_signals(folder: Path) -> Iterator[None]:
    """End the process on Ctrl-C and on SIGTERM, by which clusters stop a job. Only the main rank prints a message.

    The process ends at once, without an exception. A KeyboardInterrupt can arrive inside any library, and some of them
    then crash. Only the epoch that has not ended is lost: all finished epochs survive even SIGKILL (`utils.atomic`).
    """

    def stop(*_: Any) -> None:
        if distributed.report_failure():  # False: another rank failed first and prints its own message
            _say_stopped(folder)
        os._exit(130)

    handler = stop if distributed.is_main() else signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    if distributed.is_main() and distributed.size() > 1:
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        threading.Thread(target=_end_by_force, args=(read, folder), daemon=True).start()
    try:
        yield
    finally:
        if distributed.is_main():  # other ranks keep SIG_DFL, so they end silently
            for number, previous in before.items():
                signal.signal(number, previous)


def _end_by_force(wakeup_fd: int, folder: Path) -> None:
    """End the process some seconds after a signal. Python handles no signal while PyTorch waits for another rank."""
    while os.read(wakeup_fd, 1)[0] not in (signal.SIGTERM, signal.SIGINT):
        pass
    time.sleep(PATIENCE)
    if distributed.report_failure():  # as in `stop`
        _say_stopped(folder)
    os._exit(130)


def _end_if_unanswered(folder: Path, timeout: float) -> None:
    """End the process if a pass (a micro-batch) takes longer than `timeout` minutes.

    Most likely another rank hangs. The main thread then waits for NCCL, which raises no error there.
    """
    began, seconds = None, 0
    while seconds < 60 * timeout + PATIENCE:
        time.sleep(1)
        before, began = began, distributed.pass_began
        # Counts sleeps and reads no clock, so time in which the process is suspended does not count
        seconds = seconds + 1 if began and began == before else 0
    try:
        if distributed.report_failure():
            distributed.end_with_message(_rank_lost(folder, timeout, "no answer"))
        time.sleep(PATIENCE / 2)  # until the rank that was first has printed its message
    finally:
        os._exit(1)


def _say_stopped(folder: Path) -> None:
    """Print the message. It does not use sys.stderr, which may be in use by the code that the signal interrupted."""
    os.write(2, f"\nstopped; {_how_to_continue(folder)}\n".encode())
