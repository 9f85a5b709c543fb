"""train.compile: blocks are compiled in the first epoch, and never again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from runs import rows, run, small
from torch import nn


@pytest.mark.slow
def test_a_compiled_training_has_the_same_losses_and_compiles_nothing_after_the_first_epoch(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graphs are traced as for a compiler, and then run by PyTorch: compiling them would take minutes."""
    compile_module, traced = nn.Module.compile, []

    def trace(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> torch.fx.GraphModule:
        traced.append((tmp_path / "compiled" / "metrics.jsonl").exists())  # written at the end of an epoch
        return graph

    def compile_for_test(module: nn.Module, **others: Any) -> None:
        del others["options"]  # of the real compiler
        compile_module(module, backend=trace, **others)

    monkeypatch.setattr(nn.Module, "compile", compile_for_test)
    torch._dynamo.reset()
    settings = ["train.precision=float64", "train.epochs=2"]
    for name in ("plain", "compiled"):
        assert run(*small(prepared, tmp_path / name, *settings, f"train.compile={name == 'compiled'}")) == 0
    assert traced
    assert not any(traced)
    losses = [[row["loss"]["total"] for row in rows(tmp_path / name)] for name in ("plain", "compiled")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
