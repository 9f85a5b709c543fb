"""Make the pictures player.gif of the README and animation.gif of docs/predict.md from a run on synthetic data.

bash prepare/demo.sh                                               # makes the run
python -m docs.pictures --run work_dir/demo              # writes to work_dir/demo/pictures
python -m docs.pictures --run work_dir/demo --out docs   # replaces the pictures of the README
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from urllib.parse import urlencode

from utils.command_line import argument_parser, check_first


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, "python -m docs.pictures")
    add = parser.add_argument
    add("--run", type=Path, default=Path("work_dir/demo"), metavar="FOLDER", help="a run (default: %(default)s)")
    add("--out", type=Path, metavar="FOLDER", help="where they go (default: the folder pictures of the run)")
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # now, because the imports below take seconds

from PIL import Image

from docs.browser import open_browser
from evaluation import detections
from reporting.animation import animate, clip_texts
from reporting.compare import read_run
from utils.atomic import whole_file
from utils.errors import run_command
from utils.skeleton import FPS
from utils.store import Split

STEP = 3  # every third frame, for small files
SIZE = (1000, 1400)  # of the browser's window in pixels
COLOURS = 96  # of the player's GIF; it has few, and a small palette makes a small file


def make_pictures(run: Path, out: Path) -> list[Path]:
    """Write both pictures into the folder `out` and return their paths. They show a clip with many classes.

    Raises UserError when `run` is not a finished run, its data are missing, or there is no browser (`docs.browser`).
    """
    player, animation = paths = [out / "player.gif", out / "animation.gif"]
    facts = read_run(run)
    split = Split.open(facts["root"], facts["split"])
    clips = [sid for sid in split.clip_ids("val") if len(split.labels(sid)) <= facts["max_frames"]]
    sid = max(clips, key=lambda sid: split.labels(sid).any(axis=0).sum())  # the clip of the run's time line
    found = detections.read(run / "detections.json", split.clip_ids(), split.classes).of_clip(split.index(sid))
    out.mkdir(parents=True, exist_ok=True)
    record_player(player, run / "report.html", sid)
    animate(animation, split.store.joints(sid), clip_texts(split, sid, found), f"synthetic clip {sid}")
    return paths


def record_player(path: Path, page: Path, clip: str) -> None:
    """Record the player of a page as a GIF, while it shows every STEP-th frame of a clip."""
    pictures = []
    with open_browser(*SIZE) as browser:
        browser.get(f"{page.resolve().as_uri()}#{urlencode({'clip': clip, 't': 0})}")
        element = browser.find_element("id", "player-player")
        browser.implicitly_wait(20)
        browser.find_element("css selector", "#player-name:not(:empty)")  # waits until the clip is open
        time_line = browser.find_element("id", "player-time-line")
        box = (0, 0, element.rect["width"], time_line.rect["y"] + time_line.rect["height"] - element.rect["y"])
        frames = int(time_line.get_attribute("aria-valuemax")) + 1
        for frame in range(0, frames, STEP):
            browser.execute_script(f"seek({frame})")
            picture = Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB").crop(box)
            pictures.append(
                picture.quantize(COLOURS, dither=Image.Dither.NONE, palette=pictures[0] if pictures else None)
            )
    with whole_file(path) as file:
        duration = round(1000 * STEP / FPS)
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0)


def main() -> None:
    args = parse_arguments()
    for path in make_pictures(args.run, args.out or args.run / "pictures"):
        print(f"written: {path}, {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    run_command(main)
