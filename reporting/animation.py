"""Animate a skeleton as .gif or .mp4, with a text above it, such as its true labels and its detections.

Bodies of AMASS have no translation, so the pelvis stays in place: a body that squats lifts its feet. The floor lies
below the lowest joint of the whole clip.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import compress
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from evaluation.localization import Detections
from reporting.skeleton_view import LEFT, PAPER, RIGHT, SkeletonView
from reporting.style import drawable, font_of
from utils.atomic import whole_file
from utils.errors import UserError
from utils.skeleton import FPS
from utils.store import Split

# All in pixels: width of a picture, and heights of its title, a line of its text, its skeleton and its footer
WIDTH, TITLE, LINE, BODY, FOOTER = 480, 26, 22, 400, 14
MARGIN = 12  # pixels at the left and right
INK, FAINT = "#111111", "#666666"
MAX_TEXT = 54  # characters of a line
MAX_FOUND = 3  # detected classes named in one frame
GIF_STEP = 2  # frames; a GIF with 15 pictures per second has half the size
GIF_PICTURES = 1000  # Pillow holds all pictures of a GIF in memory


def animate(path: Path, joints: np.ndarray, texts: Sequence[str], title: str, first: int = 0) -> None:
    """Write the motion as .gif or .mp4, by the path's suffix.

    Args:
        joints: (T, 25, 3) metres, z up, FPS frames per second. The body may travel.
        texts: the text above the body, for each of the T frames.
        first: index in the recording of the first frame.

    Raises UserError when the suffix is neither, a joint is not finite, or the encoder of .mp4 is not installed.
    """
    if not np.isfinite(joints).all():
        raise UserError(f"{path}: this clip has joints that are not finite and cannot be drawn; prepare it again")
    if path.suffix.lower() == ".mp4":
        _write_mp4(path, draw_pictures(joints, texts, title, 1, first))
    elif path.suffix.lower() == ".gif":
        _write_gif(path, joints, texts, title, first)
    else:
        raise UserError(f"{path}: an animation is a .gif or an .mp4; choose a name that ends so")


def draw_pictures(
    joints: np.ndarray, texts: Sequence[str], title: str, step: int, first: int = 0
) -> Iterator[Image.Image]:
    """Draw every step-th frame of joints (T, 25, 3): RGB images of one size with title, time, text and skeleton."""
    view = SkeletonView(joints, (WIDTH, BODY))
    frames = range(0, len(joints), step)
    header = TITLE + LINE * max(texts[frame].count("\n") + 1 for frame in frames) + 4
    height = header + BODY + FOOTER
    background = Image.new("RGB", (WIDTH, height + height % 2), PAPER)  # video needs even sides
    draw = ImageDraw.Draw(background)
    title = drawable(title, MAX_TEXT)
    draw.text((MARGIN, 8), title, FAINT, _font(13, font_of(title)))
    draw.text((MARGIN, height - 8), "left", LEFT, _font(12), anchor="lm")
    draw.text((MARGIN + 40, height - 8), "right", RIGHT, _font(12), anchor="lm")
    for frame in frames:
        image = background.copy()
        image.paste(view.draw(joints[frame]), (0, header))
        draw = ImageDraw.Draw(image)
        draw.text((WIDTH - MARGIN, 8), f"{(first + frame) / FPS:.2f} s", FAINT, _font(13), anchor="ra")
        for row, line in enumerate(texts[frame].split("\n")):
            text = drawable(line, MAX_TEXT)
            draw.text((MARGIN, TITLE + LINE * row), text, INK, _font(16, font_of(text)))
        yield image


@cache
def _font(size: int, file: Path | None = None) -> ImageFont.FreeTypeFont:
    """A font of this size in pixels, from `file`, or matplotlib's own font."""
    return ImageFont.truetype(file or font_of(""), size)


def _write_gif(path: Path, joints: np.ndarray, texts: Sequence[str], title: str, first: int) -> None:
    step = max(GIF_STEP, math.ceil(len(joints) / GIF_PICTURES))
    pictures = draw_pictures(joints, texts, title, step, first)
    # A GIF counts time in hundredths of a second. Rounding start times, not durations, keeps the clip's speed.
    starts = [round(100 * frame / FPS) for frame in range(0, len(joints) + step, step)]
    durations = [10 * hundredths for hundredths in np.diff(starts).tolist()]  # milliseconds
    small = (picture.quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE) for picture in pictures)
    with whole_file(path) as file:
        next(small).save(file, "GIF", save_all=True, append_images=small, duration=durations, loop=0, disposal=1)


def _write_mp4(path: Path, pictures: Iterator[Image.Image]) -> None:
    try:
        import av  # imported here, because a .gif does not need it
    except ImportError as error:
        hint = "install requirements.txt, or write a .gif"
        raise UserError(f"{path}: .mp4 needs the package av ({error}): {hint}") from None
    with whole_file(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.pix_fmt = "yuv420p"  # the format that every player knows
        stream.options = {"crf": "20", "preset": "veryfast"}
        for picture in pictures:
            if stream.width != picture.width:  # at the first picture
                stream.width, stream.height = picture.size
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def clip_texts(split: Split, sid: str, found: Detections | None = None) -> list[str]:
    """The text of each frame of a clip: its true classes and, if given, the best detections that cover it.

    Classes of the clip whose times are not known are named in every frame.
    """
    untimed = [f"{name} (time unknown)" for name in compress(split.classes, split.untimed(sid))]
    true = [
        ", ".join([*compress(split.classes, row), *untimed]) or ("background" if annotated else "not annotated")
        for row, annotated in zip(split.labels(sid), split.annotated(sid), strict=True)
    ]
    if found is None:
        return true
    best = found_texts(found, len(true), split.classes)
    return [f"true: {text}\nfound: {names or 'nothing'}" for text, names in zip(true, best, strict=True)]


def found_texts(found: Detections, frames: int, classes: Sequence[str]) -> list[str]:
    """Classes and scores of the best detections that cover each of the `frames`, or an empty text."""
    scores = np.full((frames, len(classes)), -np.inf)
    edges = np.floor(found.segments + 0.5).astype(int)  # a detection covers a frame if it covers the frame's middle
    for n in np.argsort(found.scores):  # better ones replace others of their class
        scores[slice(*edges[n]), found.label[n]] = found.scores[n]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :MAX_FOUND]
    return [
        ", ".join(f"{classes[label]} {row[label]:.2f}" for label in best if row[label] > -np.inf)
        for row, best in zip(scores, order, strict=True)
    ]
