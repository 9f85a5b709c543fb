"""The dataset card of a split: a page with its statistics, classes, left-out clips and some example clips.

Preparation writes it as card.html beside the split's split.json. The page needs no other file.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reporting.figures import minutes_figure
from reporting.player import PlayedClip, pack, player_data
from reporting.templates import render
from utils import config
from utils.atomic import write_whole
from utils.manifest import MISSING, OTHER_DURATION, SUBSETS
from utils.skeleton import FPS, HEAD, LEFT_FOOT, PELVIS
from utils.store import Split

EXAMPLES = 3  # clips shown of each class
MAX_CLASSES = 20  # classes of which clips are shown: the most frequent ones
PERCENTS = (0, 5, 50, 95, 100)  # percentiles of the clips' lengths
LISTED = 20  # rows shown of a long table
MAX_NAMED = 8  # classes named in one warning
LEAST_UPRIGHT = 0.8  # fraction of the clips; people also lie, hang and tumble, but less often
HEIGHTS = (0.8, 2.2)  # metres; expected range of the median distance from foot to head


@dataclass(frozen=True)
class SubsetStats:
    """Counts of a subset's clips and frames. K classes."""

    lengths: np.ndarray  # (clips,) frames
    clips: np.ndarray  # (K,) clips that have the class
    overlap: np.ndarray  # (K, K) frames that have both classes; on the diagonal, frames that have the class
    unannotated: int  # frames that no annotation covers
    several: int  # frames that have several classes
    untimed: int  # clips with labels without times

    @property
    def frames(self) -> np.ndarray:
        """Frames that have the class, (K,)."""
        return self.overlap.diagonal()


def write_card(split: Split) -> Path:
    """Write the card into the split's folder and return its path. The same data give the same bytes."""
    stats = {subset: subset_stats(split, subset) for subset in SUBSETS}
    upright, height = upright_and_height(split)
    # A subset without clips has NaN, which the table shows as –
    seconds = {name: s.lengths / FPS if len(s.lengths) else np.nan for name, s in stats.items()}
    clips = []
    for name, sid in example_clips(split):
        clip = PlayedClip.of_split(split, sid)
        clips.append(pack(replace(clip, note=f"example of {name}, {clip.note}"), split.classes))
    page = render(
        "card.html",
        split=split,
        **stats,
        fps=FPS,
        max_frames=config.load().data.max_frames,
        upright=upright,
        height=height,
        warnings=warnings(split, stats, upright, height),
        class_minutes=minutes_figure(split.classes, {subset: s.frames / FPS / 60 for subset, s in stats.items()}),
        classes=_class_rows(split, stats),
        lengths=[[name, *np.percentile(values, PERCENTS)] for name, values in seconds.items()],
        overlaps=_overlaps(split, sum(s.overlap for s in stats.values())),
        left_out=_left_out(split),
        reasons=_reasons(split),
        listed=LISTED,
        examples=EXAMPLES,
        max_classes=MAX_CLASSES,
        player=player_data(clips, split.classes),
    )
    path = split.folder / "card.html"
    write_whole(path, page.encode())
    return path


def subset_stats(split: Split, subset: str) -> SubsetStats:
    """Count a subset's clips, frames and labels."""
    ids, classes = split.clip_ids(subset), len(split.classes)
    clips, overlap = np.zeros(classes, np.int64), np.zeros((classes, classes), np.int64)
    unannotated = several = untimed = 0
    for sid in ids:
        labels = split.labels(sid)
        numbers = labels.astype(np.float32)  # matrix products of floats are fast, and exact up to 16 million frames
        clips += split.present(sid)
        overlap += (numbers.T @ numbers).astype(np.int64)
        several += int((labels.sum(axis=1) > 1).sum())
        unannotated += int((~split.annotated(sid)).sum())
        untimed += int(split.untimed(sid).any())
    lengths = np.array([len(split.labels(sid)) for sid in ids], np.int64)
    return SubsetStats(lengths, clips, overlap, unannotated, several, untimed)


