"""Writes stand-in data in the formats of AMASS, BABEL and SMPL-H, for runs without the licensed files.

    python -m prepare.synthetic.generate --out dataset/stand_in --clips 240

Motion and body are invented (procedures with random variation). Figures measured on them say that the code
works, and nothing about real motion.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from prepare.synthetic.body import write_body
from prepare.synthetic.plan import annotate, draw_id, plan_clip
from prepare.synthetic.pose import Performer
from prepare.synthetic.take import perform
from utils.atomic import write_json
from utils.errors import UserError, run_command

MARKER = "STAND_IN.json"  # tells stand-in data from anything else, and which they are
BODY, AMASS, BABEL = "SMPLH_male.pkl", "amass", "babel_v1.0_release"
VAL_SHARE, GAP_SHARE = 0.25, 0.08
_RATES = {60.0: 0.68, 120.0: 0.1, 100.0: 0.1, 59.9999885559082: 0.06, 250.0: 0.06}  # frames per second: their shares
_SUBJECTS = {"train": 24, "val": 8}
_SHORTEST, _LONGEST = 3.4, 17.0  # seconds, before the last action is carried through
_OVERLONG_SECONDS = 34.0  # just over the benchmark's 1,000 frames
_OVERLONG_EVERY, _NO_LABELS_EVERY = 40, 25  # clips
_PERFORMER, _CLIP = 1, 2  # streams of random numbers


@dataclass(frozen=True)
class Source:
    """A data set of AMASS: its name as the first part of BABEL's paths, as the second, and as a folder of today."""

    name: str
    babel: str
    folder: str
    newer: bool = False  # named and written as AMASS's newer releases are
    spaces: bool = False  # where BABEL's paths have underscores


_SOURCES = (
    Source("BMLrub", "BioMotionLab_NTroje", "BMLrub"),
    Source("KIT", "KIT", "KIT"),
    Source("HDM05", "MPI_HDM05", "HDM05"),
    Source("EyesJapan", "Eyes_Japan_Dataset", "EyesJapanDataset", spaces=True),
    Source("Transitions", "Transitions_mocap", "Transitions", newer=True),
    Source("DFaust67", "DFaust_67", "DFaust_67"),
)


@dataclass(frozen=True)
class Settings:
    """What the data depends on: the same settings and sources give the same bytes."""

    clips: int
    seed: int = 0
    val_share: float = VAL_SHARE
    gap_share: float = GAP_SHARE

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise UserError(f"--clips is {self.clips}: at least 1 is needed")
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}: seeds are 0 or more")
        for name, value, most in (("--val-share", self.val_share, 1.0), ("--gaps", self.gap_share, 0.5)):
            if not 0.0 <= value <= most:
                raise UserError(f"{name} is {value}: it is a share between 0 and {most:g}")


def write_stand_in(
    out: Path,
    clips: int,
    seed: int = 0,
    gap_share: float = GAP_SHARE,
    val_share: float = VAL_SHARE,
    workers: int = 1,
) -> bool:
    """Write `clips` takes below `out`/amass, their labels in `out`/babel_v1.0_release, and `out`/SMPLH_male.pkl.

    `val_share` of the clips, by other performers, are validation; `gap_share` is about the share of time that is
    not annotated. A clip does not depend on how many there are. The folder appears whole or not at all.
    Returns False, and touches nothing, when `out` already holds exactly these data. Raises UserError when it holds
    anything else, or for an impossible setting.
    """
    settings = Settings(clips, seed, val_share, gap_share)
    facts = {"what": "stand-in data: invented motion, labels and body", "sources": _sources_digest(), **vars(settings)}
    if _is_there(out, facts):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{out.name}.part-", dir=out.parent) as scratch:
        folder = Path(scratch) / "data"
        folder.mkdir()
        write_body(folder / BODY)
        _write_labels(folder / BABEL, list(_write_takes(folder, settings, workers)))
        write_json(folder / MARKER, facts)
        folder.rename(out)
    return True


def _is_there(out: Path, facts: dict[str, Any]) -> bool:
    """Whether `out` holds the very data of `facts`. Raises UserError when it holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / MARKER).is_file():
        raise UserError(f"{out} exists and holds no stand-in data (no {MARKER}): name a new folder by --out")
    try:
        found = json.loads((out / MARKER).read_bytes())
    except ValueError as error:
        raise UserError(f"{out / MARKER} is no JSON: name a new folder by --out, or delete {out}") from error
    if found == facts:
        return True
    keys = [key for key in facts if not isinstance(found, dict) or found.get(key) != facts[key]]
    raise UserError(
        f"{out} holds other stand-in data (different {', '.join(keys)}): name a new folder by --out, or delete {out}"
    )


def _sources_digest() -> str:
    """SHA-256 over the modules that make the data."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _write_takes(folder: Path, settings: Settings, workers: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Write every take; yields (subset, BABEL's entry) of each clip, in order."""
    write = functools.partial(_write_take, folder / AMASS, settings)
    with _mapper(workers) as each:
        yield from tqdm(
            each(write, range(settings.clips)), total=settings.clips, desc="stand-in takes", unit="clip", disable=None
        )


