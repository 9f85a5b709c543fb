"""The takes' own frame rates against the table in BABEL's code, where a user has it."""

from __future__ import annotations

import json
from pathlib import Path

from utils.store import SkeletonStore

TABLE = "featp_2_fps.json"
TOLERANCE = 0.01  # frames per second
SHOWN = 5


def compare_rates(babel_code: Path | None, store: SkeletonStore) -> None:
    """Print how the stored clips' rates compare with BABEL's table. The takes' own rates are used in any case."""
    path = next(iter(sorted(babel_code.rglob(TABLE))), None) if babel_code and babel_code.is_dir() else None
    if path is None:
        return
    try:
        table = json.loads(path.read_bytes())
        rates = {feat_p: float(rate) for feat_p, rate in table.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        print(f"warning: {path} cannot be read as a table of frame rates ({error}); the takes' own rates are used")
        return
    compared = [clip for clip in store.clips.values() if clip.feat_p in rates]
    others = [clip for clip in compared if not abs(clip.fps - rates[clip.feat_p]) <= TOLERANCE]
    print(f"\nframe rates: {len(compared) - len(others)} of {len(compared)} clips agree with {path}")
    for clip in others[:SHOWN]:
        own, theirs = clip.fps, rates[clip.feat_p]
        print(f"warning: {clip.feat_p} has {own:g} fps, BABEL's table says {theirs:g}; its own is used")
