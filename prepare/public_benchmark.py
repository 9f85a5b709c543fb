"""Build a public benchmark of untrimmed recordings from the Bandai-Namco Research Motion dataset.

    git clone https://github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset CLONE
    bash prepare/public_benchmark.sh --source CLONE

Anyone can download that data set (Kobayashi et al. 2023, CC BY-NC 4.0) without registration. Each of its BVH files
shows one action. A recording of the benchmark is a sequence of such files of one actor. Each file is placed and turned
so that a short blend connects it to the one before. The times of all actions are known exactly.

Two splits label the same recordings. `public` has all actors in training and validation, and no file in both.
In `public_actors`, two actors are for validation only. The seed is fixed, so every build gives the same files.
"""

import argparse
import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prepare.options import BODY, DATA_ROOT, ROOT, ReadOptions, next_command
from utils.command_line import argument_parser, check_first, folder


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "bash prepare/public_benchmark.sh")
    add = parser.add_argument
    add("--source", type=Path, required=True, metavar="CLONE", help="a clone of the data set")
    out = "where the stores and the splits go (default: dataset/processed_data)"
    add("--out", type=folder, default=DATA_ROOT, metavar="DIR", help=out)
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np
from scipy.ndimage import uniform_filter1d

from prepare import own_data
from prepare.formats.annotations import COLUMNS
from prepare.formats.bvh import Bvh, header_text, read_bvh, write_bvh
from prepare.formats.files import walk
from prepare.skeletons.stitch import CHANNELS, Section, concatenate, join, lifted
from utils.atomic import write_csv, write_json
from utils.errors import TakeError, UserError, run_command
from utils.progress import progress
from utils.skeleton import FPS

PAGE = "https://github.com/BandaiNamcoResearchInc/Bandai-Namco-Research-Motiondataset"
VERSION = 1  # other versions have other recordings, so their results cannot be compared
FILES = 991  # number of files in the whole data set for which `is_selected` is true
FILE_NAME = re.compile(r"dataset-[12]_(?P<action>[a-z-]+)_[a-z-]+_\d+\.bvh")
CLASSES = {  # actions in files' names, by class; files of other actions are background
    "walk": ("walk", "walk-back", "walk-left", "walk-right", "walk-turn-left", "walk-turn-right"),
    "turn": ("walk-turn-left", "walk-turn-right"),
    "run": ("run", "dash"),
    "wave": ("wave-both-hands", "wave-left-hand", "wave-right-hand"),
    "raise arms": ("raise-up-both-hands", "raise-up-left-hand", "raise-up-right-hand"),
}
AMBIGUOUS = ("bye", "byebye")  # these files are not used: in some of them the actor waves
NEW_ACTORS = ("c26294", "21d43e")  # for validation in `public_actors`: first digits of the SHA-256 of their skeletons
FEWEST_FILES = 10  # actors with fewer files are not used
VAL_ONE_IN = 4  # about one file in four is for validation; a hash of its name decides
SECONDS = (10.0, 30.0)  # of a recording
KIND_COUNT_CHANCES = (0.2, 0.4, 0.4)  # probabilities that a recording has files of one, two and three kinds
BACKGROUND_CHANCE = 0.15  # probability that a background file comes next
BLEND = (12, 30)  # fewest and most frames of a blend
TURNING = (0.1, 0.9)  # part of a file's change of heading that is labelled "turn"
SMOOTHING = 31  # frames of the moving mean of headings, which removes the swing of the hips


@dataclass(frozen=True)
class SourceFile:
    """A file of the data set."""

    bvh: Bvh
    motion: Section
    actor: str  # SHA-256 of the skeleton; no two actors have the same
    action: str

    @property
    def classes(self) -> list[str]:
        return [name for name, actions in CLASSES.items() if self.action in actions]

    @property
    def kind(self) -> str | None:
        """The last of its classes, so that a walk with a turn counts as a turn; None for background."""
        return self.classes[-1] if self.classes else None


@dataclass
class JoinedRecording:
    """A recording of the benchmark: files of one actor, joined."""

    files: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    labels: list[tuple[str, int, int]] = field(default_factory=list)  # class, first frame, frame after the last

    @property
    def frames(self) -> int:
        return sum(len(section.positions) for section in self.sections)

    def append(self, file: SourceFile, blend: int) -> None:
        """Add a file behind the others, after `blend` frames."""
        bvh, motion = file.bvh, file.motion
        nodes = {node.name: node for node in bvh.nodes}
        sideways = nodes["UpperLeg_L"].offset - nodes["UpperLeg_R"].offset
        if self.sections:
            between, motion = join(self.sections[-1], motion, blend, sideways)
            self.sections.append(lifted(between, self.sections[-1], motion, bvh.nodes))
        for name in file.classes:
            first, end = turning(motion.headings(sideways)) if name == "turn" else (0, bvh.frames)
            self.labels.append((name, self.frames + first, self.frames + end))
        self.sections.append(motion)
        self.files.append(bvh.path.name)


