"""The same settings, seed and machine give the same run, whatever else differs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from building import content
from runs import ROOT, assert_same_end, command, finish, rows, run, small

from prepare.build import build
from prepare.formats.labels import PAPER_SPLITS
from utils.errors import UserError
from utils.store import Split, write_split


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs in this process; not to be written to."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run(*arguments(prepared, folder)) == 0
    return folder


def arguments(prepared: Path, folder: Path, *more: str) -> list[str]:
    return small(prepared, folder, "train.epochs=2", "eval.every=2", *more)


@contextmanager
def folders_listed_backwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another file system: what a folder holds comes in the opposite of the alphabet's order."""

    class Listing(Iterator, AbstractContextManager):
        def __init__(self, entries: list[os.DirEntry]) -> None:
            self.entries = iter(entries)

        def __next__(self) -> os.DirEntry:
            return next(self.entries)

        def __exit__(self, *_: object) -> None:
            pass

    listdir, scandir = os.listdir, os.scandir

    def backwards(path: str = ".") -> Listing:
        with scandir(path) as entries:
            return Listing(sorted(entries, key=lambda entry: entry.name, reverse=True))

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", lambda path=".": sorted(listdir(path), reverse=True))
        patch.setattr(os, "scandir", backwards)
        yield


def test_the_hash_seed_changes_no_run(trained: Path, prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    finish(command(*arguments(prepared, folder)), PYTHONHASHSEED="12345")
    assert_same_end(folder, trained)


def test_the_order_in_which_folders_are_listed_changes_no_run(
    trained: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with folders_listed_backwards(monkeypatch):
        run(*arguments(prepared, tmp_path / "run"))
    assert_same_end(tmp_path / "run", trained)


def test_the_order_in_which_folders_are_listed_changes_no_byte_of_a_store(
    synthetic: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with folders_listed_backwards(monkeypatch):
        names = [path.name for path in synthetic.iterdir()]
        assert names == sorted(names, reverse=True)
        build(synthetic / "amass", synthetic / "babel_v1.0_release", "synthetic", tmp_path, PAPER_SPLITS)
        with pytest.raises(UserError, match="known are: split1, split2, split3"):
            Split.open(tmp_path, "another")
    assert content(tmp_path) == content(prepared)


@pytest.mark.slow
def test_the_hash_seed_changes_no_byte_of_a_store(synthetic: Path, prepared: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "prepare.build", "--amass", str(synthetic / "amass"), "--body", "synthetic"]
    line += ["--babel", str(synthetic / "babel_v1.0_release"), "--out", str(tmp_path), "--workers", "1"]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "54321"})
    assert content(tmp_path) == content(prepared)


@pytest.mark.slow
def test_another_seed_gives_another_run(trained: Path, prepared: Path, tmp_path: Path) -> None:
    run(*arguments(prepared, tmp_path / "run", "train.seed=6"))
    assert rows(tmp_path / "run") != rows(trained)


def without(split: Split, subset: str, name: str) -> None:
    """Write the split again, with no label of class `name` in a subset."""
    clips = {"train": [], "val": []}
    for part, of_part in clips.items():
        for sid in split.clip_ids(part):
            labels = np.array(split.labels(sid))
            if part == subset:
                labels[:, split.classes.index(name)] = False
            of_part.append((sid, labels, np.ones(len(labels), bool)))
    facts = {"name": split.name, "classes": list(split.classes), "skeletons": split.store.folder.name}
    write_split(split.folder, clips, facts)


@pytest.mark.parametrize(
    ("subset", "said"),
    [
        ("train", "warning: no train clip has the class 'wave': it cannot be learnt"),
        ("val", "warning: no val clip has the class 'wave': it is left out of mAP"),
    ],
)
def test_a_class_without_clips_is_warned_of_and_harms_no_figure(
    make_split: Callable[..., Split], tmp_path: Path, capsys: pytest.CaptureFixture, subset: str, said: str
) -> None:
    without(make_split(train=[20, 30, 25, 18], val=[24, 16]), subset, "wave")
    line = small(tmp_path, tmp_path / "run", "data.split=tiny", "train.epochs=1")
    assert run(*line, pictures=True) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")] == [said]
    corrected = json.loads((tmp_path / "run" / "results.json").read_text())["corrected"]
    assert np.isfinite(corrected["mAP"])
    assert ("wave" in rows(tmp_path / "run")[0]["corrected"]["AP"]) == (subset == "train")


def test_settings_that_leave_no_batch_are_named(make_split: Callable[..., Split], tmp_path: Path) -> None:
    make_split(train=[20, 30, 25], val=[24])
    line = small(tmp_path, tmp_path / "run", "data.split=tiny", "data.drop_last=true")
    with pytest.raises(UserError, match=r"3 training clips make no batch of train\.batch_size = 4.*data\.drop_last=f"):
        run(*line)
    assert run(*small(tmp_path, tmp_path / "other", "data.split=tiny", "train.epochs=1")) == 0


def test_one_clip_cannot_be_held_out(make_split: Callable[..., Split], tmp_path: Path) -> None:
    make_split(train=[20], val=[24])
    with pytest.raises(UserError, match=r"data\.holdout=0\.5 needs at least 2 training clips; found 1"):
        run(*small(tmp_path, tmp_path / "run", "data.split=tiny", "data.holdout=0.5"))
