"""The error that readers of motion files raise, and the limits that they share."""

from __future__ import annotations

MIN_RATE, MAX_RATE = 1.0, 2000.0  # frames per second; AMASS has 59.99 to 250
MAX_FRAMES = 1_000_000  # of one recording at 30 fps: nine hours, 300 MB of joints


class TakeError(Exception):
    """Why one motion file cannot be used. The message is a sentence without its subject, which is the file's name.

    Callers report it and continue with the next file.
    """
