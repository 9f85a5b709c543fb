"""What a training keeps between epochs, and what --resume finds out about it."""

import torch
from torch import nn

from model.training_state import state_after_a_step


class Around(torch.optim.Optimizer):
    """An optimizer around another one, such as Lookahead. Its state is that of the inner one."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner, self.steps = inner, torch.zeros(())

    def step(self) -> None:
        self.steps += 1
        self.inner.step()

    def state_dict(self) -> dict:
        return self.inner.state_dict()


def test_the_state_after_a_step_is_found_without_a_change_of_the_optimizer() -> None:
    optimizer = Around(torch.optim.SGD([nn.Parameter(torch.ones(3))], momentum=0.9))
    assert state_after_a_step(optimizer)[0]["momentum_buffer"].shape == (3,)
    assert optimizer.steps == 0
    assert not optimizer.inner.state
