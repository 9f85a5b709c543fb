"""What became of the takes, by AMASS folder, and which download brings what is missing."""

from __future__ import annotations

from collections import Counter

from prepare.formats.amass import AMASS_PAGE, RELEASE, download_name
from prepare.formats.babel import Annotation
from utils.store import SkeletonStore

SHOWN = 10  # takes that cannot be used; the store's manifest names all


def print_takes(clips: list[Annotation], left_out: dict[str, str], store: SkeletonStore, limit: int | None) -> None:
    """Print how many clips of each AMASS folder are stored, missing or unreadable.

    Args:
        left_out: why a clip is not stored, by its id; "missing" where its take is not there.
    """
    table: dict[str, Counter[str]] = {}
    for clip in clips:
        state = "stored" if clip.sid in store.clips else "later"
        if clip.sid in left_out:
            state = "missing" if left_out[clip.sid] == "missing" else "unreadable"
        table.setdefault(_folder(clip), Counter())[state] += 1
    columns = ["stored", "missing", "unreadable"] + (["later"] if limit else [])
    width = max(22, *(len(folder) for folder in table))
    print(f"\n{'clips by AMASS folder':<{width}}" + "".join(f"{column:>12}" for column in columns) + "  download")
    for folder, counts in sorted(table.items()):
        name = download_name(folder)
        wanted = f"  {name or 'unknown to this project'}" if counts["missing"] + counts["unreadable"] else ""
        print(f"{folder:<{width}}" + "".join(f"{counts[column]:>12,}" for column in columns) + wanted)
    unusable = [clip for clip in clips if left_out.get(clip.sid, "missing") != "missing"]
    for clip in unusable[:SHOWN]:
        print(f"unreadable: {clip.feat_p} {left_out[clip.sid]}")
    if len(unusable) > SHOWN:
        print(f"… and {len(unusable) - SHOWN} more; {store.folder / 'store.json'} names all")
    if any(counts["missing"] + counts["unreadable"] for counts in table.values()):
        print(f"missing or unreadable: download {RELEASE!r} of the data sets named on the right from {AMASS_PAGE}")
    if limit:
        print("later: left for a run without --limit")


def _folder(clip: Annotation) -> str:
    parts = clip.feat_p.split("/")
    return parts[1] if len(parts) > 2 else "(no folder)"
