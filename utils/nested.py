"""Nested dictionaries as one level."""

from collections.abc import Iterator
from typing import Any


def flat(entries: dict[str, Any], separator: str = ".") -> Iterator[tuple[str, Any]]:
    """(path, value) of every value in nested dictionaries. A path is keys joined by the separator."""
    for key, value in entries.items():
        if isinstance(value, dict):
            yield from ((f"{key}{separator}{rest}", inner) for rest, inner in flat(value, separator))
        else:
            yield key, value
