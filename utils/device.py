"""Choice of the device and of its float32 precision, and compilation for it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from utils import distributed
from utils.config import TrainSettings
from utils.errors import UserError, first_line

# Parts of the messages of PyTorch on a CPU, of CUDA, and of cuBLAS and cuDNN
NO_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
MAX_GRAPHS = 64  # that torch.compile makes of `Block`: one for each combination of its channels and stride


def choose_device(name: str | None) -> torch.device:
    """The device that the user named. Without a name: a GPU if there is one. Each rank takes a GPU of its own.

    Raises UserError when the device does not exist, or when there are fewer GPUs than ranks.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("this project does not use such devices")
        if device.type == "cuda" and distributed.size() > 1:
            if device.index is not None:
                raise UserError(
                    f"--device {name}: every process of torchrun takes a GPU of its own; give cuda or nothing"
                )
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: this torch was built without CUDA
        expected = "cpu, cuda or cuda:N, and a GPU for each process of torchrun"
        raise UserError(f"--device {name}: {str(error).splitlines()[0]}; expected {expected}") from None
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # CUDA graphs are recorded on the current device
    return device


def device_name(device: torch.device) -> str:
    """The device by name, for a message."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} (threads: {torch.get_num_threads()})"


def set_matrix_precision(name: str) -> None:
    """Allow TF32 in float32 matrix products and convolutions on a GPU ("high"), or forbid it ("highest").

    PyTorch's default allows TF32 in convolutions only. CPUs do not use TF32.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "high"


def compile_blocks(blocks: Iterable[nn.Module], train: TrainSettings) -> None:
    """Let torch.compile compile each block at its first use, to one graph for all lengths of clips.

    Compiling the whole network takes several times as long. Raises UserError when batch norm spans several ranks.
    """
    if distributed.size() > 1 and train.sync_batch_norm:
        raise UserError(
            "train.compile=true: batch norm over several ranks is not compiled; set train.sync_batch_norm=false"
        )
    # Features are channels-last already. Inductor's choice of layouts fails on strided dynamic lengths, and so does its
    # analysis of tiles on a GPU.
    options = {"layout_optimization": False, "triton.coalesce_tiling_analysis": False}
    for block in blocks:
        block.compile(fullgraph=True, dynamic=True, options=options, recompile_limit=MAX_GRAPHS)


def is_cuda(device: torch.device) -> bool:
    """Whether the device is a GPU of CUDA. Tests fake one in a PyTorch without CUDA."""
    return device.type == "cuda" and torch.backends.cuda.is_built()


@contextmanager
def explain_lack_of_memory(remedy: str) -> Iterator[None]:
    """Raise UserError if memory runs out. Its message ends with `remedy`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise UserError(f"out of memory ({first_line(error)}); {remedy}") from error
        raise


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, on a GPU or a CPU: the error says so, or an earlier one that was being handled."""
    if error is None:
        return False
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in NO_MEMORY):
        return True
    return is_out_of_memory(error.__context__)
