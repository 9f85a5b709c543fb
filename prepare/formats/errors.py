"""The error that readers of motion files raise."""

from __future__ import annotations


class TakeError(Exception):
    """Why one motion file cannot be used. The message is a sentence without its subject, which is the file's name.

    Callers report it and continue with the next file.
    """
