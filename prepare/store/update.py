"""A skeleton store: computed from takes (motion files), and updated when takes change."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Set
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from prepare.formats.labels import AnnotatedClip
from prepare.store.workers import Job, Reader, compute_takes, is_unchanged, read_computed
from utils.errors import TakeError, UserError, printable
from utils.manifest import FORMAT, MISSING
from utils.store import STORE_PREFIX, Clip, SkeletonStore, write_store

# Version of the checks of takes and of the computation of joints. Another version makes another store
PREPARATION_VERSION = 3
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
    wanted: Set[str],
) -> SkeletonStore:
    """Bring a store in `out` up to date and return it. Other settings or other BABEL files make a new store.

    A stored clip is kept while it is annotated, also if its file is gone. It is dropped if its file has changed and
    cannot be used any more. `files`: file below `takes.folder`, by clip id. `wanted`: ids of the clips to store.
    Raises UserError when no clip is left.
    """
    settings = {"method": PREPARATION_VERSION, **takes.settings}
    key = {"format": FORMAT, **settings, "babel": takes.origin.get("babel", {})}
    folder = out / (STORE_PREFIX + hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8])
    folder.mkdir(exist_ok=True)
    before = _store_before(folder)
    cache = folder / CACHE
    stored = before.clips if before else {}
    # A clip to store is kept, if it is stored already and its file is unchanged or gone. Otherwise it is computed now
    to_store = {clip.sid: clip for clip in clips if clip.sid in wanted or clip.sid in stored}
    kept = {sid for sid in stored if sid not in files or is_unchanged(stored[sid], takes.folder, files[sid])}
    jobs = [Job(clip, files[sid]) for sid, clip in to_store.items() if sid not in kept and sid in files]
    computed = compute_takes(takes.folder, cache, takes.read, jobs, workers)
    result_of = stored | {job.clip.sid: result for job, result in zip(jobs, computed, strict=True)}
    entries: list[Clip] = []
    failed: dict[str, str] = {}
    start = 0
    for sid, clip in to_store.items():
        result = result_of[sid]
        if isinstance(result, TakeError):
            failed[sid] = str(result)
            continue
        entries.append(result.model_copy(update={"start": start, "subset": clip.subset}))
        start += result.rows
    missing = {clip.sid: MISSING for clip in clips if clip.sid not in files and clip.sid not in stored}
    left_out = dict(sorted((missing | failed).items()))
    if not entries:
        # A new folder is deleted. A folder with an older store loses only its computed takes.
        shutil.rmtree(cache if (folder / "store.json").exists() else folder)
        takes_by_reason = {left_out[clip.sid]: clip.take for clip in clips if clip.sid in left_out}  # the last of each
        some = "; ".join(f"{printable(take)} {reason}" for reason, take in list(takes_by_reason.items())[:5])
        hint = "" if failed else ". No file in that folder has such a name: is it the right folder?"
        raise UserError(f"{takes.folder}: none of the takes of the annotated clips could be used: {some}{hint}")
    if before is None or (entries, left_out) != (before.manifest.clips, before.manifest.left_out):
        versions = {name: version(name) for name in ("numpy", "torch", "smplx")}
        facts = {"settings": settings, **takes.origin, "versions": versions, "left_out": left_out}
        write_store(folder, entries, _joints(entries, to_store, kept, before, cache), facts)
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


def _joints(
    clips: list[Clip],
    annotated: dict[str, AnnotatedClip],
    kept: set[str],
    before: SkeletonStore | None,
    cache: Path,
) -> Iterator[np.ndarray]:
    """The joints (T, M, 25, 3) of each clip, in order. Those of clips that are `kept` come from the store `before`."""
    for clip in clips:
        if clip.sid in kept:
            yield before.people(clip.sid)
        elif found := read_computed(cache, annotated[clip.sid]):
            yield found[1]
        else:
            raise UserError(f"{cache}: the joints of {clip.source['file']} are gone or damaged; run the command again")
