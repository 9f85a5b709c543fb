"""The roofline counts operations and bytes as they are worked out by hand, and rates each kind by its own rate."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from benchmarks.roofline import Roofline

NO_LIMIT = float("inf")
PRODUCTS, BYTES = Roofline(1.0, NO_LIMIT, NO_LIMIT), Roofline(NO_LIMIT, NO_LIMIT, 1.0)
CONVOLUTIONS = Roofline(NO_LIMIT, 1.0, NO_LIMIT)
A, B = torch.randn(2, 6, 6)
BATCH = torch.randn(4, 6, 6)
Work = Callable[[], object]


@pytest.mark.parametrize(
    ("work", "products"),
    [
        (lambda: A @ B, 1),
        (lambda: torch.mm(A, B, out=torch.empty_like(A)), 1),
        (lambda: torch.zeros(6, 6).addmm_(A, B), 1),
        (lambda: torch.zeros(4, 6, 6).baddbmm_(BATCH, BATCH), 4),
        (lambda: F.linear(A, B, torch.zeros(6)), 1),
        (lambda: (A + B).sum(), 0),
    ],
)
@pytest.mark.parametrize("inference", [True, False])
def test_two_operations_are_counted_for_each_multiplication_of_a_product(
    work: Callable[[], object], products: int, inference: bool
) -> None:
    def run() -> None:
        with torch.inference_mode(inference):
            work()

    assert PRODUCTS.seconds(run) == products * 2 * 6**3


@pytest.mark.parametrize(
    ("work", "moved"),
    [
        (lambda: A + B, 3 * 36),
        (lambda: A.add_(0.0), 36),
        (lambda: torch.empty(99), 0),
        (lambda: BATCH[1].transpose(0, 1), 0),
        (lambda: torch.bmm(A.expand(4, -1, -1), BATCH), 36 + 2 * 4 * 36),
    ],
)
def test_operands_and_results_are_moved_once_and_views_are_not(work: Callable[[], object], moved: int) -> None:
    assert BYTES.seconds(work) == 4 * moved


def test_gradients_count_too() -> None:
    weight = torch.randn(6, 6, requires_grad=True)
    assert PRODUCTS.seconds(lambda: (A @ weight).sum().backward()) == 2 * 2 * 6**3


def test_a_convolution_is_rated_as_a_convolution_in_both_directions() -> None:
    weight = torch.randn(4, 3, 9, 1, requires_grad=True)

    def run() -> None:
        F.conv2d(torch.randn(2, 3, 20, 25, requires_grad=True), weight, padding=(4, 0)).sum().backward()

    forward = 2 * (2 * 20 * 25) * (3 * 4 * 9)
    assert CONVOLUTIONS.seconds(run) == 3 * forward  # backward: gradients of the input and of the weights
    assert PRODUCTS.seconds(run) == 0


def test_each_operation_takes_the_longer_of_its_two_times() -> None:
    both = Roofline(2 * 6**3, NO_LIMIT, 4.0)  # a product in a second, a number in a second
    assert both.seconds(lambda: (A @ B).add_(1.0)) == 3 * 36 + 36
    assert Roofline(1.0, NO_LIMIT, 4.0).seconds(lambda: (A @ B).add_(1.0)) == 2 * 6**3 + 36


def test_measured_rates_are_of_the_work_that_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a clock, each piece of work takes as many seconds as it has operations, the copy as it has bytes."""

    def count(_: int, multiply: Work, convolve: Work, copy: Work) -> list[float]:
        return [PRODUCTS.seconds(multiply), CONVOLUTIONS.seconds(convolve), BYTES.seconds(copy)]

    monkeypatch.setattr("benchmarks.roofline.median_seconds", count)
    assert Roofline.measure(torch.device("cpu"), torch.float32) == Roofline(1.0, 1.0, 1.0)
