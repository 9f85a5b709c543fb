"""Write synthetic data in PKU-MMD's layout, for runs without the data set: 12 takes of a minute.

    python -m prepare.synthetic.pkummd --out dataset/synthetic_pkummd

Three cameras, L, M and R, see each take. Every third take has two people. Motion and bodies are invented.
"""

import argparse
from pathlib import Path

from utils.command_line import argument_parser, check_first


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python -m prepare.synthetic.pkummd")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the data")
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np
from scipy.spatial.transform import Rotation

from prepare.formats.body_model import load_body
from prepare.skeletons.body_joints import BodyJoints
from prepare.synthetic.generate import GAP_SHARE
from prepare.synthetic.motion import Performer
from prepare.synthetic.take import plan_clip, render
from utils.atomic import whole_folder
from utils.errors import run_command
from utils.progress import progress
from utils.skeleton import FPS, KINECT_ORDER

CAMERA_ANGLES = {"L": -45.0, "M": 0.0, "R": 45.0}  # degrees about the vertical axis
# Numbers in PKU-MMD of the labelled actions: of one person, of two people
ALONE = {"wave": 13, "jump": 17, "kick": 19, "gesture": 25, "sit": 33, "stand up": 34, "clap": 6, "bend": 1}
TOGETHER = ALONE | {"kick": 18, "wave": 24, "punch": 26}
DISTANCE = np.array([1.2, 0.4, 0.0])  # metres from the first person to the second one
CAMERA_OFFSET = np.array([0.0, 0.0, 3.0])  # metres from the camera to the first person, y up


def write_pkummd(out: Path, takes: int = 12, seconds: float = 60.0) -> None:
    """Write takes of about `seconds`, by three cameras each, with labels and both protocols.

    Raises UserError when `out` exists.
    """
    body_joints = BodyJoints(load_body("synthetic"))
    with whole_folder(out) as root:
        skeletons, labels = root / "Data" / "PKU_Skeleton_Renew", root / "Label" / "Train_Label_PKU_final"
        for folder in (skeletons, labels, root / "Split"):
            folder.mkdir(parents=True)
        for number in progress(range(takes), "synthetic takes", "take"):
            people, rows = _take(body_joints, number, seconds)
            there = people.any(axis=(2, 3), keepdims=True)  # an absent person stays zeros
            for camera, degrees in CAMERA_ANGLES.items():
                turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
                seen = (people @ turn.T + CAMERA_OFFSET) * there
                name = f"{number + 2:04d}-{camera}.txt"
                np.savetxt(skeletons / name, seen.reshape(len(seen), -1), fmt="%.6f")
                (labels / name).write_text(rows)
        names = sorted(path.stem for path in skeletons.iterdir())
        val_takes = [name for name in names if int(name[:4]) % 4 == 1]  # every fourth stands for a held-out subject
        left_views = [name for name in names if name.endswith("L")]
        for protocol, val in (("cross-subject", val_takes), ("cross-view", left_views)):
            train = ", ".join(name for name in names if name not in val)
            text = f"Training videos:\n{train}\nValidataion videos:\n{', '.join(val)}\n"
            (root / "Split" / f"{protocol}.txt").write_text(text)


def _take(body_joints: BodyJoints, number: int, seconds: float) -> tuple[np.ndarray, str]:
    """Joints (T, 2, 25, 3), y up, in Kinect's order, and rows of labels of a take. An absent person is zeros."""
    rng = np.random.default_rng((0, number))
    plan = plan_clip(rng, seconds, number, GAP_SHARE)
    first = body_joints(render(plan, Performer(rng), FPS)[0])
    second, numbers = np.zeros_like(first), ALONE
    if number % 3 == 2:
        other = body_joints(render(plan_clip(rng, seconds, number + 1, GAP_SHARE), Performer(rng), FPS)[0])
        second = other[np.minimum(np.arange(len(first)), len(other) - 1)] + DISTANCE  # stays in the last pose
        numbers = TOGETHER
    rows = [
        f"{numbers[action.label]},{round(action.start * FPS)},{min(round(action.end * FPS), len(first))},2\n"
        for action in plan.actions + plan.overlays
        if action.label in numbers
    ]
    people = np.stack([first, second], axis=1)[:, :, KINECT_ORDER]
    return people[..., (0, 2, 1)] * (1, 1, -1), "".join(rows)  # from z up to y up: (x, y, z) → (x, z, -y)


def main() -> None:
    args = parse_arguments()
    write_pkummd(args.out)
    print(f"{args.out}: written")


if __name__ == "__main__":
    run_command(main)
