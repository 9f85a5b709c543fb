"""Text from strangers' files, made fit to be shown."""

from __future__ import annotations


def printable(text: str, most: int = 500) -> str:
    """One line of at most `most` characters, in which whatever cannot be printed is a replacement character.

    That is control characters, halves of surrogate pairs and marks that turn the direction of writing.
    """
    line = " ".join(text[: 10 * most].split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
