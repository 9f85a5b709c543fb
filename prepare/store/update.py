"""The skeleton store of one set of inputs: made from takes, brought up to date, never mixed with another's."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

from prepare.formats.amass import TakeError
from prepare.formats.babel import Annotation, Babel
from prepare.formats.smplh_body import Body, body_digest
from prepare.skeletons.smplh import SmplhJoints
from prepare.store.workers import Job, Part, Source, compute_parts, read_part
from utils.atomic import write_json
from utils.errors import UserError
from utils.manifest import FORMAT
from utils.store import STORE_PREFIX, Clip, SkeletonStore, write_store

METHOD = 1  # of making joints from poses; a change of it makes new stores
PARTS = "parts"  # folder of computed takes, until the store is made of them
SEEN = "seen.json"  # size, time and hash of each take as last read; not part of the store proper


def store_name(babel: Babel, body: Body) -> str:
    """Folder name of the store of these labels and this body: another one for every other setting."""
    settings = {"format": FORMAT, "method": METHOD, "body": body_digest(body), "babel": babel.hashes}
    return STORE_PREFIX + hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def update_store(
    folder: Path,
    amass: Path,
    babel: Babel,
    body: Body,
    places: dict[str, str],
    problems: dict[str, str],
    wanted: set[str],
    workers: int,
) -> tuple[SkeletonStore, dict[str, str]]:
    """Bring the store in `folder` up to date with the takes of the `wanted` clips; what is stored already stays.

    Args:
        places: file below `amass` of each clip's take, by clip id.
        problems: why there is none, for the other clips.

    Returns:
        The store, and why clips are not in it, by clip id.

    Raises:
        UserError: no clip is left.
    """
    before, stored, chosen, jobs = _plan(folder, babel, places, wanted)
    parts = folder / PARTS
    outcomes = {job.file: outcome for job, outcome in compute_parts(amass, parts, SmplhJoints(body), jobs, workers)}
    clips, failed, fresh = _clips(chosen, places, stored, outcomes)
    there = {clip.sid for clip in clips}
    left_out = {sid: why for sid, why in sorted((problems | failed).items()) if sid not in there}
    if not clips:
        some = "; ".join(f"{clip.feat_p} {left_out[clip.sid]}" for clip in babel.clips[:5] if clip.sid in left_out)
        raise UserError(f"{amass}: none of the takes of BABEL's clips could be used: {some}")
    if fresh or before is None or (clips, left_out) != (list(before.clips.values()), before.manifest.left_out):
        facts = {
            "settings": {"method": METHOD, "body": body_digest(body)},
            "babel": babel.hashes,
            "versions": {name: version(name) for name in ("numpy", "torch", "smplx")},
            "left_out": left_out,
        }
        write_store(folder, clips, _joints(clips, fresh, parts, before), facts)
    states = {o.file: o for o in (o.source if isinstance(o, Part) else o for o in outcomes.values() if _is_good(o))}
    write_json(folder / SEEN, {file: [s.bytes, s.mtime_ns, s.sha256] for file, s in states.items()})
    shutil.rmtree(parts, ignore_errors=True)
    return SkeletonStore.open(folder), left_out


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone. Raises UserError while another preparation holds it."""
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another preparation is running on this folder; wait for it, or choose another --out"
            ) from None
        yield


def _plan(
    folder: Path, babel: Babel, places: dict[str, str], wanted: set[str]
) -> tuple[SkeletonStore | None, dict[str, Clip], list[Annotation], list[Job]]:
    """The store as it is, its clips that hold good, the clips that are to be in it, and the takes to compute."""
    folder.mkdir(exist_ok=True)
    before = _before(folder)
    stored = _still_valid(before, babel.clips) if before else {}
    chosen = [clip for clip in babel.clips if clip.sid in wanted or clip.sid in stored]
    jobs = _jobs([clip for clip in chosen if clip.sid in places], places, stored, _seen(folder))
    return before, stored, chosen, jobs


def _before(folder: Path) -> SkeletonStore | None:
    if not (folder / "store.json").exists():
        return None
    try:
        return SkeletonStore.open(folder)
    except UserError as error:
        print(f"made anew: {error}")
        return None


def _still_valid(store: SkeletonStore, clips: list[Annotation]) -> dict[str, Clip]:
    """Stored clips of which BABEL still says the same."""
    stored = ((store.clips.get(clip.sid), clip) for clip in clips)
    return {
        old.sid: old
        for old, now in stored
        if old and (old.subset, old.feat_p, old.duration) == (now.subset, now.feat_p, now.duration)
    }


def _jobs(
    clips: list[Annotation], places: dict[str, str], stored: dict[str, Clip], seen: dict[str, Source]
) -> list[Job]:
    """One job a file; it counts as stored when all its clips are, from one and the same content."""
    by_file: dict[str, list[Annotation]] = {}
    for clip in clips:
        by_file.setdefault(places[clip.sid], []).append(clip)
    jobs = []
    for file, members in by_file.items():
        sources = [stored[clip.sid].source if clip.sid in stored else None for clip in members]
        known = None
        if sources[0] and all(source == sources[0] for source in sources) and sources[0].get("file") == file:
            known = Source(mtime_ns=-1, **sources[0])  # of unknown time: the file will be hashed
            last = seen.get(file)
            known = last if last and last.sha256 == known.sha256 else known
        jobs.append(Job(file, max(clip.frame_limit() for clip in members), known))
    return jobs


def _seen(folder: Path) -> dict[str, Source]:
    try:
        entries = json.loads((folder / SEEN).read_bytes())
        return {file: Source(file, *state) for file, state in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # it only saves time


def _is_good(outcome: Part | Source | TakeError) -> bool:
    return not isinstance(outcome, TakeError)


def _clips(
    chosen: list[Annotation],
    places: dict[str, str],
    stored: dict[str, Clip],
    outcomes: dict[str, Part | Source | TakeError],
) -> tuple[list[Clip], dict[str, str], set[str]]:
    """The store's clips in BABEL's order, why others are left out, and the ids of those with new joints."""
    clips: list[Clip] = []
    problems: dict[str, str] = {}
    fresh: set[str] = set()
    start = 0
    for clip in chosen:
        outcome = outcomes.get(places.get(clip.sid, ""))
        if isinstance(outcome, TakeError):
            problems[clip.sid] = str(outcome)
            continue
        if isinstance(outcome, Part):
            frames = clip.frames(outcome.frames)
            if frames == 0:
                problems[clip.sid] = f"has no frame within BABEL's {clip.duration:g} s"
                continue
            facts = {
                "feat_p": clip.feat_p,
                "fps": outcome.fps,
                "duration": clip.duration,
                "source": outcome.source.facts(),
            }
            made = Clip(sid=clip.sid, subset=clip.subset, start=start, frames=frames, **facts)
            fresh.add(clip.sid)
        else:  # unchanged; or its take is gone, and what was made of it stays
            made = stored[clip.sid].model_copy(update={"start": start})
        clips.append(made)
        start += made.frames
    return clips, problems, fresh


def _joints(clips: list[Clip], fresh: set[str], parts: Path, before: SkeletonStore | None) -> Iterator[np.ndarray]:
    """Every clip's joints (T, 25, 3), one after another, from its part or from the store before."""
    for clip in clips:
        if clip.sid not in fresh:
            yield before.joints(clip.sid)
            continue
        found = read_part(parts, clip.source["file"])
        if found is None or found[0].source.sha256 != clip.source["sha256"]:
            raise UserError(f"{parts}: the part of {clip.source['file']} is gone or damaged; run the command again")
        yield found[1][: clip.frames]
