"""Compare two runs on the same validation clips: the differences in AP, and the detections of both runs in each clip.

python -m reporting.compare work_dir/split1 work_dir/best --out compare.html
"""

import argparse
from pathlib import Path

from utils.command_line import argument_parser, check_first, new_file


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python -m reporting.compare")
    add = parser.add_argument
    add("run_a", type=Path, metavar="RUN_A", help="a run's folder, with results.json and detections.json")
    add("run_b", type=Path, metavar="RUN_B", help="the folder of the run that is compared with it")
    add("--data", type=Path, metavar="ROOT", help="prepared data (default: as in the first run's results.json)")
    add("--out", type=new_file, default=Path("compare.html"), metavar="FILE", help="the page (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # reports mistakes in the command line before the slow imports below

import numpy as np
from pydantic import AliasPath, BaseModel, Field, TypeAdapter

from evaluation.protocols import Evaluation
from evaluation.score import score
from reporting.player import PlayedClip, pack_fitting, player_data
from reporting.report import clip_ap
from reporting.templates import render
from utils.atomic import write_whole
from utils.errors import UserError, run_command
from utils.files import read_json
from utils.store import Split


def compare_html(split: Split, names: tuple[str, str], evaluations: tuple[Evaluation, Evaluation]) -> str:
    """The comparison as an HTML page that needs no other file.

    `names` are those of the runs, for example their folders. `evaluations` are of the same clips by the same protocol.
    """
    a, b = evaluations
    ap_a, ap_b = clip_ap(a), clip_ap(b)
    gain, change = ap_b - ap_a, b.ap - a.ap  # (N,) of the clips, and (n_tious, K) of the classes
    played = []
    for index, sid in enumerate(a.names):
        found = tuple(evaluation.detections.of_clip(index) for evaluation in evaluations)
        played.append(PlayedClip.of_split(split, sid, found, ap=(ap_a[index], ap_b[index])))
    packed = pack_fitting(played, np.argsort(-np.abs(gain), kind="stable").tolist(), split.classes)
    return render(
        "compare.html",
        split=split.name,
        names=names,
        a=a,
        b=b,
        tious=[f"{tiou:g}" for tiou in a.tious],
        classes=list(zip(a.classes, a.ap.mean(axis=0), b.ap.mean(axis=0), *change, change.mean(axis=0), strict=True)),
        gain=gain,
        player=player_data(packed, split.classes, ["A", "B"]),
    )


class EvaluatedOn(BaseModel):
    """What a run was evaluated on, in its results.json."""

    split: str
    store: str
    labels: str | None = None  # earlier versions wrote none
    root: str = Field(validation_alias=AliasPath("settings", "data", "root"))
    max_frames: int = Field(validation_alias=AliasPath("settings", "data", "max_frames"))
    tious: list[float] = Field(validation_alias=AliasPath("settings", "eval", "tious"))


def evaluate_runs(folders: tuple[Path, Path], root: Path | None) -> tuple[Split, tuple[Evaluation, Evaluation]]:
    """The split and the corrected evaluations of both runs.

    Raises UserError if the runs were evaluated on different clips or at different tIoUs.
    """
    expected = "the folder of a finished run, or of its evaluation"
    first, second = (read_json(folder / "results.json", TypeAdapter(EvaluatedOn), expected) for folder in folders)
    for name in ("split", "store", "labels", "max_frames", "tious"):
        of_first, of_second = getattr(first, name), getattr(second, name)
        if of_first != of_second:
            same = "at the same tIoUs" if name == "tious" else "on the same clips"
            remedy = "evaluate one again by --phase test"
            if name == "max_frames":  # `--phase test` takes it from the checkpoint
                remedy = "train one again with that of the other"
            raise UserError(
                f"{folders[1]}: its {name} is {of_second}, and that of {folders[0]} is {of_first}. "
                f"Only runs that were evaluated {same} can be compared: {remedy}"
            )
    split = Split.open(root or first.root, first.split)
    same_labels = first.labels in (split.manifest.labels_file, None)
    if split.store.digest != first.store or not same_labels:
        what = "joints" if same_labels else "labels"
        raise UserError(
            f"{split.folder}: has other {what} than the runs were evaluated on. "
            "Name the folder of their data by --data, or evaluate both again by --phase test"
        )
    return split, tuple(
        score(folder / "detections.json", split, first.max_frames, first.tious)[0] for folder in folders
    )


def main() -> None:
    args = parse_arguments()
    split, evaluations = evaluate_runs((args.run_a, args.run_b), args.data)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(args.out, compare_html(split, (str(args.run_a), str(args.run_b)), evaluations).encode())
    a, b = (evaluation.average_map for evaluation in evaluations)
    print(f"written: {args.out}; average mAP {a:.2f} and {b:.2f}, difference {b - a:+.2f}")


if __name__ == "__main__":
    run_command(main)
