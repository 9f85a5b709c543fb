"""The two implementations of the network's operations."""

import pytest


@pytest.fixture(params=[True, False], ids=["CPU kernels", "references"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test twice: with the CPU kernels, and with the references that GPUs use."""
    for module in ("batch_norm", "joints", "padding", "temporal"):
        monkeypatch.setattr(f"model.ops.{module}.use_cpu_kernels", lambda _: request.param)
