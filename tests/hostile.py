"""Hostile and damaged files: a payload that shows whether code in a file was run, and damage at random places."""

from pathlib import Path

from hypothesis import strategies as st


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def damaged(path: Path, data: st.DataObject) -> Path:
    """A copy of a file that is cut off anywhere. Up to four of its bytes are replaced."""
    content = bytearray(path.read_bytes())
    del content[data.draw(st.integers(0, len(content))) :]
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content)), st.integers(0, 255)), max_size=4)):
        content[place : place + 1] = bytes([byte])
    copy = path.with_stem("damaged")
    copy.write_bytes(content)
    return copy
