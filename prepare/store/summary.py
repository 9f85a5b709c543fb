"""What a preparation prints: how many takes are stored, whether their frame rates are BABEL's, what did not fit."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from prepare.formats.amass import download_name
from prepare.formats.babel import Annotation
from prepare.formats.flavours import AMASS_PAGE, Flavour
from prepare.options import STORES
from utils.atomic import write_whole
from utils.regular import regular_file
from utils.store import SkeletonStore
from utils.text import printable

Findings = dict[str, list[str]]  # what was found: entries by heading
FEW = 5  # entries of a finding that are printed; the report has all
SHOWN = 10  # takes that cannot be used; the store's manifest names all
RATES = "featp_2_fps.json"  # in BABEL's code: frames per second by feat_p
RATE_TOLERANCE = 0.01  # frames per second


def print_takes(
    clips: list[Annotation], left_out: dict[str, str], store: SkeletonStore, flavour: Flavour, limit: int | None
) -> None:
    """Print how many clips of each AMASS folder are stored, missing or unusable, and which download is needed.

    Args:
        left_out: why a clip is not stored, by its id; "missing" where there is no file.
        flavour: of the store.
    """
    table: dict[str, Counter[str]] = {}
    for clip in clips:
        state = "stored" if clip.sid in store.clips else "later"
        if clip.sid in left_out:
            state = "missing" if left_out[clip.sid] == "missing" else "unusable"
        parts = clip.feat_p.split("/")
        table.setdefault(printable(parts[1], 60) if len(parts) > 2 else "(no folder)", Counter())[state] += 1
    columns = ["stored", "missing", "unusable"] + (["later"] if limit else [])
    width = max(22, *(len(folder) for folder in table))
    print(f"\n{'clips by AMASS folder':<{width}}" + "".join(f"{column:>12}" for column in columns) + "  download")
    for folder, counts in sorted(table.items()):
        name = download_name(folder)
        wanted = f"  {name or 'unknown to this project'}" if counts["missing"] + counts["unusable"] else ""
        print(f"{folder:<{width}}" + "".join(f"{counts[column]:>12,}" for column in columns) + wanted)
    failed = [clip for clip in clips if left_out.get(clip.sid, "missing") != "missing"]
    for clip in failed[:SHOWN]:
        print(f"unusable: {printable(clip.feat_p)} {left_out[clip.sid]}")
    if len(failed) > SHOWN:
        print(f"… and {len(failed) - SHOWN} more; {store.folder / 'store.json'} names all")
    if left_out:
        print(
            f"missing or unusable: download {flavour.release!r} of the data sets named on the right from {AMASS_PAGE}"
        )
    if limit:
        print("later: left for a run without --limit")


def print_rates(babel_code: Path | None, store: SkeletonStore) -> None:
    """Compare the takes' frame rates with the table in BABEL's code, if there is one. The takes' rates are used."""
    path = min(babel_code.rglob(RATES), default=None) if babel_code and babel_code.is_dir() else None
    if path is None:
        return
    try:
        regular_file(path)
        rates = {feat_p: float(rate) for feat_p, rate in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        print(f"warning: {path} cannot be read as a table of frame rates ({error}); the takes' own rates are used")
        return
    compared = [clip for clip in store.clips.values() if clip.feat_p in rates]
    others = [clip for clip in compared if not abs(clip.fps - rates[clip.feat_p]) <= RATE_TOLERANCE]
    print(f"\nframe rates: {len(compared) - len(others)} of {len(compared)} clips agree with {path}")
    for clip in others[:SHOWN]:
        rate = rates[clip.feat_p]
        print(f"warning: {clip.feat_p} has {clip.fps:g} fps, BABEL's table says {rate:g}; its own rate is used")


def next_command(config: str, root: Path, split: str | None = None) -> str:
    """A message with the command that trains on prepared data. split: None if `config` names it."""
    changes = [f"data.split={split}"] if split else []
    if root.resolve() != STORES.resolve():
        changes.append(f"data.root={root}")
    return " ".join([f"next: python train.py --config config/{config}", *(["--set", *changes] if changes else [])])


def write_findings(path: Path, findings: Findings) -> None:
    """Write all that was found to the report `path`, and print the beginning of each list."""
    findings = {what: [printable(entry) for entry in entries] for what, entries in findings.items() if entries}
    lines = [f"{what} ({len(entries)}): {entry}\n" for what, entries in findings.items() for entry in entries]
    write_whole(path, "".join(lines).encode())
    for what, entries in findings.items():
        more = f"; and {len(entries) - FEW} more in {path}" if len(entries) > FEW else ""
        print(f"{what} ({len(entries)}): {'; '.join(entries[:FEW])}{more}")
