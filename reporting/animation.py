"""A clip as a moving skeleton, .gif or .mp4, with what is true and what was found in each frame.

    python -m reporting.animation --data dataset/processed_data --split split1 --clip 4321 --out clip.gif
    python -m reporting.animation --split split1 --clip 4321 --detections work_dir/split1/detections.json --out clip.mp4

The body is shown as the store holds it: upright by gravity, its pelvis in place, its floor below the lowest foot of
the whole clip. As the pelvis does not move, whoever squats lifts the feet.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from evaluation import detections
from evaluation.localization import Detections
from reporting.skeleton_view import (
    COLOURS,
    FAINT,
    GRID,
    INK,
    LEFT,
    PAPER,
    RIGHT,
    SHARPNESS,
    Labels,
    Stage,
    fitting,
    font,
    label_of,
)
from utils import config
from utils.atomic import whole_file
from utils.errors import UserError, run_command
from utils.skeleton import FPS
from utils.store import SUBSETS, Split

WIDTH, BODY = 480, 400  # pixels of the picture, and of the height that the body has
TITLE, LINE, FOOT = 26, 22, 14  # pixels of the title's height, of a label line's and of the bar's below
MARGIN = 12
LINES = 4  # of a label at most
FOUND = 3  # classes named as found in one frame
GIF_RATE = 50  # pictures a second: browsers slow down faster ones
NEAR = 40  # of 255, between two colours
GIF_PICTURES = 1000  # Pillow holds all of them in memory


def animate(path: Path, joints: np.ndarray, fps: float, labels: Labels, title: str, step: int = 1) -> None:
    """Write the motion as .gif or .mp4, whichever the path ends in; whole or not at all, in the clip's own time.

    Args:
        joints: (T, 25, 3) metres, z up, at `fps` frames a second; the body may travel.
        labels: what is written above the body in each frame, lines parted by newlines; by frame number or as a
            list of T texts.
        step: every how many frames there is a picture. A GIF takes a larger one where it would have more than
            GIF_PICTURES pictures, or more than GIF_RATE a second.

    Raises:
        UserError: the path ends in something else, or the encoder of .mp4 is not installed.
        ValueError: the joints have another shape or a number that is not finite, or `step` is below 1.
    """
    if step < 1:
        raise ValueError(f"step is {step}, expected 1 or more")
    writers = {".gif": _write_gif, ".mp4": _write_mp4}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise UserError(f"{path}: an animation is a .gif or an .mp4; name the file so")
    if write is _write_gif:
        step = max(step, math.ceil(fps / GIF_RATE), math.ceil(len(joints) / GIF_PICTURES))
    write(path, Film(joints, fps, labels, title, step))


class Film:
    """The pictures of an animation, one after another: RGB images of one size."""

    def __init__(self, joints: np.ndarray, fps: float, labels: Labels, title: str, step: int) -> None:
        self.joints = np.asarray(joints, np.float64)
        self.fps, self.title = fps, title
        self.frames = range(0, len(joints), step)
        self.rate = fps / step
        self.texts = {frame: label_of(labels, frame).split("\n")[:LINES] for frame in self.frames}
        self.stage = Stage(self.joints, (WIDTH, BODY))
        self.head = TITLE + LINE * max(len(lines) for lines in self.texts.values()) + 4

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Image.Image]:
        ground = self._ground()
        for frame in self.frames:
            image = ground.copy()
            image.paste(self.stage.picture(self.joints[frame]).reduce(SHARPNESS), (0, self.head))
            draw = ImageDraw.Draw(image)
            seconds = f"{frame / self.fps:.2f} s"
            draw.text((WIDTH - MARGIN, 8), seconds, FAINT, font(13), anchor="ra")
            for row, text in enumerate(self.texts[frame]):
                line = fitting(text, WIDTH - 2 * MARGIN, 16, bold=True)
                draw.text((MARGIN, TITLE + LINE * row), line, INK, font(16, bold=True))
            done = (frame + 1) / len(self.joints)
            draw.rectangle([0, image.height - 5, done * WIDTH, image.height], FAINT)
            _key(draw, image.height - FOOT - 8)
            yield image

    def _ground(self) -> Image.Image:
        """What all pictures share."""
        height = self.head + BODY + FOOT
        image = Image.new("RGB", (WIDTH, height + height % 2), PAPER)  # video wants even sides
        draw = ImageDraw.Draw(image)
        draw.text((MARGIN, 8), fitting(self.title, WIDTH - 100, 13), FAINT, font(13))
        draw.rectangle([0, image.height - 5, WIDTH, image.height], GRID)
        return image


def _key(draw: ImageDraw.ImageDraw, y: int) -> None:
    """Which colour is the body's left, and which its right."""
    x = MARGIN
    for name, colour in (("left", LEFT), ("right", RIGHT)):
        draw.line([x, y, x + 16, y], colour, 5)
        draw.text((x + 22, y), name, FAINT, font(12), anchor="lm")
        x += 30 + round(font(12).getlength(name))


