"""A preparation in shards gives the bytes of one in a single run, or says what is missing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import prepare.store.workers
from prepare.build import build
from prepare.formats.babel import LABEL_SETS
from prepare.store.shards import Shard, only_one
from utils.errors import UserError


def prepare_in(synthetic: Path, out: Path, **options: Any) -> None:
    build(synthetic / "amass", synthetic / "babel_v1.0_release", "synthetic", out, LABEL_SETS, **options)


def content(out: Path) -> dict[str, bytes]:
    return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def shards(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of three shards, in another order; not to be written to."""
    out = tmp_path_factory.mktemp("shards")
    for number in (3, 1, 2):
        prepare_in(synthetic, out, shard=Shard(number, 3))
    return out


@pytest.fixture()
def out(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "out"))


def test_the_merged_store_and_splits_are_those_of_one_run_byte_by_byte(
    synthetic: Path, prepared: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare.store.workers, "read_poses", None)  # all has been computed
    prepare_in(synthetic, out, merge=True)
    assert content(out) == content(prepared)  # with what only saves time: it is of the same files


def test_a_shard_writes_neither_store_nor_split(shards: Path) -> None:
    names = {path.suffix for path in shards.rglob("*") if path.is_file() and path.name != ".lock"}
    assert names == {".part", ".json"}
    assert not list(shards.rglob("store.json"))


def test_a_shard_that_is_run_again_computes_nothing(
    synthetic: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare.store.workers, "read_poses", None)
    prepare_in(synthetic, out, shard=Shard(2, 3))


def test_missing_shards_are_named_with_the_commands_that_make_them(synthetic: Path, out: Path) -> None:
    for number in (1, 3):
        next(out.rglob(f"shard-{number}-of-3.json")).unlink()
    with pytest.raises(UserError, match=r"2 of 3 shards are missing.* --shard 1/3, --shard 3/3 in place of --merge"):
        prepare_in(synthetic, out, merge=True)


def test_shards_of_other_options_are_refused(synthetic: Path, out: Path) -> None:
    with pytest.raises(UserError, match=r"--shard 1/3, --shard 2/3, --shard 3/3 was computed for other takes.*--limit"):
        prepare_in(synthetic, out, merge=True, limit=2)


def test_shards_of_two_numbers_are_refused(synthetic: Path, out: Path) -> None:
    prepare_in(synthetic, out, shard=Shard(1, 2))
    with pytest.raises(UserError, match=r"holds shards of 2 and of 3; delete .*parts"):
        prepare_in(synthetic, out, merge=True)


def test_a_damaged_note_is_named(synthetic: Path, out: Path) -> None:
    next(out.rglob("shard-2-of-3.json")).write_text("{}")
    with pytest.raises(UserError, match=r"shard-2-of-3\.json: is no note of a shard.*compute that shard again"):
        prepare_in(synthetic, out, merge=True)


def test_nothing_to_merge_is_one_message(synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no shard is there to merge; compute them first, --shard 1/N to N/N"):
        prepare_in(synthetic, tmp_path, merge=True)


def test_shards_share_the_folder_and_a_merge_does_not(synthetic: Path, out: Path) -> None:
    with only_one(out, Shard(1, 3)):
        prepare_in(synthetic, out, shard=Shard(2, 3))
        with pytest.raises(UserError, match="another preparation is running"):
            prepare_in(synthetic, out, merge=True)


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "-1/3", "1/x", "1/2/3"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"--shard {text}: expected I/N, the I-th of N shards")):
        Shard.parse(text, "--shard")
