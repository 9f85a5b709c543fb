"""BVH files: the skeleton, and the positions of its joints.

Unlike the libraries in docs/lab-notes.md, this reader accepts position channels on any joint and checks its input.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from prepare.formats.files import parse_numbers
from utils.atomic import whole_file
from utils.errors import TakeError

MAX_LINE = 1 << 20  # characters; a thousand joints of six channels need a tenth of it
MAX_JOINTS = 2000
MAX_FRAMES_IN_HEADER = 10**9  # a larger number means that the file is damaged
CHANNEL_NAMES = {f"{axis}{kind}" for axis in "xyz" for kind in ("position", "rotation")}
END = ".end"  # an end site is named after its joint, such as Head.end
RATE_TOLERANCE = 1e-4  # relative; rates this near to a whole number are rounded, as frame times have few digits
Lines = Iterator[tuple[int, str]]  # number, from 1, and text of each line that is not blank


@dataclass(eq=False)
class Node:
    """A joint, or an end site. channels: names such as "xrotation" in the file's order; empty for an end site."""

    name: str
    parent: int  # -1 for a root
    offset: np.ndarray | None = None
    channels: list[str] | None = None


@dataclass(frozen=True)
class Bvh:
    """A file's skeleton and the length of its motion."""

    path: Path
    nodes: list[Node]
    frames: int
    fps: float  # frames per second; 0 if the frame time is not a positive number, or too small
    last_header_line: int  # the motion comes after it

    def values(self, wanted: np.ndarray) -> np.ndarray:
        """Values (T, channels) of all channels in the frames `wanted`: (T,) indices in rising order.

        Raises TakeError when a frame is missing or damaged.
        """
        chosen = set(wanted.tolist())
        width = sum(len(node.channels) for node in self.nodes)
        rows = []
        frames = ((line, text) for line, text in _lines(self.path) if line > self.last_header_line)
        for frame in range(max(chosen) + 1):
            line, text = next(frames, (0, ""))
            if not text:
                raise TakeError(f"ends after {frame} of {self.frames} frames: it is cut off")
            if frame in chosen:
                rows.append(parse_numbers(text.split(), width, f"one for each of its {width} channels", f"line {line}"))
        return np.stack(rows)


def write_bvh(path: Path, skeleton: Path, values: np.ndarray, fps: float) -> None:
    """Write a BVH file with the skeleton of the file `skeleton` and these values (T, channels)."""
    with whole_file(path) as file:
        file.write(f"{header_text(skeleton)}MOTION\nFrames: {len(values)}\nFrame Time: {1 / fps:.8f}\n".encode())
        np.savetxt(file, values, fmt="%.3f")


def header_text(path: Path) -> str:
    """The text of a file's skeleton, before its motion."""
    return path.read_text(encoding="utf-8", errors="replace").partition("MOTION\n")[0]


def read_bvh(path: Path) -> Bvh:
    """Read a file's skeleton, number of frames and frame rate. `Bvh.values` reads the frames.

    Raises TakeError when the file is damaged or no BVH file, OSError when it cannot be read.
    """
    lines = _lines(path)
    _, text = next(lines, (0, "nothing"))
    if text.split()[0].upper() != "HIERARCHY":
        raise TakeError("does not begin with HIERARCHY: it is no BVH file")
    nodes = _read_hierarchy(lines)
    line, frames = _value_after("Frames:", lines)
    if not frames.is_integer() or not 1 <= frames <= MAX_FRAMES_IN_HEADER:
        expected = f"a whole number from 1 to {MAX_FRAMES_IN_HEADER:,}"
        raise TakeError(f"has {frames:g} frames in line {line}, expected {expected}")
    line, seconds = _value_after("Frame Time:", lines)
    fps = 1 / seconds if seconds > 1e-9 else 0.0
    if abs(fps - round(fps)) <= RATE_TOLERANCE * fps:
        fps = float(round(fps))
    return Bvh(path, nodes, int(frames), fps, line)


