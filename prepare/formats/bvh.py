"""BVH files: the skeleton, the frames, and where its joints are.

A reader of our own, after a look at those on PyPI: pybvh 0.9 takes position channels at the root alone, where many
exporters write six channels a joint; upc-pymotion 0.3 reads value by value and checks nothing, so that a damaged file
ends anyhow; and neither reads a long file in parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from prepare.formats.amass import MAX_RATE, MIN_RATE, TakeError

BLOCK_FRAMES = 1024
MAX_LINE = 1 << 20  # characters; a thousand joints of six channels need a tenth of it
MAX_JOINTS = 2000
MOST_FRAMES = 10**9  # beyond it a number of frames is damage
END = ".end"  # an end site is called after the joint that it ends: Head.end, and a second one Head.end2
NEAR = 1e-4  # a frame time has few digits: a rate this near (relative) to a whole number is that number
_KINDS = {"position": False, "rotation": True}


@dataclass
class Node:
    """A joint, or an end site (no channels). channels: (is it a rotation, axis 0 to 2), in the file's order."""

    name: str
    parent: int  # -1 for a root
    offset: tuple[float, ...] | None = None
    channels: list[tuple[bool, int]] | None = None


@dataclass(frozen=True)
class Bvh:
    """An open file's skeleton, its number of frames, and its frames per second (None if it does not say)."""

    path: Path
    nodes: list[Node]
    frames: int
    fps: float | None
    first_line: int = field(repr=False)  # of the motion

    @property
    def names(self) -> list[str]:
        return [node.name for node in self.nodes]

    def positions(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """Where all nodes are in the `wanted` frames (rising indices), in blocks (T, nodes, 3), file's units and axes.

        Raises TakeError, also while the blocks are taken: a frame is missing or damaged.
        """
        with _opened(self.path) as lines:
            numbers = self._numbers(lines, wanted)
            for start in range(0, len(wanted), BLOCK_FRAMES):
                rows = [row for _, row in zip(wanted[start : start + BLOCK_FRAMES], numbers, strict=False)]
                yield forward(self.nodes, np.stack(rows))

    def _numbers(self, lines: _Lines, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """Channels of each wanted frame."""
        width = sum(len(node.channels or ()) for node in self.nodes)
        lines.skip(self.first_line)
        frame = 0
        for number in wanted.tolist():
            text = ""
            while frame <= number:  # blank lines are no frames
                text = lines.next_text(f"ends after {frame} of {self.frames} frames: it is cut off")
                frame += 1
            try:
                row = np.array(text.split(), dtype=np.float64)
            except ValueError:
                raise TakeError(f"has something that is no number in line {lines.number}") from None
            if len(row) != width:
                raise TakeError(f"has {len(row)} numbers in line {lines.number}; its joints have {width} channels")
            if not np.isfinite(row).all():
                raise TakeError(f"has a number that is not finite in line {lines.number}")
            yield row


def read_bvh(path: Path) -> Bvh:
    """Read a file's skeleton and its number of frames; the frames themselves are read by `positions`.

    Raises TakeError when it is no BVH file, or damaged.
    """
    with _opened(path) as lines:
        if lines.next_text("is empty").split()[0] != "HIERARCHY":
            raise TakeError("does not begin with HIERARCHY: it is no BVH file")
        nodes = _hierarchy(lines)
        frames = _after("Frames:", lines)
        if not frames.is_integer() or not 1 <= frames <= MOST_FRAMES:
            raise TakeError(f"has {frames:g} frames (line {lines.number})")
        seconds = _after("Frame Time:", lines)
        return Bvh(path, nodes, int(frames), _rate(seconds), lines.number)


def forward(nodes: list[Node], numbers: np.ndarray) -> np.ndarray:
    """Forward kinematics: channels (T, all) in degrees → positions (T, nodes, 3) float64.

    Rotations apply in the order in which the channels stand, each about the axes that the ones before have turned.
    A position channel takes the place of the offset's number, as it does in Blender and MotionBuilder.
    """
    T = len(numbers)
    places = np.empty((T, len(nodes), 3))
    turns = np.empty((len(nodes), T, 3, 3))
    column = 0
    for i, node in enumerate(nodes):
        local, turn = np.tile(np.array(node.offset), (T, 1)), np.eye(3)
        for is_rotation, axis in node.channels or ():
            if is_rotation:
                turn = turn @ _about(axis, np.deg2rad(numbers[:, column]))
            else:
                local[:, axis] = numbers[:, column]
            column += 1
        if node.parent < 0:
            places[:, i], turns[i] = local, turn
        else:
            above = turns[node.parent]
            places[:, i] = places[:, node.parent] + np.einsum("tab,tb->ta", above, local)
            turns[i] = above @ turn
    return places


class _Lines:
    """The lines of a text file with their numbers, blank ones left out."""

    def __init__(self, file: TextIO):
        self._file, self.number = file, 0

    def next_text(self, at_end: str) -> str:
        """The next line that is not blank. Raises TakeError(`at_end`) when there is none."""
        while text := self._file.readline(MAX_LINE):
            self.number += 1
            if len(text) == MAX_LINE:
                raise TakeError(f"has a line {self.number} of more than {MAX_LINE} characters: it is no BVH file")
            if text.strip():
                return text
        raise TakeError(at_end)

    def skip(self, count: int) -> None:
        """Go on to the line after line `count`."""
        while self.number < count and self._file.readline(MAX_LINE):
            self.number += 1


@contextmanager
def _opened(path: Path) -> Iterator[_Lines]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            yield _Lines(file)
    except OSError as error:
        raise TakeError(f"cannot be read ({error.strerror})") from error


def _hierarchy(lines: _Lines) -> list[Node]:
    """The nodes between HIERARCHY and MOTION, parents first."""
    nodes: list[Node] = []
    open_nodes: list[int] = []
    names: set[str] = set()
    while True:
        words = lines.next_text("ends within its hierarchy: it is cut off").split()
        word = words[0].upper()
        if word == "MOTION":
            break
        if word in ("ROOT", "JOINT", "END"):
            _begin(words, nodes, open_nodes, names, lines)
        elif word == "}" and open_nodes:
            _check(nodes[open_nodes.pop()], lines)
        elif word == "OFFSET" and open_nodes:
            nodes[open_nodes[-1]].offset = _offset(words, lines)
        elif word == "CHANNELS" and open_nodes:
            nodes[open_nodes[-1]].channels = _channels(words, lines)
        elif word != "{":
            raise TakeError(f"has {words[0][:40]!r} in line {lines.number}, where its hierarchy goes on")
    if not nodes or open_nodes:
        raise TakeError(f"has {'a joint that is not closed' if nodes else 'no joint'} before MOTION")
    return nodes


def _begin(words: list[str], nodes: list[Node], open_nodes: list[int], names: set[str], lines: _Lines) -> None:
    kind, parent = words[0].upper(), open_nodes[-1] if open_nodes else -1
    if (kind == "ROOT") != (parent < 0):
        raise TakeError(f"has {kind} in line {lines.number} {'inside' if kind == 'ROOT' else 'outside'} another joint")
    name = " ".join(w for w in words[1:] if w != "{")
    if kind == "END":
        before = sum(node.parent == parent and node.name.startswith(nodes[parent].name + END) for node in nodes)
        name = f"{nodes[parent].name}{END}{before + 1 if before else ''}"
    if not name or name in names:
        raise TakeError(f"has {f'two joints called {name[:40]!r}' if name else 'a joint without a name'}"
                        f" (line {lines.number})")  # fmt: skip
    if len(nodes) == MAX_JOINTS:
        raise TakeError(f"has more than {MAX_JOINTS} joints")
    names.add(name)
    open_nodes.append(len(nodes))
    nodes.append(Node(name, parent, channels=[] if kind == "END" else None))


def _check(node: Node, lines: _Lines) -> None:
    missing = "OFFSET" if node.offset is None else "CHANNELS" if node.channels is None else None
    if missing:
        raise TakeError(f"has no {missing} of {node.name[:40]!r} before line {lines.number}")


def _offset(words: list[str], lines: _Lines) -> tuple[float, ...]:
    try:
        offset = tuple(float(word) for word in words[1:])
    except ValueError:
        offset = ()
    if len(offset) != 3 or not np.isfinite(offset).all():
        raise TakeError(f"has an OFFSET in line {lines.number} that is not three numbers")
    return offset


def _channels(words: list[str], lines: _Lines) -> list[tuple[bool, int]]:
    named = [(_KINDS.get(word[1:].lower()), "XYZ".find(word[0].upper())) for word in words[2:]]
    if words[1:2] != [str(len(named))] or len(named) > 6 or any(kind is None or axis < 0 for kind, axis in named):
        raise TakeError(f"has CHANNELS in line {lines.number} that are not a count and as many names like Xrotation")
    return named


def _after(words: str, lines: _Lines) -> float:
    text = lines.next_text("ends before its motion: it is cut off")
    found = " ".join(text.split())
    try:
        if not found.startswith(words):
            raise ValueError
        return float(found.removeprefix(words))
    except ValueError:
        raise TakeError(f"has {found[:40]!r} in line {lines.number}, expected {words!r} and a number") from None


def _rate(seconds: float) -> float | None:
    """Frames per second from a frame time; None when it is none that a capture has."""
    if not 1 / MAX_RATE <= seconds * (1 + NEAR) <= 1 / MIN_RATE * (1 + 2 * NEAR):
        return None
    rate = 1 / seconds
    return float(round(rate)) if abs(rate - round(rate)) <= NEAR * rate else rate


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) about a coordinate axis by angles (T,) in radians, counter-clockwise."""
    turn = np.zeros((len(angle), 3, 3))
    one, two = (axis + 1) % 3, (axis + 2) % 3
    turn[:, axis, axis] = 1
    turn[:, one, one] = turn[:, two, two] = np.cos(angle)
    turn[:, two, one] = np.sin(angle)
    turn[:, one, two] = -turn[:, two, one]
    return turn
