"""A skeleton store: computed from takes (motion files), and updated when takes change."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from prepare.formats.labels import AnnotatedClip
from prepare.store.workers import ComputedTake, Job, Outcome, Reader, compute_takes, read_computed
from utils.errors import TakeError, UserError, printable
from utils.manifest import FORMAT
from utils.skeleton import FPS
from utils.store import STORE_PREFIX, Clip, SkeletonStore, write_store

METHOD = 3  # version of the checks of takes and of the computation of joints; another version makes another store
CACHE = "parts"  # folder of computed takes, until the store is written from them


@dataclass(frozen=True)
class TakeSource:
    """Where the joints of a store come from."""

    folder: Path
    read: Reader
    settings: dict[str, Any]  # everything else that the joints depend on
    origin: dict[str, Any]  # entries of the manifest that say where the annotations come from


def update_store(
    out: Path,
    takes: TakeSource,
    clips: list[AnnotatedClip],
    files: dict[str, str],
    workers: int,
    wanted: set[str] | None = None,
) -> SkeletonStore:
    """Bring a store in `out` up to date and return it. Other settings or other BABEL files make a new store.

    A stored clip is kept while it is annotated, also if its file is gone. It is dropped if its file has changed and
    cannot be used any more. `files`: file below `takes.folder`, by clip id. `wanted`: clip ids; None: all in `files`.
    Raises UserError when no clip is left.
    """
    settings = {"method": METHOD, **takes.settings}
    key = {"format": FORMAT, **settings, "babel": takes.origin.get("babel", {})}
    folder = out / (STORE_PREFIX + hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8])
    folder.mkdir(exist_ok=True)
    before = _store_before(folder)
    cache = folder / CACHE
    stored = before.clips if before else {}
    wanted = files.keys() if wanted is None else wanted
    chosen = [clip for clip in clips if clip.sid in wanted or clip.sid in stored]
    jobs: dict[str, Job] = {}
    for clip in chosen:
        if file := files.get(clip.sid):
            source = stored[clip.sid].source if clip.sid in stored else {}
            jobs[clip.sid] = Job(file, clip.frame_limit(), clip.duration, source)
    computed = compute_takes(takes.folder, cache, takes.read, list(jobs.values()), workers)
    outcomes = dict(zip(jobs, computed, strict=True))
    made, failed = _clips(chosen, stored, outcomes)
    missing = {clip.sid: "missing" for clip in clips if clip.sid not in files and clip.sid not in stored}
    left_out = dict(sorted((missing | failed).items()))
    if not made:
        # A new folder is deleted. A folder with an older store loses only its computed takes.
        shutil.rmtree(cache if (folder / "store.json").exists() else folder)
        first: dict[str, AnnotatedClip] = {}  # by reason, as an example
        for clip in clips:
            if clip.sid in left_out:
                first.setdefault(left_out[clip.sid], clip)
        some = "; ".join(f"{printable(clip.take)} {reason}" for reason, clip in list(first.items())[:5])
        hint = "" if failed else ". No file in that folder has such a name: is it the right folder?"
        raise UserError(f"{takes.folder}: none of the takes of the annotated clips could be used: {some}{hint}")
    fresh = {sid: job for sid, job in jobs.items() if isinstance(outcomes[sid], ComputedTake) and sid not in failed}
    if fresh or before is None or (made, left_out) != (before.manifest.clips, before.manifest.left_out):
        versions = {name: version(name) for name in ("numpy", "torch", "smplx")}
        facts = {"settings": settings, **takes.origin, "versions": versions, "left_out": left_out}
        write_store(folder, made, _joints(made, fresh, cache, before), facts)
    shutil.rmtree(cache)
    return SkeletonStore.open(folder)


def _store_before(folder: Path) -> SkeletonStore | None:
    """The store that an earlier run has written; None if there is none, or if it is damaged."""
    if not (folder / "store.json").exists():
        return None
    try:
        return SkeletonStore.open(folder)
    except UserError:
        print(f"warning: {folder} is damaged, or of another version, and is written again")
        return None


def _clips(
    chosen: list[AnnotatedClip], stored: dict[str, Clip], outcomes: dict[str, Outcome]
) -> tuple[list[Clip], dict[str, str]]:
    """The store's clips in the order of the annotations, and why others are left out."""
    clips: list[Clip] = []
    problems: dict[str, str] = {}
    start = 0
    for clip in chosen:
        match outcomes.get(clip.sid):
            case TakeError() as error:
                problems[clip.sid] = str(error)
                continue
            case ComputedTake(frames=0):
                problems[clip.sid] = f"has no frame within the annotated {clip.duration:g} s"
                continue
            case ComputedTake(source, fps, frames, people):
                seconds = clip.duration or frames / FPS
                facts = {"feat_p": clip.take, "fps": fps, "duration": seconds, "source": source}
                made = Clip(sid=clip.sid, subset=clip.subset, start=start, frames=frames, people=people, **facts)
            case _:  # unchanged, or its file is gone: the stored joints are kept
                made = stored[clip.sid].model_copy(update={"start": start, "subset": clip.subset})
        clips.append(made)
        start += made.rows
    return clips, problems


def _joints(
    clips: list[Clip], fresh: dict[str, Job], cache: Path, before: SkeletonStore | None
) -> Iterator[np.ndarray]:
    """The joints (T, M, 25, 3) of each clip, in order: from its cache file if it is `fresh`, else from `before`."""
    for clip in clips:
        if clip.sid not in fresh:
            yield before.people(clip.sid)
        elif found := read_computed(cache, fresh[clip.sid]):
            yield found[1]
        else:
            raise UserError(f"{cache}: the joints of {clip.source['file']} are gone or damaged; run the command again")