def build(source: Path, out: Path, expected: int = FILES) -> tuple[Path, dict[str, Path]]:
    """Write the recordings and the annotations. Returns the folder of recordings, and the annotations by split.

    Raises UserError when `source` has not the `expected` number of files of the benchmark, or when one is damaged.
    """
    sources = find_sources(source, expected)
    counts = Counter(file.actor for file in sources)
    pools: dict[tuple[str, str], list[SourceFile]] = defaultdict(list)  # by actor and subset
    for file in sources:
        # `is_selected` uses the last two digits of the hash. Those before them decide the subset
        subset = "train" if (hash_number(file.bvh.path.name) // 100) % VAL_ONE_IN else "val"
        if counts[file.actor] >= FEWEST_FILES:
            pools[file.actor, subset].append(file)
    recordings = out / "recordings"
    recordings.mkdir(parents=True, exist_ok=True)
    used: dict[str, list[str]] = {}
    rows: dict[str, list[tuple[str, ...]]] = {"public": [], "public_actors": []}
    for (actor, subset), files in sorted(pools.items()):
        subset_by_actor = "val" if actor.startswith(NEW_ACTORS) else "train"
        for number, recording in enumerate(join_files(files, f"{actor} {subset}"), start=1):
            name = f"{actor[:4]}_{subset}_{number:03}"
            write_bvh(recordings / f"{name}.bvh", files[0].bvh.path, concatenate(recording.sections).channels(), FPS)
            used[name] = recording.files
            for label, first, end in recording.labels:
                # Times are half a frame early, so rounding cannot move a label
                times = [f"{max(frame - 0.5, 0) / FPS:.4f}" for frame in (first, end)]
                rows["public"].append((name, subset, label, *times))
                rows["public_actors"].append((name, subset_by_actor, label, *times))
    write_json(out / "sources.json", {"version": VERSION, "page": PAGE, "files": used})
    tables = {split: out / f"{split}.csv" for split in rows}
    for split, table in tables.items():
        write_csv(table, COLUMNS, rows[split])
    return recordings, tables


def find_sources(clone: Path, expected: int) -> list[SourceFile]:
    """The files of the benchmark in a clone of the data set, by name. Raises UserError as `build` does."""
    found = {path.name: path for path in walk(clone) if FILE_NAME.fullmatch(path.name) and is_selected(path.name)}
    if len(found) != expected:
        raise UserError(
            f"{clone}: holds {len(found)} of the {expected} files of the benchmark. Name a whole clone of {PAGE}. A "
            "clone with more files is another release, which this version cannot use"
        )
    sources = [read_source(path) for _, path in progress(sorted(found.items()), "files", "file")]
    return [source for source in sources if source.action not in AMBIGUOUS]


def read_source(path: Path) -> SourceFile:
    """A file of the data set. Raises UserError when it is damaged."""
    try:
        bvh = read_bvh(path)
        if any(node.channels not in ([], CHANNELS) for node in bvh.nodes):
            raise TakeError(f"has a joint whose channels are not {' '.join(CHANNELS)}")
        motion = Section.of_channels(bvh.values(np.arange(bvh.frames)))
    except TakeError as error:
        raise UserError(f"{path}: {error}; download it again from {PAGE}") from None
    actor = hashlib.sha256(header_text(path).encode()).hexdigest()
    return SourceFile(bvh, motion, actor, FILE_NAME.fullmatch(path.name)["action"])


def hash_number(name: str) -> int:
    """The SHA-256 of a name as a number."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def is_selected(name: str) -> bool:
    """Whether the hash of the name selects this file (about 30 %). AMBIGUOUS files are dropped later."""
    return hash_number(name) % 100 < 30


def join_files(files: list[SourceFile], seed: str) -> Iterator[JoinedRecording]:
    """Recordings made of the files of one actor and subset. No file is used twice, and a few are left over."""
    rng = np.random.default_rng(hash_number(f"{VERSION} {seed}"))
    unused: dict[str | None, list[SourceFile]] = defaultdict(list)
    for index in rng.permutation(len(files)):
        unused[files[index].kind].append(files[index])
    while available := sorted(kind for kind in unused if kind and unused[kind]):
        shuffled = rng.permutation(available).tolist()
        kinds = shuffled[: 1 + rng.choice(len(KIND_COUNT_CHANCES), p=KIND_COUNT_CHANCES)]
        frames = FPS * rng.uniform(*SECONDS)
        recording = JoinedRecording()
        while recording.frames < frames and any(unused[kind] for kind in kinds):
            kinds = [kind for kind in kinds[1:] + kinds[:1] if unused[kind]]  # rotated, so that the kinds take turns
            background = unused[None] and rng.random() < BACKGROUND_CHANCE
            file = unused[None if background else kinds[0]].pop()
            blend = int(rng.integers(*BLEND, endpoint=True))
            if recording.frames + blend + file.bvh.frames > FPS * SECONDS[1]:
                break
            recording.append(file, blend)
        if recording.frames >= FPS * SECONDS[0]:
            yield recording


def turning(headings: np.ndarray) -> tuple[int, int]:
    """First frame of a turn and the frame after its last, from the headings (T,) in radians of a file with one turn."""
    smooth = uniform_filter1d(headings, SMOOTHING, mode="nearest")
    turned = (smooth - smooth[0]) / (smooth[-1] - smooth[0])  # fraction of the change of heading
    first, last = (int(np.argmax(turned > bound)) for bound in TURNING)
    return first, last + 1


def main() -> None:
    args = parse_arguments()
    recordings, tables = build(args.source, ROOT / "dataset" / "public_benchmark")
    for split, table in tables.items():
        own_data.prepare_recordings(
            recordings, table, split, args.out, ReadOptions(str(BODY)), workers=os.cpu_count() or 1
        )
    print(next_command("best.yaml", args.out, "public"))


if __name__ == "__main__":
    run_command(main)
