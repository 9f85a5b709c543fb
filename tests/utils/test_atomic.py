"""A file is written whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from utils.atomic import whole_file, write_whole
from utils.run import write_checkpoint


def test_a_write_that_fails_names_the_file_and_leaves_the_one_before(tmp_path: Path) -> None:
    write_whole(tmp_path / "x.json", b"before")
    with pytest.raises(OSError, match="No space left") as caught, whole_file(tmp_path / "x.json"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "x.json")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert (tmp_path / "x.json").read_bytes() == b"before"


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    there = []
    monkeypatch.setattr(os, "fsync", lambda _: there.append((last.exists(), previous.exists())))
    write_checkpoint(last, {}, previous)
    assert there == [(False, False), (False, False), (True, False)]  # the file twice, then the folder
    write_checkpoint(last, {}, previous)
    assert there[3:] == [(True, False), (False, True), (True, True)]


def test_files_are_written_where_a_folder_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def of_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files)
    write_whole(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"content"
