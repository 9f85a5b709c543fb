"""How a training that is stopped from outside ends: in one message that says how to continue."""

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
from utils.errors import UserError

PATIENCE = 5  # seconds that a signal waits for the main thread, which may hang in an exchange with another rank


def run_until_stopped(train: Callable[[], int], folder: Path, timeout: float) -> int:
    """Run a training. What a user can do something about becomes a UserError that says how to continue.

    Args:
        folder: of the run.
        timeout: minutes that the ranks wait for each other.

    Returns:
        `train`'s exit status, or 130 if a signal stopped it.
    """
    _listen_to_signals(folder)
    try:
        return train()
    except KeyboardInterrupt:
        if distributed.is_first_to_fail():  # otherwise torchrun stops this process because of another one
            print(f"\nstopped; {how_to_continue(folder)}", file=sys.stderr)
        return 130
    except OSError as error:  # a full disk, most likely
        named = f"{error.filename}: " if error.filename else ""
        raise UserError(f"{named}{error.strerror or error}; {how_to_continue(folder)}") from error
    except (MemoryError, RuntimeError) as error:
        if distributed.is_loss_of_a_rank(error):
            raise UserError(
                "another process of this training was killed, lost its machine, or did not answer for "
                f"{timeout:g} minutes (train.timeout); {how_to_continue(folder)}"
            ) from error
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"out of memory ({str(error).splitlines()[0]}); data.workers=0 needs less, and so does "
            f"train.accumulate=2 or a smaller train.batch_size in another --work-dir; {how_to_continue(folder)}"
        ) from error


def how_to_continue(folder: Path) -> str:
    """The end of a message about a training that stopped."""
    again = shlex.join(argument for argument in sys.argv if argument != "--resume")
    by = f"torchrun --nproc_per_node {distributed.size()}" if distributed.size() > 1 else "python"
    if not (folder / "config.yaml").exists():
        return f"nothing had begun. Start with: {by} {again}"
    return f"every finished epoch is kept. Go on with: {by} {again} --resume"


def _listen_to_signals(folder: Path) -> None:
    """Treat SIGTERM, a cluster's "stop", like Ctrl-C; ranks other than the main one end without a message."""
    stop = signal.default_int_handler if distributed.is_main() else signal.SIG_DFL
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if distributed.is_main() and distributed.size() > 1:
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        threading.Thread(target=_stop_hanging, args=(read, folder), daemon=True).start()


def _stop_hanging(signals: int, folder: Path) -> None:
    """Stop the process after a signal if Python does not get to: it cannot while PyTorch waits for another rank."""
    while os.read(signals, 1)[0] not in (signal.SIGTERM, signal.SIGINT):  # a loader process that ends is a signal too
        pass
    time.sleep(PATIENCE)
    print(f"\nstopped; {how_to_continue(folder)}", file=sys.stderr, flush=True)
    os._exit(130)
