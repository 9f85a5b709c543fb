"""A store whose arrays differ from its manifest is refused. No code in it runs, and it takes no memory."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile import Hostile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from utils.errors import UserError
from utils.store import Split, write_array

FRAMES = 12  # of the store below
STEMS = ("joints", "labels", "annotated")


@pytest.fixture()
def arrays(make_split: Callable[..., Split], tmp_path: Path) -> dict[str, Path]:
    """The three files of a split and its store, of clips of 5, 3 and 4 frames."""
    make_split(train=[5, 3], val=[4])
    return {stem: next(tmp_path.glob(f"*/{stem}-*.npy")) for stem in STEMS}


def read(arrays: dict[str, Path]) -> list[bytes]:
    split = Split.open(arrays["labels"].parents[1], "tiny")
    names = [sid for subset in ("train", "val") for sid in split.clip_ids(subset)]
    return [part(sid).tobytes() for sid in names for part in (split.store.joints, split.labels, split.annotated)]


def header(text: str) -> bytes:
    """A .npy 1.0 header that holds `text`."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin-1")


@pytest.mark.parametrize("stem", STEMS)
def test_pickled_objects_in_an_array_are_not_made(arrays: dict[str, Path], tmp_path: Path, stem: str) -> None:
    shape = np.load(arrays[stem]).shape
    hostile = np.full(shape, Hostile(tmp_path / "payload"), dtype=object)
    np.save(arrays[stem], hostile, allow_pickle=True)
    with pytest.raises(
        UserError, match=rf"{stem}-\w+\.npy cannot be used: it is not a whole \.npy array \(.*Python objects in dtype"
    ):
        read(arrays)
    assert not (tmp_path / "payload").exists()
    np.load(arrays[stem], allow_pickle=True)
    assert (tmp_path / "payload").exists()  # the payload works when it is unpickled


@pytest.mark.parametrize("stem", STEMS)
def test_an_array_that_claims_a_terabyte_takes_no_memory(arrays: dict[str, Path], stem: str) -> None:
    claim = {"joints": "(3700000000, 25, 3)", "labels": "(550000000000, 2)", "annotated": "(1099511627776,)"}[stem]
    kind = "<f4" if stem == "joints" else "|b1"
    arrays[stem].write_bytes(header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {claim}, }}") + b"\0" * 99)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"it is not a whole \.npy array \(mmap length is greater than file size\)"):
        read(arrays)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 << 10  # KiB


def test_a_terabyte_that_is_really_there_is_not_read(arrays: dict[str, Path]) -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3700000000, 25, 3), }"
    arrays["joints"].write_bytes(header(text))
    os.truncate(arrays["joints"], arrays["joints"].stat().st_size + 3700000000 * 25 * 3 * 4)  # a sparse file
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"bytes \(\(3700000000, 25, 3\).*, expected \(\(12, 25, 3\)"):
        read(arrays)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 << 10  # KiB


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (np.zeros((FRAMES, 25, 3), np.float64), "'float64'.*, expected .*'float32'"),
        (np.zeros((FRAMES, 25, 3), ">f4"), "'>f4'.*, expected .*'float32'"),
        (np.asfortranarray(np.zeros((FRAMES, 25, 3), np.float32)), "'float32', 'Fortran'.*, expected .*'float32', 'C'"),
        (np.zeros((FRAMES, 24, 3), np.float32), r"\(\(12, 24, 3\), 'float32'.*, expected \(\(12, 25, 3\), 'float32'"),
        (np.zeros((FRAMES - 1, 25, 3), np.float32), r"\(\(11, 25, 3\).*, expected \(\(12, 25, 3\)"),
        (np.zeros(FRAMES, "V12"), "V12.*, expected .*'float32'"),
    ],
)
def test_an_array_of_another_kind_is_refused(arrays: dict[str, Path], made: np.ndarray, said: str) -> None:
    np.save(arrays["joints"], made)
    with pytest.raises(UserError, match=rf"cannot be used: .*{said}.*move .* away and make it again with `bash"):
        read(arrays)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("size", [0, 5, 9, 40, -1])
