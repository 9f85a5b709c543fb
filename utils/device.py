"""Where a network runs, and how to tell that its memory ran out."""

from __future__ import annotations

import torch

from utils import distributed
from utils.errors import UserError


def choose_device(name: str | None) -> torch.device:
    """The device asked for, or the GPU when there is one."""
    if name and name.startswith("cuda:") and distributed.size() > 1:
        raise UserError(f"--device {name}: every process of torchrun takes a GPU of its own; leave --device out")
    if name in (None, "cuda") and distributed.size() > 1 and torch.cuda.is_available():
        return distributed.local_gpu()
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
        raise UserError(f"--device {name}: {str(error).splitlines()[0]}; expected cpu, cuda or cuda:N") from None
    return device


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: on the GPU, on the CPU, or in a loader process, which the system then kills."""
    signs = ("can't allocate memory", "DataLoader worker")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)
