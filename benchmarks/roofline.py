"""The least time that the hardware allows for a piece of work (Williams et al. 2009, Roofline).

An operation needs at least the larger of two times: its arithmetic at the device's peak rate, and its memory traffic at
the rate of a copy. The peak rate of convolutions is measured by a large convolution, that of all other operations
by a large matrix product. On a CPU the copy stays in the cache, so work that stays there is rated correctly. For
tensors that do not fit, the bound is too low.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.measure import median_seconds

aten = torch.ops.aten
FLOPS = {**flop_registry, aten.addmm_: flop_registry[aten.addmm], aten.baddbmm_: flop_registry[aten.baddbmm]}
CONVOLUTIONS = {aten.convolution, aten.convolution_backward}
ALLOCATIONS = {aten.empty, aten.empty_like, aten.new_empty, aten.empty_strided}  # they move no data
SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices multiplied
CLIPS = {"cpu": 1, "cuda": 64}  # of 256 frames, convolved
COPIED = {"cpu": 2**22, "cuda": 2**30}  # bytes
CHANNELS, TAPS, FRAMES, JOINTS = 128, 9, 256, 25


class Roofline(NamedTuple):
    """Rates of a device."""

    products: float  # operations a second in a large matrix product
    convolutions: float  # operations a second in a large temporal convolution
    bandwidth: float  # bytes a second, read and written

    @classmethod
    def measure(cls, device: torch.device, dtype: torch.dtype) -> Roofline:
        """Measure the rates of a device, the arithmetic in `dtype`."""
        side, numbers, times = SIDE[device.type], COPIED[device.type] // 4, 10
        a, b, product = torch.randn(3, side, side, device=device).to(dtype)
        clips = torch.randn(CLIPS[device.type], FRAMES, JOINTS, CHANNELS, device=device).to(dtype)
        features = clips.permute(0, 3, 1, 2)  # (N, C, T, V), channels-last in memory
        weight = torch.randn(CHANNELS, CHANNELS, TAPS, 1, device=device).to(dtype, memory_format=torch.channels_last)
        here, there = torch.zeros(2, numbers, device=device)

        @torch.inference_mode()
        def repeat(operation: Callable[..., object], *operands: Tensor, **options: object) -> None:
            for _ in range(times):
                operation(*operands, **options)

        of_products, of_convolutions, of_copies = median_seconds(
            3,
            partial(repeat, torch.mm, a, b, out=product),
            partial(repeat, F.conv2d, features, weight, padding=(TAPS // 2, 0)),
            partial(repeat, there.copy_, here),
        )
        return cls(
            times * 2 * side**3 / of_products,
            times * 2 * clips.numel() * CHANNELS * TAPS / of_convolutions,
            times * 2 * COPIED[device.type] / of_copies,
        )

    def seconds(self, work: Callable[[], object]) -> float:
        """The least seconds that `work` could take. Runs it once and adds up the bounds of its operations."""
        with torch.autograd.set_multithreading_enabled(False), Tally() as tally:  # the mode sees this thread alone
            work()
        return sum(
            max(flops / (self.convolutions if op in CONVOLUTIONS else self.products), moved / self.bandwidth)
            for op, flops, moved in tally.found
        )


class Tally(TorchDispatchMode):
    """Lists the operations that run inside it: each one's name, floating-point operations and bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Any, int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        given = kwargs or {}
        with self:  # splits an operation into smaller ones and lists them. In inference mode, PyTorch does not split it
            result = func.decompose(*args, **given)
        if result is not NotImplemented:
            return result
        result = func(*args, **given)
        op = func.overloadpacket
        if not func.is_view and op not in ALLOCATIONS:
            flops = FLOPS[op](*args, **given, out_val=result) if op in FLOPS else 0
            tensors = {id(leaf): leaf for leaf in tree_leaves((args, given, result)) if isinstance(leaf, Tensor)}
            self.found.append((op, flops, sum(map(_bytes, tensors.values()))))
        return result


def _bytes(t: Tensor) -> int:
    """Bytes of a tensor in memory. An expanded dimension counts once."""
    return t.element_size() * math.prod(size for size, step in zip(t.shape, t.stride(), strict=True) if step)
