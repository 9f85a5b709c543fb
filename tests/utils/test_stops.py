"""What an interrupted training says: how to start it again."""

from pathlib import Path

import pytest

from utils.stops import _how_to_continue


@pytest.mark.parametrize(
    ("begun", "ranks_here", "said"),
    [
        (True, 4, "every finished epoch is kept. Go on with: torchrun --nproc_per_node 4 train.py --set a=1 --resume"),
        (False, 4, "the training had not begun. Start it with: torchrun --nproc_per_node 4 train.py --set a=1"),
        (True, 2, "every finished epoch is kept. Submit the job again, with --resume"),  # two machines
        (False, 2, "the training had not begun. Submit the job again"),
    ],
)
def test_a_command_is_shown_for_the_ranks_of_one_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool, ranks_here: int, said: str
) -> None:
    monkeypatch.setattr("utils.distributed._SIZE", 4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks_here))
    monkeypatch.setattr("sys.argv", ["train.py", "--set", "a=1", "--resume-or-start"])
    if begun:
        (tmp_path / "config.yaml").touch()
    assert _how_to_continue(tmp_path) == said
