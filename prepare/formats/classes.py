"""Classes of a split: those of the paper's splits, and those that a user lists in a JSON file."""

from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from prepare.formats.labels import ClassName
from utils.errors import UserError, nearest, shown
from utils.files import read_json

# The three splits of the paper; a class's index is its place in the list
PAPER_SPLITS: dict[str, list[str]] = {
    "split1": ["walk", "stand", "turn", "jump"],
    "split2": ["sit", "run", "stand up", "kick"],
    "split3": ["jog", "wave", "dance", "gesture"],
}
MAX_CLASSES = 10_000
INDEX_BY_NAME = TypeAdapter(dict[ClassName, int], config=ConfigDict(strict=True))


def read_actions(path: Path) -> list[str]:
    """Class names by index from a JSON file {name: index}. Raises UserError unless the indices are 0 … K-1."""
    expected = 'names with the indices 0, 1, 2, … as JSON, such as {"walk": 0, "wave": 1}'
    actions: dict[str, int] = read_json(path, INDEX_BY_NAME, expected)
    if not 0 < len(actions) <= MAX_CLASSES or sorted(actions.values()) != list(range(len(actions))):
        raise UserError(f"{path}: is {shown(actions)}; expected {expected}")
    return sorted(actions, key=actions.get)


def check_actions(classes: list[str], known: list[str], problem: str) -> None:
    """Raise UserError when a class is not among the `known` labels. `problem` begins the message."""
    for name in classes:
        if name not in known:
            raise UserError(f"{problem} {name!r}; {nearest(name, known)}")
