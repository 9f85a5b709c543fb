"""The two implementations of the network's operations."""

import pytest


@pytest.fixture(params=[True, False], ids=["CPU path", "references"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test twice: on the CPU path, and with the references that GPUs use."""
    for module in ("batch_norm", "joints", "padding", "temporal"):
        monkeypatch.setattr(f"model.ops.{module}.use_cpu_path", lambda _: request.param)