def forward_kinematics(nodes: list[Node], values: np.ndarray) -> np.ndarray:
    """Forward kinematics: channel values (T, channels), angles in degrees → positions (T, nodes, 3) float64.

    Rotations are intrinsic, in the order of the channels. A position channel replaces that coordinate of the offset, as
    in Blender and MotionBuilder.
    """
    T = len(values)
    positions = np.empty((T, len(nodes), 3))
    rotations = np.empty((len(nodes), T, 3, 3))
    columns = iter(values.T[..., None])  # (T, 1) each
    for i, node in enumerate(nodes):
        local, rotation = np.tile(node.offset, (T, 1)), np.eye(3)
        for channel in node.channels:
            if channel.endswith("rotation"):
                rotation = rotation @ Rotation.from_euler(channel[0], next(columns), degrees=True).as_matrix()
            else:
                local[:, "xyz".index(channel[0])] = next(columns)[:, 0]
        if node.parent < 0:
            positions[:, i], rotations[i] = local, rotation
        else:
            above = rotations[node.parent]
            positions[:, i] = positions[:, node.parent] + np.einsum("tab,tb->ta", above, local)
            rotations[i] = above @ rotation
    return positions


def _lines(path: Path) -> Lines:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        # Like `for line in file`, but no line is longer than MAX_LINE.
        for number, text in enumerate(iter(lambda: file.readline(MAX_LINE), ""), start=1):
            if len(text) == MAX_LINE:
                raise TakeError(f"has a line {number} of more than {MAX_LINE} characters: it is no BVH file")
            if text.strip():
                yield number, text


def _read_hierarchy(lines: Lines) -> list[Node]:
    """The nodes between HIERARCHY and MOTION, parents first."""
    nodes: list[Node] = []
    open_nodes: list[Node] = []  # those whose closing brace has not been read
    for line, text in lines:
        first, *rest = text.split()
        word = first.upper()
        if word == "MOTION":
            break
        if (word == "ROOT" and not open_nodes) or (word in ("JOINT", "END") and open_nodes):
            parent = nodes.index(open_nodes[-1]) if open_nodes else -1
            if word == "END":
                node = Node(f"{nodes[parent].name}{END}", parent, channels=[])
            else:
                node = Node(" ".join(part for part in rest if part != "{"), parent)
            nodes.append(node)
            open_nodes.append(node)
        elif word == "OFFSET" and open_nodes:
            open_nodes[-1].offset = parse_numbers(rest, 3, "three after OFFSET", f"line {line}")
        elif word == "CHANNELS" and open_nodes:
            names = [name.lower() for name in rest[1:]]
            if rest[:1] != [str(len(names))] or len(names) > 6 or not CHANNEL_NAMES.issuperset(names):
                raise TakeError(f"has CHANNELS in line {line}, expected a number up to 6 and names like Xrotation")
            open_nodes[-1].channels = names
        elif word == "}" and open_nodes:
            open_nodes.pop()
        elif word != "{":
            raise TakeError(f"has {text.strip()[:60]!r} in line {line}, expected a line of a BVH hierarchy")
        if len(nodes) > MAX_JOINTS:
            raise TakeError(f"has more than {MAX_JOINTS} joints")
    else:
        raise TakeError("ends within its hierarchy: it is cut off")
    if not nodes:
        raise TakeError("has no joint before MOTION")
    for node in nodes:
        if node in open_nodes or node.offset is None or node.channels is None:
            raise TakeError(f"has no OFFSET, CHANNELS or closing brace of {node.name[:40]!r} before MOTION")
    return nodes


def _value_after(words: str, lines: Lines) -> tuple[int, float]:
    """Read the next line, which must be `words` and a number. Returns its line number and the number."""
    line, text = next(lines, (0, ""))
    if not text:
        raise TakeError("ends before its motion: it is cut off")
    found = " ".join(text.split())
    with suppress(ValueError):
        if found.upper().startswith(words.upper()):
            return line, float(found[len(words) :])
    raise TakeError(f"has {found[:40]!r} in line {line}, expected {words!r} and a number")
