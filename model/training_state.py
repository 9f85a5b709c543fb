"""The state of a training: what changes from step to step, and how --resume restores it from a checkpoint."""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from model.checkpoint import TrainingFile, check_contents, load_checkpoint, present_names
from model.localizer import Localizer
from model.refinement import PseudoLabels
from model.released import refuse_misfit
from utils import stored_settings
from utils.errors import UserError, shown
from utils.nested import flat
from utils.run import CHECKPOINTS, NEW_RUN, read_history


@dataclass
class TrainingState:
    """All that changes during training, and that --resume restores."""

    model: Localizer
    optimizer: Optimizer
    pseudo_labels: PseudoLabels

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The three state_dicts. Call this only between epochs."""
        parts = {"model": self.model, "optimizer": self.optimizer, "pseudo_labels": self.pseudo_labels}
        return {name: part.state_dict() for name, part in parts.items()}

    def load_state_dict(self, checkpoint: dict[str, Any], origin: str) -> None:
        """Restore weights, the optimizer's moments and pseudo-label history. Call this before the first optimizer step.

        Learning rate and weight decay come from the current settings. Raises UserError if anything in the checkpoint,
        which comes from `origin`, does not fit.
        """
        own = self.state_dict()
        expected = dict(flat({**own, "optimizer": {"state": state_after_a_step(self.optimizer)}}))
        found = dict(flat({name: checkpoint[name] for name in own}))
        found.pop("optimizer.param_groups", None)  # not restored
        for name in expected.keys() & found.keys():  # plain numbers, such as that of the epochs, have no shape
            if not isinstance(expected[name], Tensor):
                del expected[name], found[name]
        refuse_misfit(found, expected, origin)
        epochs = checkpoint["pseudo_labels"].get("epochs")
        if epochs != checkpoint["epoch"] + 1:
            raise UserError(
                f"{origin}: is damaged: its pseudo-labels are of {shown(epochs)} epochs, "
                f"its weights of {checkpoint['epoch'] + 1}"
            )
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": checkpoint["optimizer"]["state"]})
        self.pseudo_labels.load_state_dict(checkpoint["pseudo_labels"])


def state_after_a_step(optimizer: Optimizer) -> dict[int, dict[str, Any]]:
    """What an optimizer keeps of each parameter, by its number. Most optimizers make it at their first step.

    A copy makes this step. Frozen parameters have no state.
    """
    copied: dict[int, Any] = {}  # so that both copies below refer to the same parameters
    trial = copy.deepcopy(optimizer, copied)  # without hooks
    lacking = vars(optimizer).keys() - vars(trial).keys()  # such as attributes of a class of your own
    vars(trial).update(copy.deepcopy({name: vars(optimizer)[name] for name in lacking}, copied))
    for parameter in (p for group in trial.param_groups for p in group["params"] if p.requires_grad):
        parameter.grad = torch.zeros_like(parameter)
    type(trial).step(trial)  # a learning-rate scheduler replaces `trial.step` by that of the original
    return trial.state_dict()["state"]


def last_good(folder: Path) -> dict[str, Any] | None:
    """The newest undamaged checkpoint of a run. Its file is renamed to last.pt.

    A checkpoint of an earlier version may lack settings that were added later. They get their defaults. Settings that
    no longer exist are dropped.

    None if the run stopped before its first checkpoint. Raises UserError when all its checkpoints are damaged, when
    they are missing although the run had written some, or when an earlier version with other layers wrote them. Raises
    OSError when the system cannot read one, which may be undamaged.
    """
    problems = []
    for path in filter(Path.exists, (folder / name for name in CHECKPOINTS)):
        try:
            checkpoint = load_checkpoint(path)
            check_contents(checkpoint, TrainingFile, path)
            checkpoint["settings"] = stored_settings.read_stored(checkpoint["settings"], str(path)).model_dump()
        except UserError as error:
            problems.append(str(error))
            continue
        if present_names(checkpoint).keys() != set(checkpoint["model"]):
            what = "an earlier version with other layers wrote it. It can be evaluated, but not resumed"
            raise UserError(f"{path}: {what}: {NEW_RUN}")
        if problems:
            print(f"warning: {problems[0]}; resuming from {path}, one epoch earlier", file=sys.stderr)
        path.replace(folder / CHECKPOINTS[0])
        return checkpoint
    if problems:
        raise UserError("; ".join(problems))
    finished = len(read_history(folder))
    # metrics.jsonl is written before last.pt, so a kill in the first epoch can leave one row and no checkpoint
    if finished > 1 or (folder / "results.json").exists():
        missing = f"has finished {finished} epochs, but last.pt and previous.pt are missing"
        raise UserError(f"{folder}: {missing}; put a copy of one back, or {NEW_RUN}")
    return None