def test_an_array_that_was_cut_off_is_refused(arrays: dict[str, Path], stem: str, size: int) -> None:
    content = arrays[stem].read_bytes()
    arrays[stem].write_bytes(content[:size])
    with pytest.raises(UserError, match=rf"{stem}-\w+\.npy cannot be used: it is not a whole \.npy array"):
        read(arrays)


@pytest.mark.parametrize("stem", STEMS)
def test_what_is_no_file_is_refused_without_waiting_for_it(arrays: dict[str, Path], stem: str) -> None:
    arrays[stem].unlink()
    for make, said in ((lambda: None, "No such file"), (lambda: os.mkfifo(arrays[stem]), "it is a named pipe")):
        make()
        with pytest.raises(UserError, match=rf"{stem}-\w+\.npy cannot be used: it is not a whole \.npy array \({said}"):
            read(arrays)


@pytest.mark.parametrize("stem", STEMS)
def test_flipped_bytes_are_found_even_if_the_time_of_the_file_is_set_back(arrays: dict[str, Path], stem: str) -> None:
    honest, before, status = read(arrays), arrays[stem].read_bytes(), arrays[stem].stat()
    damaged = bytearray(before)
    for place in (-1, -5, -9):
        damaged[place] ^= 1
    arrays[stem].write_bytes(damaged)
    os.utime(arrays[stem], ns=(status.st_atime_ns, status.st_mtime_ns))
    for _ in range(2):
        with pytest.raises(UserError, match=rf"{stem}-\w+\.npy cannot be used: its content is damaged: .*move"):
            read(arrays)
    arrays[stem].write_bytes(before)
    assert read(arrays) == honest


@given(
    data=st.data(),
    stem=st.sampled_from(STEMS),
    text=st.sampled_from(["", "{'descr': ", "(" * 90, "{'descr': ['f4', [], ()], 'fortran_order': 0, 'shape': (-1,)"])
    | st.text(st.characters(max_codepoint=255), max_size=90),
)
@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_header_is_refused_or_the_same(arrays: dict[str, Path], data: st.DataObject, stem: str, text: str) -> None:
    before, honest = arrays[stem].read_bytes(), read(arrays)
    place = data.draw(st.integers(0, 127))
    mutated = before[:place] + data.draw(st.binary(min_size=1, max_size=2)) + before[place + 1 :]
    try:
        for content in (header(text), header(text) + before[128:], mutated):
            arrays[stem].write_bytes(content)
            assert read(arrays) == honest
    except UserError as error:
        assert len(str(error)) < 1000
    finally:
        arrays[stem].write_bytes(before)


def test_an_array_with_more_bytes_than_its_shape_is_refused(arrays: dict[str, Path]) -> None:
    arrays["joints"].write_bytes(arrays["joints"].read_bytes() + b"x")
    with pytest.raises(UserError, match=r"joints-\w+\.npy cannot be used: it has .*, 3729\), expected .*, 3728\)"):
        read(arrays)


def test_another_version_of_the_format_is_refused(arrays: dict[str, Path]) -> None:
    content = arrays["joints"].read_bytes()
    arrays["joints"].write_bytes(b"\x93NUMPY\x02\x00" + content[8:])
    with pytest.raises(UserError, match=r"joints-\w+\.npy cannot be used: it is not a whole \.npy array"):
        read(arrays)


def test_the_name_of_an_array_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    monkeypatch.setattr(os, "fsync", lambda _: names.append([path.name for path in tmp_path.iterdir()]))
    name, _ = write_array(tmp_path, "labels", (2,), np.bool_, [[True, False]])
    assert names[-1] == [name]


def test_blocks_that_do_not_make_up_the_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"joints: 12 bytes were given for an array of shape \(4, 2\)"):
        write_array(tmp_path, "joints", (4, 2), np.float32, [np.zeros(3)])
