"""The README's pictures, from a run on synthetic data: framework.svg, time_line.png, animation.gif.

bash prepare/demo.sh                              # makes the run
python -m docs.pictures --run work_dir/demo       # about ten seconds
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

from docs.framework import framework
from evaluation import detections
from reporting.animation import animate, clip_texts
from utils.atomic import write_whole
from utils.errors import UserError, run_command
from utils.skeleton import FPS
from utils.store import Split

FOLDER = Path(__file__).parent
STEP = 3  # frames from picture to picture of the animation, which keeps it small


def make_pictures(run: Path, out: Path) -> list[Path]:
    """Make all pictures of a run's validation clip with most classes; returns their paths.

    Raises:
        UserError: the folder holds no finished run, or its data are not there.
    """
    settings = _settings(run)
    split = Split.open(settings["root"], settings["split"])
    ids = [sid for sid in split.clip_ids("val") if len(split.labels(sid)) <= settings["max_frames"]]
    if not ids:
        raise UserError(f"{split.folder}: has no validation clip to show")
    sid = max(ids, key=lambda sid: split.labels(sid).any(axis=0).sum())  # the one of the run's time line
    joints = split.store.joints(sid)
    paths = [out / name for name in ("framework.svg", "time_line.png", "animation.gif")]
    sketch = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "framework"}):  # the same file each time
        framework(joints).savefig(sketch, format="svg", metadata={"Date": None})
    write_whole(paths[0], sketch.getvalue())
    write_whole(paths[1], (run / "time_line.png").read_bytes())
    known = [other for subset in ("train", "val") for other in split.clip_ids(subset)]
    found = detections.read(run / "detections.json", known, split.classes).of_clip(known.index(sid))
    animate(paths[2], joints, FPS, clip_texts(split, sid, found), f"synthetic clip {sid}", STEP)
    return paths


def _settings(run: Path) -> dict[str, Any]:
    """The data settings that a finished run was made with."""
    path = run / "results.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["settings"]["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); expected a finished run, as prepare/demo.sh makes"
        ) from None


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m docs.pictures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--run", type=Path, default=Path("work_dir/demo"), metavar="FOLDER", help="finished run (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="where they go (default: docs)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for path in make_pictures(args.run, args.out):
        print(f"written: {path}, {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    run_command(main)
