"""Ends an interrupted training with one message, which says how to continue."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from utils import distributed
from utils.device import is_out_of_memory
from utils.errors import UserError, reason

PATIENCE = 5  # seconds from a signal until the process is stopped by force


def run_until_stopped(train: Callable[[], int], folder: Path, timeout: float) -> int:
    """Run a training. Errors that the user can correct become a UserError that says how to continue.

    Args:
        folder: of the run.
        timeout: minutes that the ranks wait for each other.

    Returns:
        The exit status of `train`, or 130 if a signal stopped it.
    """
    _listen_to_signals(folder)
    try:
        return train()
    except KeyboardInterrupt:
        if distributed.report_failure():  # otherwise torchrun stops this rank because another one failed
            print(f"\nstopped; {_how_to_continue(folder)}", file=sys.stderr)
        return 130
    except OSError as error:  # most likely a full disk
        raise UserError(f"{reason(error)}; {_how_to_continue(folder)}") from error
    except (MemoryError, RuntimeError) as error:
        if distributed.is_loss_of_a_rank(error):
            raise UserError(
                "another process of this training was killed, lost its machine, or did not answer for "
                f"{timeout:g} minutes (train.timeout); {_how_to_continue(folder)}"
            ) from error
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"out of memory ({str(error).splitlines()[0]}); train.accumulate=2 or a smaller "
            f"train.batch_size in another --work-dir needs less; {_how_to_continue(folder)}"
        ) from error


def _how_to_continue(folder: Path) -> str:
    again = shlex.join(argument for argument in sys.argv if not argument.startswith("--resume"))
    by = f"torchrun --nproc_per_node {distributed.size()}" if distributed.size() > 1 else "python"
    if not (folder / "config.yaml").exists():
        return f"nothing had begun. Start with: {by} {again}"
    return f"every finished epoch is kept. Go on with: {by} {again} --resume"


def _listen_to_signals(folder: Path) -> None:
    """Treat SIGTERM, by which clusters stop a job, like Ctrl-C. Only the main rank prints a message."""
    stop = signal.default_int_handler if distributed.is_main() else signal.SIG_DFL
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if distributed.is_main() and distributed.size() > 1:
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        threading.Thread(target=_stop_hanging, args=(read, folder), daemon=True).start()


def _stop_hanging(signals: int, folder: Path) -> None:
    """Stop the process some seconds after a signal. Python handles no signal while PyTorch waits for another rank."""
    while os.read(signals, 1)[0] not in (signal.SIGTERM, signal.SIGINT):
        pass
    time.sleep(PATIENCE)
    print(f"\nstopped; {_how_to_continue(folder)}", file=sys.stderr, flush=True)
    os._exit(130)