def upright_and_height(split: Split) -> tuple[float, float]:
    """Fraction of clips with the head above the pelvis, and median distance from foot to head in metres.

    The middle frame of every clip counts. NaN if there is no clip.
    """
    middle = [split.store.joints(sid)[split.store.clips[sid].frames // 2] for sid in split.clip_ids()]
    if not middle:
        return np.nan, np.nan
    head, pelvis, foot = np.array(middle, np.float64)[:, [HEAD, PELVIS, LEFT_FOOT]].swapaxes(0, 1)
    height = np.median(np.linalg.norm(head - foot, axis=1))
    return float((head[:, 2] > pelvis[:, 2]).mean()), float(height)


def warnings(split: Split, stats: dict[str, SubsetStats], upright: float, height: float) -> list[str]:
    """What looks wrong, one sentence each."""
    found = []
    for subset, effect in (("train", "cannot be learnt"), ("val", "are not scored")):
        empty = [repr(name) for name, clips in zip(split.classes, stats[subset].clips, strict=True) if not clips]
        if empty:
            rest = f" and {len(empty) - MAX_NAMED:,} more" if len(empty) > MAX_NAMED else ""
            found.append(f"Classes without a {subset} clip, which {effect}: {', '.join(empty[:MAX_NAMED])}{rest}.")
    if upright < LEAST_UPRIGHT:
        found.append(f"Only {upright:.0%} of the bodies are upright: is z the vertical axis of the motion?")
    if height < HEIGHTS[0] or height > HEIGHTS[1]:
        found.append(f"Bodies are {height:.2f} m from foot to head: are the joints in metres?")
    left_out, stored = split.store.manifest.left_out.values(), len(split.store.clips)
    if unusable := sum(reason != MISSING for reason in left_out):
        found.append(f"{unusable:,} clips are left out because their takes cannot be used. The reasons are below.")
    if len(left_out) > stored:
        found.append(f"More clips are missing from the store ({len(left_out):,}) than are in it ({stored:,}).")
    return found


def example_clips(split: Split) -> list[tuple[str, str]]:
    """(class, clip id) of EXAMPLES clips of middle lengths for the most frequent classes, no clip twice.

    They are training clips, or validation clips if there are no others.
    """
    ids = split.clip_ids("train") or split.clip_ids("val")
    present = np.array([split.present(sid) for sid in ids]).reshape(len(ids), len(split.classes))
    chosen: dict[str, str] = {}  # clip id: class
    for label in np.argsort(-present.sum(axis=0), kind="stable")[:MAX_CLASSES]:
        free = [sid for sid, here in zip(ids, present[:, label], strict=True) if here and sid not in chosen]
        free.sort(key=lambda sid: len(split.labels(sid)))
        if not free:
            continue
        for part in range(1, EXAMPLES + 1):
            chosen[free[len(free) * part // (EXAMPLES + 1)]] = split.classes[label]
    return [(name, sid) for sid, name in chosen.items()]


def _class_rows(split: Split, stats: dict[str, SubsetStats]) -> list[tuple]:
    """For each class: clips, frames and percentage of frames in each subset."""
    columns = []
    for s in stats.values():
        columns += [s.clips, s.frames, 100 * s.frames / max(1, s.lengths.sum())]
    return list(zip(split.classes, *columns, strict=True))


def _overlaps(split: Split, overlap: np.ndarray) -> list[list]:
    """Pairs of classes that share frames, those that share most first: names, frames of both, % of the rarer class."""
    names, frames = split.classes, overlap.diagonal()
    pairs = [(overlap[a, b], a, b) for a in range(len(names)) for b in range(a) if overlap[a, b]]
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    return [[names[b], names[a], both, 100 * both / min(frames[a], frames[b])] for both, a, b in pairs]


def _left_out(split: Split) -> list[list]:
    """For each reason: clips that are not in the split, by subset."""
    counts = [split.manifest.left_out.get(subset, {}) for subset in SUBSETS]
    return [[reason, *(clips.get(reason, 0) for clips in counts)] for reason in sorted(set().union(*counts))]


def _reasons(split: Split) -> list[tuple[str, int]]:
    """Why clips are not in the store, the most frequent reason first."""
    reasons = []
    for reason in split.store.manifest.left_out.values():
        reason = OTHER_DURATION if reason.startswith(OTHER_DURATION) else reason[:200]
        reasons.append("its take is missing" if reason == MISSING else reason)
    return Counter(sorted(reasons)).most_common()