@contextmanager
def _mapper(workers: int) -> Iterator[Any]:
    if workers <= 1:
        yield map
        return
    with ProcessPoolExecutor(workers) as pool:
        yield functools.partial(pool.map, chunksize=4)


def _write_take(amass: Path, settings: Settings, number: int) -> tuple[str, dict[str, Any]]:
    """Write clip `number`; its subset and its entry in BABEL's layout."""
    before, after = (int(n * settings.val_share + 1e-9) for n in (number, number + 1))
    subset, turn = ("val", before) if after > before else ("train", number - before)
    subject = turn % _SUBJECTS[subset] + (0 if subset == "train" else _SUBJECTS["train"])
    source = _SOURCES[subject % len(_SOURCES)]
    body = np.random.default_rng((settings.seed, _PERFORMER, subject))
    who, betas = Performer.draw(body), body.normal(0.0, 0.7, 16)
    rng = np.random.default_rng((settings.seed, _CLIP, number))
    who = replace(who, chair=int(rng.integers(2**31)))
    fps = float(rng.choice(list(_RATES), p=list(_RATES.values())))
    seconds = float(np.clip(_SHORTEST + rng.gamma(2.2, 2.0), _SHORTEST, _LONGEST))
    if number % _OVERLONG_EVERY == _OVERLONG_EVERY // 2:
        seconds, fps = _OVERLONG_SECONDS, 60.0
    plan = plan_clip(rng, seconds, turn, settings.gap_share)
    poses, trans = perform(plan, who, fps, rng)
    title = "_".join(dict.fromkeys(piece.raw for piece in plan.pieces[:2] if piece.raw)).replace(" ", "_")
    place, stem = f"s{subject:02d}", f"{number:05d}_{title}"
    file = amass / source.folder / place / (stem.replace("_", " ") if source.spaces else stem)
    _write_npz(file.with_name(file.name + ("_stageii.npz" if source.newer else "_poses.npz")), source, {
        "poses": poses.astype(np.float32), "trans": trans.astype(np.float32), "betas": betas,
        "dmpls": np.zeros((len(poses), 8), np.float32),
    }, fps)  # fmt: skip
    labels = annotate(plan, len(poses) / fps, rng)
    has_frames = number % _NO_LABELS_EVERY != _NO_LABELS_EVERY // 2
    path = f"{source.name}/{source.babel}/{place}/{stem}_poses.npz"
    return subset, _entry(number, path, len(poses) / fps, labels, has_frames, rng)


def _write_npz(path: Path, source: Source, arrays: dict[str, np.ndarray], fps: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = "mocap_frame_rate" if source.newer else "mocap_framerate"
    gender = np.array(b"male" if source.newer else "male")
    np.savez_compressed(path, allow_pickle=False, gender=gender, **{rate: np.array(fps)}, **arrays)


def _entry(
    number: int, path: str, seconds: float, labels: list[dict[str, Any]], has_frames: bool, rng: np.random.Generator
) -> dict[str, Any]:
    """A clip in BABEL's layout."""
    untimed = [{key: label[key] for key in ("raw_label", "proc_label", "seg_id", "act_cat")} for label in labels]
    sequence, frames = (
        {"babel_lid": draw_id(rng), "anntr_id": draw_id(rng), "mul_act": True, "labels": some}
        for some in (untimed, labels)
    )
    return {
        "babel_sid": number + 1,
        "url": f"https://example.invalid/{number + 1:06d}.mp4",
        "feat_p": path,
        "dur": round(seconds, 2),
        "seq_ann": sequence,
        "frame_ann": frames if has_frames else None,
    }


def _write_labels(folder: Path, entries: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """The five files of BABEL; `test` has no labels, `extra` files have lists of annotations."""
    files: dict[str, dict[str, Any]] = {name: {} for name in ("train", "val", "test", "extra_train", "extra_val")}
    for subset, entry in entries:
        files[subset][str(entry["babel_sid"])] = entry
    for subset in ("train", "val"):
        for sid, entry in list(files[subset].items())[:3]:
            shared = {key: entry[key] for key in ("babel_sid", "url", "feat_p", "dur")}
            files[f"extra_{subset}"][sid] = {
                **shared,
                "seq_anns": [entry["seq_ann"]],
                "frame_anns": [entry["frame_ann"]] if entry["frame_ann"] else None,
            }
            files["test"][sid] = shared
    folder.mkdir()
    for name, content in files.items():
        write_json(folder / f"{name}.json", content)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m prepare.synthetic.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="new folder for the data")
    parser.add_argument("--clips", type=int, default=240, help="how many takes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")
    parser.add_argument("--val-share", type=float, default=VAL_SHARE, help="of the clips (default: %(default)s)")
    parser.add_argument(
        "--gaps", type=float, default=GAP_SHARE, help="share of un-annotated time, about (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    args = parser.parse_args()
    made = write_stand_in(args.out, args.clips, args.seed, args.gaps, args.val_share, args.workers)
    print(f"{args.out}: {args.clips} clips {'written' if made else 'are already there'}")


if __name__ == "__main__":
    run_command(main)