def _write_gif(path: Path, film: Film) -> None:
    colours = _palette()
    pictures = (picture.quantize(palette=colours, dither=Image.Dither.NONE) for picture in film)
    # A GIF counts hundredths of a second: uneven ones keep the clip's time.
    edges = [round(100 * number / film.rate) for number in range(len(film) + 1)]
    durations = [10 * (end - start) for start, end in zip(edges, edges[1:], strict=False)]
    with whole_file(path) as file:
        next(pictures).save(file, "GIF", save_all=True, append_images=pictures, duration=durations, loop=0, disposal=1)


def _palette() -> Image.Image:
    """All colours that pictures have, and steps between any two that are not near, which smooth edges have."""
    named = np.array([ImageColor.getrgb(colour) for colour in COLOURS])
    pairs = [(a, b) for a in range(len(named)) for b in range(a) if np.abs(named[a] - named[b]).max() > NEAR]
    steps = [named[a] + (named[b] - named[a]) * part / 5 for a, b in pairs for part in (1, 2, 3, 4)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.round(np.concatenate([named, steps])).astype(np.uint8).tobytes())
    return palette


def _write_mp4(path: Path, film: Film) -> None:
    try:
        import av  # here, as everything else works without it
    except ImportError as error:
        raise UserError(
            f"{path}: .mp4 needs the package av ({error}): install requirements.txt, or write a .gif"
        ) from None
    with whole_file(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(film.rate).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"  # the format that every player knows
        stream.options = {"crf": "20", "preset": "veryfast"}
        for picture in film:
            if stream.width != picture.width:
                stream.width, stream.height = picture.size
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def clip_texts(split: Split, sid: str, found: Detections | None = None) -> list[str]:
    """What is true in each frame of a clip, and below it what was found, the best-scored first."""
    labels, annotated = split.labels(sid), split.annotated(sid)
    texts = [
        ", ".join(name for name, here in zip(split.classes, row, strict=True) if here)
        or ("background" if seen else "not annotated")
        for row, seen in zip(labels, annotated, strict=True)
    ]
    if found is None:
        return texts
    scores = np.full(labels.shape, -np.inf)
    for label, (start, end), score in zip(found.label, found.segments, found.scores, strict=True):
        here = scores[max(0, math.floor(start + 0.5)) : math.floor(end + 0.5), label]  # frames whose middle it covers
        np.maximum(here, score, out=here)
    return [f"true: {text}\nfound: {_best(row, split.classes)}" for text, row in zip(texts, scores, strict=True)]


def _best(scores: np.ndarray, classes: Sequence[str]) -> str:
    order = [label for label in np.argsort(-scores, kind="stable")[:FOUND] if scores[label] > -np.inf]
    return ", ".join(f"{classes[label]} {scores[label]:.2f}" for label in order) or "nothing"


def main() -> None:
    defaults = config.load().data
    parser = argparse.ArgumentParser(
        prog="python -m reporting.animation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=defaults.root, metavar="ROOT", help="prepared data (default: %(default)s)"
    )
    parser.add_argument(
        "--split", default=defaults.split, metavar="NAME", help="name of the split (default: %(default)s)"
    )
    parser.add_argument("--clip", required=True, metavar="ID", help="the clip's BABEL id, as in the split")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the animation, .gif or .mp4")
    parser.add_argument(
        "--detections", type=Path, metavar="FILE", help="also write what was found: a run's detections.json"
    )
    parser.add_argument(
        "--step", type=int, default=1, metavar="N", help="a picture every N frames: smaller files (default: 1)"
    )
    args = parser.parse_args()
    if args.step < 1:
        parser.error(f"--step is {args.step}: expected 1 or more")
    split = Split.open(args.data, args.split)
    ids = [sid for subset in SUBSETS for sid in split.clip_ids(subset)]
    if args.clip not in ids:
        raise UserError(f"{split.folder}: has no clip {args.clip!r}; {near_ids(args.clip, ids)}")
    found = None
    if args.detections:
        found = detections.read(args.detections, ids, split.classes).of_clip(ids.index(args.clip))
    texts = clip_texts(split, args.clip, found)
    joints = split.store.joints(args.clip)
    if not np.isfinite(joints).all():
        raise UserError(f"{split.store.folder}: clip {args.clip} has joints that are not finite; prepare it again")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    animate(args.out, joints, FPS, texts, f"{split.name}, clip {args.clip}", args.step)
    print(f"written: {args.out}")


def near_ids(sid: str, ids: list[str]) -> str:
    """The end of a message about a clip that is not there."""
    near = get_close_matches(sid[:100], ids[:10_000], n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"it has {len(ids)}, such as {', '.join(ids[:3])}"


if __name__ == "__main__":
    run_command(main)
