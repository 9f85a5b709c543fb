"""Write synthetic data in PKU-MMD's layout, for runs without the data set.

    python -m prepare.synthetic.pkummd --out dataset/synthetic_pkummd --takes 12

Each take is seen by three cameras, L, M and R. Every third one has two people. Motion and bodies are invented.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from utils.command_line import argument_parser, check_first


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python -m prepare.synthetic.pkummd")
    add = parser.add_argument
    add("--out", type=Path, required=True, help="new folder for the data")
    add("--takes", type=int, default=12, help="number of takes, from 2 to 9999 (default: %(default)s)")
    add("--seconds", type=float, default=60.0, help="approximate length of a take (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # now, because the imports below take seconds

import numpy as np

from prepare.formats.body_model import load_body
from prepare.skeletons.body_joints import BodyJoints
from prepare.skeletons.recordings import AXIS_ROTATIONS
from prepare.synthetic.motion import Performer
from prepare.synthetic.take import Plan, perform, plan_clip
from utils.errors import UserError, run_command
from utils.progress import progress
from utils.skeleton import FPS, KINECT_ORDER

CAMERAS = {"L": -45.0, "M": 0.0, "R": 45.0}  # degrees about the vertical axis
# PKU-MMD's number of each action that is labelled, in a take of one person and of two
ALONE = {"wave": 13, "jump": 17, "kick": 19, "gesture": 25, "sit": 33, "stand up": 34, "clap": 6, "bend": 1}
TOGETHER = {"kick": 18, "wave": 24, "punch": 26}
DISTANCE = np.array([1.2, 0.4, 0.0])  # metres from the first person to the second one
CAMERA = np.array([0.0, 0.0, 3.0])  # metres from the camera to the first person, y up


def write_pkummd(out: Path, takes: int, seconds: float = 60.0) -> None:
    """Write `takes` takes, by three cameras each, with labels and both protocols. Raises UserError: `out` is there."""
    if out.exists() or not 2 <= takes <= 9999 or not 1 <= seconds <= 600:
        raise UserError(f"{out}: expected a new folder, 2 to 9999 takes and 1 to 600 seconds; change an option")
    out.parent.mkdir(parents=True, exist_ok=True)
    joints_of = BodyJoints(load_body("synthetic"))
    with tempfile.TemporaryDirectory(prefix=f"{out.name}.part-", dir=out.parent) as scratch:
        root = Path(scratch) / "data"
        skeletons, labels = root / "Data" / "PKU_Skeleton_Renew", root / "Label" / "Train_Label_PKU_final"
        for folder in (skeletons, labels, root / "Split"):
            folder.mkdir(parents=True)
        for number in progress(range(takes), "synthetic takes", "take", takes):
            people, rows = _take(joints_of, np.random.default_rng((0, number)), seconds, number, number % 3 == 2)
            for camera, degrees in CAMERAS.items():
                name = f"{number + 2:04d}-{camera}.txt"
                np.savetxt(skeletons / name, _seen(people, degrees).reshape(len(people), -1), fmt="%.6f")
                (labels / name).write_text(rows)
        names = [path.stem for path in sorted(skeletons.iterdir())]
        apart = {
            "cross-subject": [int(name[:4]) % 4 == 1 for name in names],
            "cross-view": [n[-1] == "L" for n in names],
        }
        for protocol, validation in apart.items():
            train, val = ([n for n, v in zip(names, validation, strict=True) if v == other] for other in (False, True))
            text = f"Training videos:\n{', '.join(train)}\nValidataion videos:\n{', '.join(val)}\n"
            (root / "Split" / f"{protocol}.txt").write_text(text)
        root.rename(out)


def _take(
    joints_of: BodyJoints, rng: np.random.Generator, seconds: float, turn: int, two: bool
) -> tuple[np.ndarray, str]:
    """Joints (T, 2, 25, 3), z up, and rows of labels of a take. Without a second person there are zeros."""
    plan = plan_clip(rng, seconds, turn, gap_share=0.08)
    first = _perform(joints_of, plan, rng)
    second = np.zeros_like(first)
    if two:
        other = _perform(joints_of, plan_clip(rng, seconds, turn + 1, gap_share=0.08), rng)
        second = other[np.minimum(np.arange(len(first)), len(other) - 1)] + DISTANCE
    numbers = ALONE | TOGETHER if two else ALONE
    rows = [
        f"{numbers[action.label]},{round(action.start * FPS)},{min(round(action.end * FPS), len(first))},2\n"
        for action in plan.actions + plan.overlays
        if action.label in numbers
    ]
    return np.stack([first, second], axis=1), "".join(rows)


def _perform(joints_of: BodyJoints, plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Joints (T, 25, 3) of one person in place."""
    poses, _ = perform(plan, Performer(rng), FPS, rng)
    return joints_of(poses)


def _seen(people: np.ndarray, degrees: float) -> np.ndarray:
    """Joints (T, 2, 25, 3) as a camera at this angle sees them: y up, in Kinect's order."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    seen = (people @ turn.T @ AXIS_ROTATIONS["y"] + CAMERA) * people.any(axis=(2, 3), keepdims=True)
    return seen[:, :, np.argsort(KINECT_ORDER)]


def main() -> None:
    args = parse_arguments()
    write_pkummd(args.out, args.takes, args.seconds)
    print(f"{args.out}: {args.takes} takes written")


if __name__ == "__main__":
    run_command(main)
