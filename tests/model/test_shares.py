"""Work that threads share gives what one thread gives, and threads are left as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from model import joints, temporal
from model.localizer import Localizer
from model.shares import in_shares, sharers
from utils import config

LENGTHS = [90, 7, 41, 1]
FOUR = 4


@pytest.fixture()
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr("model.shares.leave_cores_soon", lambda: True)
    torch.set_num_threads(FOUR)
    yield
    assert torch.get_num_threads() == FOUR
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
def test_threads_that_spin_are_no_sharers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sharers() == FOUR
    monkeypatch.setattr("model.shares.leave_cores_soon", lambda: False)
    assert sharers() == 1


@pytest.mark.usefixtures("four_threads")
def test_shares_are_runs_of_about_the_same_work_each_on_a_thread_of_its_own() -> None:
    everyone = threading.Barrier(FOUR, timeout=20)

    def task(share: Sequence[int]) -> tuple[list[int], int, bool]:
        everyone.wait()
        return list(share), torch.get_num_threads(), torch.is_grad_enabled()

    with torch.no_grad():
        found = in_shares(range(8), [6, 1, 1, 1, 1, 1, 1, 6], task)
    assert [share for share, _, _ in found] == [[0], [1, 2, 3], [4, 5, 6], [7]]
    assert all((threads, gradients) == (1, False) for _, threads, gradients in found)


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("pieces", [0, FOUR - 1])
def test_fewer_pieces_than_threads_are_one_share_of_all_threads(pieces: int) -> None:
    found = in_shares(range(pieces), [1] * pieces, lambda share: (list(share), torch.get_num_threads()))
    assert found == [(list(range(pieces)), FOUR)]


@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("at", [0, 7])
def test_an_error_in_any_share_reaches_the_caller(at: int) -> None:
    def task(share: Sequence[int]) -> None:
        if at in share:
            raise ValueError(f"piece {at}")

    with pytest.raises(ValueError, match=f"piece {at}"):
        in_shares(range(8), [1] * 8, task)


@pytest.mark.usefixtures("four_threads")
def test_tensors_of_inference_mode_are_written_by_every_share() -> None:
    with torch.inference_mode():
        y = torch.zeros(8)
        in_shares(range(8), [1] * 8, lambda share: [y[piece].fill_(piece) for piece in share])
    assert y.tolist() == list(range(8))


def run(network: Localizer) -> list[Tensor]:
    """Scores and gradients of clips of LENGTHS frames."""
    torch.manual_seed(0)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
    clips = torch.randn(len(LENGTHS), 3, max(LENGTHS), 25, 1, dtype=torch.float64) * mask.view(
        len(LENGTHS), 1, -1, 1, 1
    )
    network.zero_grad()
    views = network(clips, mask).views
    sum((view.frame_scores.square().sum() for view in views), torch.zeros(())).backward()
    return [*(view.frame_scores.detach() for view in views), *(p.grad for p in network.parameters())]


def test_a_network_gives_the_same_from_shares_and_the_same_again_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Float64, pieces so small that every layer has more of them than threads, tiles of one clip in several shares."""
    settings = config.load(assignments=[f"model.width={temporal.FEWEST_CHANNELS}"]).model
    torch.manual_seed(1)
    network = Localizer(3, settings).double()
    alone = run(network)
    request.getfixturevalue("four_threads")
    for module, name, small in ((joints, "CHUNK", 1), (joints, "FEWEST", 1), (temporal, "PART", 1)):
        monkeypatch.setattr(module, name, small)
    shared, again = run(network), run(network)
    for one, two, three in zip(alone, shared, again, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-9)
        assert torch.equal(two, three)
