"""What the machine could do at best: operations and bytes of a piece of work against the rates that it reaches.

An operation takes no less than its arithmetic at the rate of a large matrix product, and no less than its operands and
result at the rate of a copy (Williams et al. 2009, Roofline). On a CPU the copy stays in the cache, so that what is
found there is not counted as slower than it is; that makes the bound too low where tensors do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.measure import in_turn
from prepare.skeletons.smplh import one_thread

aten = torch.ops.aten
FLOPS = {**flop_registry, aten.addmm_: flop_registry[aten.addmm], aten.baddbmm_: flop_registry[aten.baddbmm]}
UNMOVED = {aten.empty, aten.empty_like, aten.new_empty, aten.empty_strided}  # allocate and move nothing
SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices multiplied
COPIED = {"cpu": 2**22, "cuda": 2**30}  # bytes


class Roofline(NamedTuple):
    """Rates of a device, and the least time that they allow.

    operations: a second, in a large matrix product.
    bandwidth:  bytes a second, read and written.
    """

    operations: float
    bandwidth: float

    @classmethod
    def measure(cls, device: torch.device, dtype: torch.dtype) -> Roofline:
        """Of a device, for products in `dtype`."""
        side, numbers, times = SIDE[device.type], COPIED[device.type] // 4, 10
        a, b, product = torch.randn(3, side, side, device=device).to(dtype)
        here, there = torch.zeros(2, numbers, device=device)

        def multiply() -> None:
            for _ in range(times):
                torch.mm(a, b, out=product)

        def copy() -> None:
            for _ in range(times):
                there.copy_(here)

        of_products, of_copies = in_turn(3, multiply, copy)
        return cls(times * 2 * side**3 / of_products, times * 2 * COPIED[device.type] / of_copies)

    def seconds(self, work: Callable[[], object]) -> float:
        """The least that `work` could take, run once and its operations looked at one by one."""
        with one_thread(), _Tally() as tally:  # the mode sees this thread alone
            work()
        return sum(max(flops / self.operations, moved / self.bandwidth) for flops, moved in tally.found)


class _Tally(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, int]] = []  # operations and bytes of each

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        given = kwargs or {}
        with self:
            parts = func.decompose(*args, **given)  # in inference mode composite operations come whole
        if parts is not NotImplemented:
            return parts
        result = func(*args, **given)
        if not func.is_view and func.overloadpacket not in UNMOVED:
            count = FLOPS.get(func.overloadpacket)
            tensors = {id(leaf): leaf for leaf in tree_leaves((args, given, result)) if isinstance(leaf, Tensor)}
            self.found.append((count(*args, **given, out_val=result) if count else 0, _bytes(tensors.values())))
        return result


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Of what differs: an expanded dimension is read once."""
    return sum(
        t.element_size() * math.prod(size for size, step in zip(t.shape, t.stride(), strict=True) if step)
        for t in tensors
    )
