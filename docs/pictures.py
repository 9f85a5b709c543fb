"""Record a page's player as a GIF, such as the picture of the README from a run on synthetic data.

bash prepare/demo.sh                                              # makes the run
python -m docs.pictures work_dir/demo/report.html docs/player.gif --clip 9
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
    add("page", type=Path, metavar="PAGE.html", help="a page with the player")
    add("picture", type=Path, metavar="PICTURE.gif", help="the picture; an existing one is replaced")
    add("--clip", default="", metavar="ID", help="the clip's id (default: the clip that the page opens)")
    return parser.parse_args()


if __name__ == "__main__":
    check_first(parse_arguments)  # now, because the imports below take seconds

from PIL import Image

from docs.browser import open_browser
from utils.atomic import whole_file
from utils.errors import UserError, run_command
from utils.skeleton import FPS

STEP = 3  # every third frame, for small files
SIZE = (1000, 1400)  # of the browser's window in pixels
COLOURS = 96  # a small palette makes a small file


def record_player(page: Path, picture: Path, clip: str) -> None:
    """Record the player of a page as a GIF, while it shows every STEP-th frame of a clip.

    Raises UserError when the page is missing, or there is no browser (`docs.browser`).
    """
    if not page.is_file():
        raise UserError(f"{page}: does not exist; expected a page with the player, such as a run's report.html")
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
            shown = Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB").crop(box)
            palette = pictures[0] if pictures else None
            pictures.append(shown.quantize(COLOURS, dither=Image.Dither.NONE, palette=palette))
    with whole_file(picture) as file:
        duration = round(1000 * STEP / FPS)
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0)


def main() -> None:
    args = parse_arguments()
    record_player(args.page, args.picture, args.clip)
    print(f"written: {args.picture}, {args.picture.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    run_command(main)
