"""Write synthetic data in the formats of AMASS, BABEL and SMPL-H, for runs without the licensed files.

    python -m prepare.synthetic.generate --out dataset/synthetic --clips 240

Motion and body are invented. Results on them show that the code works. They say nothing about real motion.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from utils.command_line import argument_parser, check_first

GAP_SHARE = 0.08


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python -m prepare.synthetic.generate")
    add = parser.add_argument
    add("--out", type=Path, required=True, help="new folder for the data")
    add("--clips", type=int, default=240, help="number of takes (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)")
    add("--gaps", type=float, default=GAP_SHARE, help="share of time without annotation (default: %(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="takes at a time (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # now, because the imports below take seconds

import numpy as np

from prepare.synthetic.body import write_body
from prepare.synthetic.motion import Performer
from prepare.synthetic.take import annotate, perform, plan_clip
from utils.atomic import naming, write_json
from utils.errors import UserError, run_command
from utils.progress import progress

MARKER = "SYNTHETIC.json"  # in a folder of synthetic data: their settings
_RATES = {60.0: 0.68, 120.0: 0.1, 100.0: 0.1, 59.9999885559082: 0.06, 250.0: 0.06}  # frames per second: share of clips
_TRAIN_SUBJECTS, _VAL_SUBJECTS = 24, 8
_LONGEST_SECONDS, _OVERLONG_SECONDS = 17.0, 34.0  # overlong: more than the benchmark's 1,000 frames
_VAL_EVERY, _OVERLONG_EVERY, _NO_LABELS_EVERY = 4, 40, 25  # one clip in this many
_SOURCES = (  # data sets: first two components of BABEL's path, and folder name of current downloads
    ("BMLrub/BioMotionLab_NTroje", "BMLrub"), ("KIT/KIT", "KIT"), ("EyesJapan/Eyes_Japan_Dataset", "EyesJapanDataset"),
    ("HDM05/MPI_HDM05", "HDM05"), ("Transitions/Transitions_mocap", "Transitions"), ("DFaust67/DFaust_67", "DFaust_67"),
)  # fmt: skip


def write_synthetic(out: Path, clips: int, seed: int = 0, gap_share: float = GAP_SHARE, workers: int = 1) -> bool:
    """Write `clips` takes below `out`/amass, their labels in `out`/babel_v1.0_release, and `out`/SMPLH_male.pkl.

    Every fourth clip is for validation, with other performers. `gap_share` is the approximate share of time without
    annotation. Clip n does not depend on the number of clips. `out` is renamed into place when it is complete. Returns
    False, and changes nothing, when `out` already holds these data. Raises UserError when `out` holds anything else, or
    when a setting is out of range.
    """
    limits = {"--clips": (clips, 1, 10**6), "--seed": (seed, 0, 2**63), "--gaps": (gap_share, 0, 0.5)}
    for name, (value, least, most) in limits.items():
        if not least <= value <= most:
            raise UserError(f"{name} is {value}: it must be from {least} to {most}")
    code = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    facts = {"clips": clips, "seed": seed, "gap_share": gap_share}
    facts |= {"what": "synthetic motion, labels and body", "sources": hashlib.sha256(code).hexdigest()[:16]}
    if _is_there(out, facts):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.TemporaryDirectory(prefix=f"{out.name}.part-", dir=out.parent)
    pool = ThreadPoolExecutor(workers)  # threads, which end with the process; numpy and zlib release Python's lock
    with scratch:
        folder = Path(scratch.name) / "data"
        write_body(folder / "SMPLH_male.pkl")
        write = functools.partial(_write_take, folder / "amass", seed, gap_share)
        try:
            entries = list(progress(pool.map(write, range(clips)), "synthetic takes", "take", clips))
        finally:
            pool.shutdown(cancel_futures=True)
        _write_labels(folder / "babel_v1.0_release", entries)
        write_json(folder / MARKER, facts)
        folder.rename(out)
    return True


def _is_there(out: Path, facts: dict[str, Any]) -> bool:
    """Whether `out` holds the data of these settings. Raises UserError when it holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / MARKER).is_file():
        raise UserError(f"{out} exists and holds no synthetic data (no {MARKER}): name a new folder by --out")
    try:
        found = dict(json.loads((out / MARKER).read_bytes()))
    except (ValueError, TypeError):
        found = {}
    different = ", ".join(key for key in facts if found.get(key) != facts[key])
    if different:
        raise UserError(f"{out} holds other synthetic data (different {different}): name a new folder by --out")
    return True


