"""Animate a clip's skeleton as .gif or .mp4, with its true labels and, if given, its detections.

The store holds bodies without translation, so the pelvis stays in place: a body that squats lifts its feet. The floor
lies below the lowest foot of the whole clip.

    python -m reporting.animation --split split1 --clip 4321 --out clip.gif
    python -m reporting.animation --split split1 --clip 4321 --detections work_dir/split1/detections.json --out clip.mp4
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import compress
from pathlib import Path

from utils import config
from utils.command_line import argument_parser, check_first


def parse_arguments() -> argparse.Namespace:
    defaults = config.load().data
    parser = argument_parser(__doc__, "python -m reporting.animation")
    add = parser.add_argument
    add("--data", type=Path, default=defaults.root, metavar="ROOT", help="prepared data (default: %(default)s)")
    add("--split", default=defaults.split, metavar="NAME", help="name of the split (default: %(default)s)")
    add("--clip", required=True, metavar="ID", help="the clip's id in BABEL")
    add("--out", type=Path, required=True, metavar="FILE", help="the animation, .gif or .mp4")
    add("--detections", type=Path, metavar="FILE", help="a run's detections.json, shown below the true labels")
    add("--step", type=int, default=1, metavar="N", help="draw every N-th frame, for smaller files (default: 1)")
    args = parser.parse_args()
    if args.step < 1:
        parser.error(f"--step is {args.step}: expected 1 or more")
    return args


if __name__ == "__main__":
    check_first(parse_arguments)  # now, because the imports below take seconds

import numpy as np
from PIL import Image, ImageDraw

from evaluation import detections
from evaluation.localization import Detections
from reporting.skeleton_view import FAINT, GRID, INK, LEFT, PAPER, RIGHT, SkeletonView, font, write_line
from utils.atomic import whole_file
from utils.errors import UserError, run_command
from utils.skeleton import FPS
from utils.store import Split

# All in pixels: width of a picture, and heights of its title, of a line of its label, of its skeleton and of its foot.
WIDTH, TITLE, LINE, BODY, FOOT = 480, 26, 22, 400, 14
MARGIN = 12  # pixels at the left and right
MAX_LINES = 4  # of a label
MAX_FOUND = 3  # detected classes named in one frame
GIF_PICTURES = 1000  # Pillow holds all pictures of a GIF in memory


def animate(path: Path, joints: np.ndarray, labels: Sequence[str], title: str, step: int = 1) -> None:
    """Write the motion as .gif or .mp4, by the path's suffix. It plays at the clip's own speed.

    Args:
        joints: (T, 25, 3) metres, z up, FPS frames per second. The body may travel.
        labels: the text above the body, for each of the T frames. Newlines separate lines.
        step: draw every step-th frame. A GIF takes a larger step if it would have more than GIF_PICTURES pictures.

    Raises:
        UserError: the suffix is neither, or the encoder of .mp4 is not installed.
        ValueError: `joints` has another shape or a value that is not finite.
    """
    if path.suffix.lower() == ".mp4":
        _write_mp4(path, draw_pictures(joints, labels, title, step), step)
    elif path.suffix.lower() == ".gif":
        step = max(step, math.ceil(len(joints) / GIF_PICTURES))
        _write_gif(path, draw_pictures(joints, labels, title, step), step, math.ceil(len(joints) / step))
    else:
        raise UserError(f"{path}: an animation is a .gif or an .mp4; choose a name that ends so")


def draw_pictures(joints: np.ndarray, labels: Sequence[str], title: str, step: int) -> Iterator[Image.Image]:
    """Draw every step-th frame: RGB images of one size with title, time, label, skeleton and progress bar."""
    joints = np.asarray(joints, np.float64)
    view = SkeletonView(joints, (WIDTH, BODY))
    lines = [labels[frame].split("\n")[:MAX_LINES] for frame in range(0, len(joints), step)]
    head = TITLE + LINE * max(map(len, lines)) + 4
    height = head + BODY + FOOT
    background = Image.new("RGB", (WIDTH, height + height % 2), PAPER)  # video needs even sides
    draw = ImageDraw.Draw(background)
    write_line(draw, (MARGIN, 8), title, WIDTH - 100, FAINT, 13)
    draw.rectangle([0, background.height - 5, WIDTH, background.height], GRID)
    for frame, texts in zip(range(0, len(joints), step), lines, strict=True):
        image = background.copy()
        image.paste(view.draw(joints[frame]), (0, head))
        draw = ImageDraw.Draw(image)
        draw.text((WIDTH - MARGIN, 8), f"{frame / FPS:.2f} s", FAINT, font(13), anchor="ra")
        for row, text in enumerate(texts):
            write_line(draw, (MARGIN, TITLE + LINE * row), text, WIDTH - 2 * MARGIN, INK, 16, bold=True)
        progress = (frame + 1) / len(joints)
        draw.rectangle([0, image.height - 5, progress * WIDTH, image.height], FAINT)
        x, y = MARGIN, image.height - FOOT - 8
        for side, colour in (("left", LEFT), ("right", RIGHT)):
            draw.line([x, y, x + 16, y], colour, 5)
            draw.text((x + 22, y), side, FAINT, font(12), anchor="lm")
            x += 30 + round(font(12).getlength(side))
        yield image


def _write_gif(path: Path, pictures: Iterator[Image.Image], step: int, count: int) -> None:
    # A GIF counts time in hundredths of a second. Rounding start times, not durations, keeps the clip's speed.
    starts = [round(100 * number * step / FPS) for number in range(count + 1)]
    durations = [10 * hundredths for hundredths in np.diff(starts).tolist()]  # milliseconds
    small = (picture.quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE) for picture in pictures)
    with whole_file(path) as file:
        next(small).save(file, "GIF", save_all=True, append_images=small, duration=durations, loop=0, disposal=1)


def _write_mp4(path: Path, pictures: Iterator[Image.Image], step: int) -> None:
    try:
        import av  # imported here, because a .gif does not need it
    except ImportError as error:
        hint = "install requirements.txt, or write a .gif"
        raise UserError(f"{path}: .mp4 needs the package av ({error}): {hint}") from None
    with whole_file(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS, step))
        stream.pix_fmt = "yuv420p"  # the format that every player knows
        stream.options = {"crf": "20", "preset": "veryfast"}
        for picture in pictures:
            if stream.width != picture.width:
                stream.width, stream.height = picture.size
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def clip_texts(split: Split, sid: str, found: Detections | None = None) -> list[str]:
    """The text of each frame of a clip: its true classes and, if given, the best detections that cover it."""
    true = [
        ", ".join(compress(split.classes, row)) or ("background" if annotated else "not annotated")
        for row, annotated in zip(split.labels(sid), split.annotated(sid), strict=True)
    ]
    if found is None:
        return true
    best = found_texts(found, len(true), split.classes, MAX_FOUND)
    return [f"true: {text}\nfound: {names or 'nothing'}" for text, names in zip(true, best, strict=True)]


def found_texts(found: Detections, frames: int, classes: Sequence[str], most: int = 1) -> list[str]:
    """Classes and scores of the `most` best detections that cover each of the `frames`, or an empty text."""
    scores = np.full((frames, len(classes)), -np.inf)
    for label, (start, end), score in zip(found.label, found.segments, found.scores, strict=True):
        # A detection covers a frame if it covers the frame's middle.
        covered = scores[max(0, math.floor(start + 0.5)) : math.floor(end + 0.5), label]
        np.maximum(covered, score, out=covered)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    return [
        ", ".join(f"{classes[label]} {row[label]:.2f}" for label in best if row[label] > -np.inf)
        for row, best in zip(scores, order, strict=True)
    ]


def main() -> None:
    args = parse_arguments()
    split = Split.open(args.data, args.split)
    place, found = split.index(args.clip), None
    if args.detections:
        found = detections.read(args.detections, split.clip_ids(), split.classes).of_clip(place)
    joints = split.store.joints(args.clip)
    if not np.isfinite(joints).all():
        raise UserError(f"{split.store.folder}: clip {args.clip} has joints that are not finite; prepare it again")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    labels = clip_texts(split, args.clip, found)
    animate(args.out, joints, labels, f"{split.name}, clip {args.clip}", args.step)
    print(f"written: {args.out}")


if __name__ == "__main__":
    run_command(main)
