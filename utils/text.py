"""Makes text from users' files printable."""

from __future__ import annotations


def printable(text: str, most: int = 500) -> str:
    """`text` on one line of at most `most` characters.

    Control characters, lone surrogates and marks that change the writing direction are replaced.
    """
    line = " ".join(text[: 10 * most].split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


def printable_bytes(name: object) -> str:
    """A file's name as text that can be printed: bytes that are not UTF-8 become \\xNN."""
    return str(name).encode("utf-8", "backslashreplace").decode()
