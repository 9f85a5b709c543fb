"""Reads JSON from users' files."""

from __future__ import annotations

import json
from typing import Any

from utils.errors import shown


def parse_json(text: str | bytes) -> Any:
    """The values in a JSON text. Raises ValueError when the text is not JSON or repeats a key."""
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        seen: set[str] = set()
        key = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {shown(key)} stands twice in one object")
    return entries
