"""Text from files of others, made fit to be shown."""

from __future__ import annotations


def printable(text: str, most: int = 500) -> str:
    """The text on one line, at most `most` characters long.

    Replaces what cannot be printed: control characters, lone surrogates, marks that change the writing direction.
    """
    line = " ".join(text[: 10 * most].split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
