"""Arrays from .npz files of unknown origin: equal to numpy's, or a TakeError. False sizes take no memory."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import Hostile
from hypothesis import given, settings
from hypothesis import strategies as st

from prepare.formats import npz
from prepare.formats.npz import read_npz
from utils.errors import TakeError

MIB = 1 << 20


def header(text: str, version: int = 1) -> bytes:
    """The start of an .npy file with any header text."""
    content = text.encode("latin1") + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(content)) + content


def claim(shape: str, descr: str = "'<f8'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


def packed(path: Path, content: bytes, compression: int = zipfile.ZIP_STORED, **lies: int) -> Path:
    """An archive with one member, x.npy. `lies` replace entries of the archive's directory."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x.npy", content)
        for key, value in lies.items():
            setattr(archive.filelist[0], key, value)
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    _, names = read_npz(path, ())
    return read_npz(path, names)[0]


@contextmanager
def memory_below(count: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < count
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_equal_those_that_numpy_reads(tmp_path: Path, save: Any) -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(40, 156))
    content = {
        "poses": wide,
        "fortran": np.asfortranarray(wide),
        "big_endian": wide.astype(">f4"),
        "cube": rng.integers(0, 9, (3, 4, 5)),
        "no_rows": np.zeros((0, 156)),
        "scalar": np.array(120.0),
        "gender": np.array(b"male"),
        "text": np.array("male"),
    }
    save(tmp_path / "x.npz", **content)
    found = read(tmp_path / "x.npz")
    assert list(found) == sorted(content)
    for name, values in found.items():
        assert values.dtype == content[name].dtype
        assert np.array_equal(values, content[name]), name


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([Hostile(tmp_path / "payload")], object))
    with pytest.raises(TakeError, match="'x' is not a whole array of numbers or text .it is of type object"):
        read(tmp_path / "x.npz")
    packed(tmp_path / "x.npz", header(claim("(1,)", "[('a', 'O')]")) + bytes(8))
    with pytest.raises(TakeError, match=r"'x' is not a whole array .*'O'"):
        read(tmp_path / "x.npz")
    assert not (tmp_path / "payload").exists()


def test_an_array_that_claims_a_terabyte_takes_no_memory(tmp_path: Path) -> None:
    start, size = header(claim("(1000000000, 156)")), 1000000000 * 156 * 8
    for lies in ({}, {"file_size": size}, {"file_size": size, "compress_size": size}):
        packed(tmp_path / "x.npz", start + bytes(1000), **lies)
        with memory_below(MIB), pytest.raises(TakeError, match="'x' is not a whole array|'x' .*claims|it ends early"):
            read(tmp_path / "x.npz")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_array_larger_than_its_archive_can_hold_is_refused(tmp_path: Path, compression: int) -> None:
    start = header(claim("(1000000, 156)"))
    packed(tmp_path / "x.npz", start, compression)
    said = r"'x' is not a whole array .*\(its 76 bytes, with the header, do not fit shape \(1000000, 156\) of float64\)"
    with pytest.raises(TakeError, match=said):
        read(tmp_path / "x.npz")
    packed(tmp_path / "x.npz", start, compression, file_size=len(start) + 1000000 * 156 * 8)
    with memory_below(MIB), pytest.raises(TakeError, match=r"is not a whole .npz file|'x' is not a whole array"):
        read(tmp_path / "x.npz")


def test_an_array_that_ends_early_is_refused(tmp_path: Path) -> None:
    start, noise = header(claim("(2000,)")), np.random.default_rng(0).bytes(9000)
    packed(tmp_path / "x.npz", start + noise, zipfile.ZIP_DEFLATED, file_size=len(start) + 16000)
    with pytest.raises(TakeError, match=r"not a whole .npz file"):
        read(tmp_path / "x.npz")