def _write_take(amass: Path, seed: int, gap_share: float, number: int) -> tuple[str, dict[str, Any]]:
    """Write the motion of clip `number`; returns its subset and its entry in BABEL's layout."""
    vals = number // _VAL_EVERY  # before this clip
    if number % _VAL_EVERY == _VAL_EVERY - 1:
        subset, turn, subject = "val", vals, _TRAIN_SUBJECTS + vals % _VAL_SUBJECTS
    else:
        subset, turn, subject = "train", number - vals, (number - vals) % _TRAIN_SUBJECTS
    in_babel, today = _SOURCES[subject % len(_SOURCES)]
    body, rng = np.random.default_rng((seed, 1, subject)), np.random.default_rng((seed, 2, number))
    who, betas = Performer(body), body.normal(0.0, 0.7, 16)
    fps = float(rng.choice(list(_RATES), p=list(_RATES.values())))
    seconds = float(min(5.0 + rng.gamma(2.2, 2.0), _LONGEST_SECONDS))
    if number % _OVERLONG_EVERY == _OVERLONG_EVERY // 2:
        seconds, fps = _OVERLONG_SECONDS, 60.0
    plan = plan_clip(rng, seconds, turn, gap_share)
    poses, trans = perform(plan, who, fps, rng)
    title = " ".join(dict.fromkeys(action.label for action in plan.actions[:2] if action.label)).replace(" ", "_")
    stem, seconds = f"s{subject:02d}/{number:05d}_{title}", len(poses) / fps
    newer = today == "Transitions"  # files in the form of AMASS's newer releases
    file = amass / today / f"{stem}_{'stageii' if newer else 'poses'}.npz"
    if today == "EyesJapanDataset":  # spaces where BABEL's paths have underscores
        file = file.with_name(file.name.replace("_", " ").replace(" poses", "_poses"))
    file.parent.mkdir(parents=True, exist_ok=True)
    with naming(file):
        np.savez_compressed(
            file, poses=poses.astype(np.float32), trans=trans.astype(np.float32), betas=betas,
            dmpls=np.zeros((len(poses), 8), np.float32), gender=np.array(b"male" if newer else "male"),
            **{"mocap_frame_rate" if newer else "mocap_framerate": np.array(fps)},
        )  # fmt: skip
    labels = annotate(plan, seconds)
    untimed = [{key: value for key, value in label.items() if not key.endswith("_t")} for label in labels]
    annotation = {"babel_lid": str(number), "anntr_id": "synthetic", "mul_act": True}
    has_frames = number % _NO_LABELS_EVERY != _NO_LABELS_EVERY // 2
    return subset, {
        "babel_sid": number + 1,
        "url": f"https://example.invalid/{number + 1:06d}.mp4",
        "feat_p": f"{in_babel}/{stem}_poses.npz",
        "dur": round(seconds, 2),
        "seq_ann": annotation | {"labels": untimed},
        "frame_ann": annotation | {"labels": labels} if has_frames else None,
    }


def _write_labels(folder: Path, entries: list[tuple[str, dict[str, Any]]]) -> None:
    """BABEL's five files. `test` has no labels; the `extra` files have lists of annotations."""
    files: dict[str, dict[str, Any]] = {name: {} for name in ("train", "val", "test", "extra_train", "extra_val")}
    for subset, entry in entries:
        sid = str(entry["babel_sid"])
        files[subset][sid] = entry
        if len(files[subset]) <= 3:
            shared = {key: entry[key] for key in ("babel_sid", "url", "feat_p", "dur")}
            files["test"][sid] = shared
            lists = {"seq_anns": [entry["seq_ann"]], "frame_anns": [entry["frame_ann"]]}
            files[f"extra_{subset}"][sid] = shared | lists
    folder.mkdir()
    for name, content in files.items():
        write_json(folder / f"{name}.json", content)


def main() -> None:
    args = parse_arguments()
    made = write_synthetic(args.out, args.clips, args.seed, args.gaps, args.workers)
    print(f"{args.out}: {args.clips} clips {'written' if made else 'are already there'}")


if __name__ == "__main__":
    run_command(main)
