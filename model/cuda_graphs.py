"""CUDA graphs: a training pass on a GPU is captured once for each shape of a batch, and replayed from then on.

A training step has about 2,000 operations. Most are so small that the CPU needs more time to start one than the GPU to
compute it. A replay starts the same operations with the same results, but without this delay.
"""

import copy

import torch
from torch import Tensor, nn

from model.localizer import Localizer, Output
from utils import distributed
from utils.config import Settings
from utils.device import is_cuda, is_out_of_memory
from utils.errors import UserError, first_line

MAX_CAPTURES = 64  # after so many shapes, no further shape is captured


def uses_cuda_graphs(settings: Settings, device: torch.device) -> bool:
    """Whether training uses CUDA graphs.

    It needs a GPU and a single rank, because exchanges between ranks are not captured. It needs `train.accumulate` = 1,
    because a replay overwrites the gradients. It needs masked padding, because otherwise nearly every batch has a shape
    of its own. `train.compile` excludes it.
    """
    train = settings.train
    wanted = train.cuda_graphs and not train.compile and train.accumulate == 1 and settings.model.mask_padding
    return wanted and is_cuda(device) and distributed.size() == 1


class CUDAGraphs(nn.Module):
    """A network on a GPU that is captured at the first batch of each shape, and replayed from then on.

    Capturing a shape takes about as long as five steps. The captures share the memory of their intermediate results,
    so the output of a batch is valid only until the next batch. Each capture has its own gradients (14 MB at the
    paper's width).

    Batches with several people are not captured: the network leaves absent people out, so shapes inside it depend on
    the data. Hooks of layers are called while the network is captured, but not in a replay.
    """

    def __init__(self, network: Localizer) -> None:
        super().__init__()
        # A capture runs on a CUDA stream of its own. PyTorch would warn of that
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        self.network, self.memory = network, torch.cuda.graph_pool_handle()
        self.captures: dict[torch.Size, nn.Module] = {}

    def forward(self, joints: Tensor, mask: Tensor, lengths: Tensor) -> Output:
        """As `Localizer.forward`. Raises UserError if the network cannot be captured."""
        shape = joints.shape
        if not self.training or shape[4] > 1:
            return self.network(joints, mask, lengths)
        if shape not in self.captures and len(self.captures) < MAX_CAPTURES:
            self.captures[shape] = self._capture(joints.clone(), mask.clone(), lengths.clone())
        return self.captures.get(shape, self.network)(joints, mask, lengths)

    def _capture(self, *batch: Tensor) -> nn.Module:
        """The network, captured in training mode. A replay copies its input into the tensors of this batch."""
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        captured = copy.copy(self.network)  # the same parameters; PyTorch replaces the `forward` of this copy
        try:
            torch.cuda.make_graphed_callables(captured, batch, allow_unused_input=True, pool=self.memory)
        except (RuntimeError, AssertionError) as error:
            if is_out_of_memory(error):
                raise
            first = error.__context__ or error  # after a first error, the end of the capture fails, too
            raise UserError(
                f"the network cannot be captured as a CUDA graph: {first_line(first)}; nothing in it may wait for the "
                "GPU; change it, or set train.cuda_graphs=false"
            ) from error
        for buffer, kept in zip(self.network.buffers(), statistics, strict=True):
            buffer.copy_(kept)  # PyTorch's warm-up changed the batch-norm statistics
        return captured
