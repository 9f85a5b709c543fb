"""Write synthetic data in the formats of AMASS, BABEL and SMPL-H, for runs without the licensed files.

    python -m prepare.synthetic.generate --out dataset/synthetic --clips 240

Motion and body are invented. Results on them show that the code works. They say nothing about real motion.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from utils.command_line import argument_parser, check_first, number

GAP_SHARE = 0.08  # approximate


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python -m prepare.synthetic.generate")
    add = parser.add_argument
    add("--out", type=Path, required=True, help="new folder for the data")
    add("--clips", type=number(1, 10**6), default=240, help="number of clips, one take each (default: %(default)s)")
    add("--gaps", type=number(0.0, 0.5), default=GAP_SHARE, help="share of unannotated time (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np

from prepare.synthetic.body import body_structure
from prepare.synthetic.motion import Performer
from prepare.synthetic.take import annotate, plan_clip, render
from utils.atomic import whole_folder, write_json
from utils.errors import UserError, run_command
from utils.progress import progress

MARKER = "SYNTHETIC.json"  # in a folder of synthetic data: their settings
SEED = 0
_FPS_CHANCES = {60.0: 0.68, 120.0: 0.1, 100.0: 0.1, 59.9999885559082: 0.06, 250.0: 0.06}  # share of clips by fps
_SUBJECTS = {"train": range(24), "val": range(24, 32)}  # their numbers
_LONGEST_SECONDS = 17.0
_OVERLONG_SECONDS = 34.0  # more than the paper's limit of 1,000 frames
_VAL_EVERY = 4  # one clip in this many is for validation
_OVERLONG_EVERY = 40  # one in this many is overlong
_NO_LABELS_EVERY = 25  # one in this many has no labels
_DATA_SETS = (  # data sets: first two components of BABEL's path, and a folder name of AMASS downloads
    ("BMLrub/BioMotionLab_NTroje", "BMLrub"), ("KIT/KIT", "KIT"), ("EyesJapan/Eyes_Japan_Dataset", "EyesJapanDataset"),
    ("HDM05/MPI_HDM05", "HDM05"), ("Transitions/Transitions_mocap", "Transitions"), ("DFaust67/DFaust_67", "DFaust_67"),
)  # fmt: skip


def write_synthetic(out: Path, clips: int, gap_share: float = GAP_SHARE) -> bool:
    """Write `clips` takes below `out`/amass, their labels in `out`/babel_v1.0_release, and `out`/SMPLH_male.npz.

    Clip n does not depend on the number of clips. Returns False, and changes nothing, when `out` already holds these
    data. Raises UserError when `out` holds anything else.
    """
    # The marker has a hash of this code, so that data made by other code are recognized.
    code = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
    settings = {"clips": clips, "gap_share": gap_share, "sources": hashlib.sha256(code).hexdigest()[:16]}
    marker = json.dumps(settings).encode()
    if (out / MARKER).is_file():
        if (out / MARKER).read_bytes() == marker:
            return False
        found = f"holds synthetic data of another version or with other settings (see its {MARKER})"
        raise UserError(f"{out}: {found}; delete it, or name a new folder by --out")
    with whole_folder(out) as folder:
        np.savez(folder / "SMPLH_male.npz", **body_structure())
        entries: dict[str, dict[str, Any]] = {"train": {}, "val": {}}
        for index in progress(range(clips), "synthetic takes", "take"):
            subset, entry = _write_take(folder / "amass", gap_share, index)
            entries[subset][str(index + 1)] = entry
        (folder / "babel_v1.0_release").mkdir()
        for subset, content in entries.items():
            write_json(folder / "babel_v1.0_release" / f"{subset}.json", content)
        (folder / MARKER).write_bytes(marker)
    return True


def _write_take(amass: Path, gap_share: float, index: int) -> tuple[str, dict[str, Any]]:
    """Write the motion of clip `index`; returns its subset and its entry in BABEL's layout."""
    subset = "val" if index % _VAL_EVERY == _VAL_EVERY - 1 else "train"
    earlier_vals = index // _VAL_EVERY  # validation clips before this one
    clip_number = earlier_vals if subset == "val" else index - earlier_vals  # within the subset
    subject = _SUBJECTS[subset][clip_number % len(_SUBJECTS[subset])]
    in_babel, folder = _DATA_SETS[subject % len(_DATA_SETS)]
    body, rng = np.random.default_rng((SEED, 1, subject)), np.random.default_rng((SEED, 2, index))
    who, betas = Performer(body), body.normal(0.0, 0.7, 16)
    fps = rng.choice(list(_FPS_CHANCES), p=list(_FPS_CHANCES.values()))
    seconds = min(5.0 + rng.gamma(2.2, 2.0), _LONGEST_SECONDS)
    if index % _OVERLONG_EVERY == _OVERLONG_EVERY // 2:
        seconds, fps = _OVERLONG_SECONDS, 60.0
    plan = plan_clip(rng, seconds, clip_number, gap_share)
    poses, trans = render(plan, who, fps)
    seconds = len(poses) / fps
    take = f"s{subject:02d}/{index:05d}_{plan.actions[0].label.replace(' ', '_')}_poses.npz"
    file = amass / folder / take
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        file, poses=poses.astype(np.float32), trans=trans.astype(np.float32), betas=betas,
        dmpls=np.zeros((len(poses), 8), np.float32), gender=b"male", mocap_framerate=fps,
    )  # fmt: skip
    entry = {"babel_sid": index + 1, "feat_p": f"{in_babel}/{take}", "dur": round(seconds, 2), "frame_ann": None}
    if index % _NO_LABELS_EVERY != _NO_LABELS_EVERY // 2:
        entry["frame_ann"] = {"labels": annotate(plan, seconds)}
    return subset, entry


def main() -> None:
    args = parse_arguments()
    made = write_synthetic(args.out, args.clips, args.gaps)
    print(f"{args.out}: {args.clips} clips {'written' if made else 'are already there'}")


if __name__ == "__main__":
    run_command(main)
