"""Lists of classes: names by index, and the message about a class that no clip has."""

from pathlib import Path

import pytest

from prepare.formats.classes import PAPER_SPLITS, check_actions, read_actions
from utils.errors import UserError


def test_actions_are_names_by_index(tmp_path: Path) -> None:
    (tmp_path / "actions.json").write_text('{"wave": 1, "walk": 0, "größe": 2}', encoding="utf-8")
    assert read_actions(tmp_path / "actions.json") == ["walk", "wave", "größe"]
    with pytest.raises(UserError, match=r"missing\.json: cannot be read"):
        read_actions(tmp_path / "missing.json")
    for text in (b"[", b"\xff", b"[1]", b"{}", b'{"a": 1}', b'{"a": 0, "b": 0}', b'{"a": "0"}', b'{"a": false}'):
        (tmp_path / "actions.json").write_bytes(text)
        with pytest.raises(UserError, match=r"actions\.json: .*; expected names with the indices 0, 1, 2"):
            read_actions(tmp_path / "actions.json")


def test_the_papers_classes_have_the_papers_indices() -> None:  # released weights have this order
    assert PAPER_SPLITS == {
        "split1": ["walk", "stand", "turn", "jump"],
        "split2": ["sit", "run", "stand up", "kick"],
        "split3": ["jog", "wave", "dance", "gesture"],
    }


def test_an_action_that_no_clip_has_names_the_nearest_ones() -> None:
    known = sorted({name for names in PAPER_SPLITS.values() for name in names})
    check_actions(["walk", "stand up"], known, "split: no clip has the action")
    with pytest.raises(UserError, match=r"mine: no clip has the action 'wakl'; did you mean 'walk'"):
        check_actions(["walk", "wakl"], known, "mine: no clip has the action")
    with pytest.raises(UserError, match="no clip has the action 'qqq'; known are: dance, gesture, jog"):
        check_actions(["qqq"], known, "mine: no clip has the action")
