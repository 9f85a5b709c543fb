"""Where a network runs, how exactly its matrix products are computed, and how to tell that memory ran out."""

from __future__ import annotations

import os

import torch

from utils import distributed
from utils.errors import UserError


def choose_device(name: str | None) -> torch.device:
    """The device that the user named, or else a GPU when there is one.

    Raises:
        UserError: there is no such device, or fewer GPUs than processes.
    """
    if name and name.startswith("cuda:") and distributed.size() > 1:
        raise UserError(f"--device {name}: every process of torchrun takes a GPU of its own; leave --device out")
    if name in (None, "cuda") and distributed.size() > 1 and torch.cuda.is_available():
        return _gpu_of_this_rank()
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
        raise UserError(f"--device {name}: {str(error).splitlines()[0]}; expected cpu, cuda or cuda:N") from None
    return device


def set_matrix_precision(name: str) -> None:
    """Allow TF32 in float32 matrix products and convolutions on a GPU ("high"), or forbid it ("highest").

    PyTorch's own default allows it in convolutions only. A CPU computes in float32 either way.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "high"


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: on the GPU, on the CPU, or in a loader process, which the system then kills."""
    signs = ("can't allocate memory", "DataLoader worker")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)


def _gpu_of_this_rank() -> torch.device:
    """One GPU for each process of a machine."""
    local, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= found:
        raise UserError(
            f"torchrun started {os.environ.get('LOCAL_WORLD_SIZE')} processes on a machine with {found} GPUs: give "
            f"--nproc_per_node {found}, or --device cpu after train.py"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