def test_a_zip_bomb_costs_no_more_memory_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(tmp_path / "x.npz", header(claim("(40, 1048576)", "'|u1'")) + bytes(40 * MIB), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "x.npz").stat().st_size < MIB / 10
    monkeypatch.setattr(npz, "MAX_ARRAY_BYTES", 4 * MIB)
    with memory_below(17 * MIB), pytest.raises(TakeError, match="'x' .*claims more than"):
        read(tmp_path / "x.npz")


def test_a_huge_header_costs_no_memory(tmp_path: Path) -> None:
    packed(tmp_path / "x.npz", header(claim("(1,)") + " " * 40 * MIB, version=2), zipfile.ZIP_DEFLATED)
    with memory_below(MIB), pytest.raises(TakeError, match="'x' is not a whole array"):
        read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000,
        "-" * 5000 + "1",
        "'''",
        "{{}: 1}",
        "{1: 2}",
        "\0",
        claim("(-1, -2)"),
        claim(f"(0x{'f' * 9000},)"),
        claim(f"(0, 0x{'f' * 9000})"),
        claim("(0, 4611686018427387904, 4611686018427387904)"),
        claim(f"({'1, ' * 65})"),
        claim("(2.0,)"),
        claim("(True, 2)"),
        claim("(2,)", "'<U0'"),
        claim("(1000000000000,)", "'|V0'"),
        claim("(2,)", "'(2,)<f8'"),
        claim("(2,)", "'<M8[s]'"),
        claim("(2,)", "[('a', '<f8')]"),
        claim("(2,)", "'no type'"),
    ],
)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_false_or_damaged_header_is_refused(tmp_path: Path, text: str, version: int) -> None:
    for size in (0, 16, 32):
        packed(tmp_path / "x.npz", header(text, version) + bytes(size))
        with pytest.raises(TakeError, match="'x' "):
            read(tmp_path / "x.npz")


def test_a_member_that_is_no_array_is_named(tmp_path: Path) -> None:
    with pytest.raises(TakeError, match=r"'x' is not a whole array .*magic"):
        read(packed(tmp_path / "x.npz", b"not numpy's magic"))
    with pytest.raises(TakeError, match=r"\(9, 0\)"):
        read(packed(tmp_path / "x.npz", header(claim("(1,)"), version=9)))


def test_only_the_compressions_that_numpy_writes_are_read(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.zeros(1000))
    for changes in ({"compression": zipfile.ZIP_LZMA}, {"compression": zipfile.ZIP_BZIP2}, {"flag_bits": 1}):
        packed(tmp_path / "x.npz", content.getvalue(), **changes)
        with pytest.raises(TakeError, match="is packed by an unsupported method"):
            read(tmp_path / "x.npz")


def test_a_file_that_is_no_archive_gives_one_message(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("é.npy", b"")
    no_name = (tmp_path / "x.npz").read_bytes().replace("é".encode(), b"\xff\xff")
    for content in (b"", b"no archive", b"PK\x03\x04", np.zeros(9).tobytes(), no_name):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(TakeError, match=r"^is not a whole \.npz file"):
            read(tmp_path / "x.npz")
    for path in (tmp_path / "missing.npz", tmp_path):
        with pytest.raises(TakeError, match=r"^cannot be read \((No such file|Is a directory)"):
            read(path)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A path for damaged files, and the bytes of an undamaged one."""
    folder = tmp_path_factory.mktemp("npz")
    np.savez_compressed(folder / "good.npz", poses=np.arange(312.0).reshape(2, 156), mocap_framerate=np.array(60.0))
    return folder / "damaged.npz", (folder / "good.npz").read_bytes()


def test_a_file_cut_off_anywhere_is_refused(good: tuple[Path, bytes]) -> None:
    path, content = good
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(TakeError):
            read(path)


@settings(max_examples=150, deadline=None)
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_anywhere_gives_arrays_or_a_take_error(
    good: tuple[Path, bytes], changes: list[tuple[float, int]]
) -> None:
    path, content = good
    damaged = bytearray(content)
    for place, value in changes:
        damaged[int(place * len(content))] = value
    path.write_bytes(damaged)
    try:
        read(path)
    except TakeError as error:
        assert str(error)
