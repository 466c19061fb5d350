"""The idx reader: what it reads, and what it refuses."""

import gzip
import resource
import struct

import numpy as np
import pytest

from ptft.data.idx import read_idx
from ptft.errors import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(array, code=0x08):
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(TYPES[code]).tobytes()


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("zipped", [False, True])
def test_arrays_come_back_whatever_their_type(tmp_path, code, zipped):
    array = np.arange(24).reshape(2, 3, 4)
    content = idx(array, code)
    (tmp_path / "x").write_bytes(gzip.compress(content) if zipped else content)
    read = read_idx(tmp_path / "x")
    assert (read == array).all() and read.dtype.isnative and read.flags.writeable


def test_an_array_without_elements_is_read(tmp_path):
    (tmp_path / "x").write_bytes(idx(np.zeros((0, 28, 28))))
    assert read_idx(tmp_path / "x").shape == (0, 28, 28)


WHOLE = idx(np.arange(100))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"\0\0", "no idx file"),
        (b"\x89PNG" + WHOLE, "starts with 89 50 4e 47"),
        (b"\0\0\x07\x01" + WHOLE[4:], "no idx file"),
        (b"\0\0\x08\0", "no idx file"),
        (WHOLE[:6], "truncated within its header"),
        (WHOLE[:-1], "expected 100 bytes for shape .100,., found only 99"),
        (WHOLE[:50], "truncated: its header promises 100 bytes"),
        (WHOLE + b"x", "expected 100 bytes for shape .100,., found more"),
        (gzip.compress(WHOLE[:-1], mtime=0), "found only 99"),
        (gzip.compress(WHOLE + b"x", mtime=0), "found more"),
        (gzip.compress(WHOLE, mtime=0)[:-12], "cannot read"),
        (gzip.compress(WHOLE, mtime=0)[:15] + b"\xff" * 30, "truncated|cannot read"),
        (b"\x1f\x8bno gzip at all", "cannot read"),
    ],
)
def test_damaged_files_are_named_with_the_reason(tmp_path, content, message):
    (tmp_path / "bad-file").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(tmp_path / "bad-file")
    assert "bad-file" in str(caught.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_promises_terabytes_takes_no_memory(tmp_path, pack):
    (tmp_path / "bomb").write_bytes(pack(b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**10, 2**10) + b"x" * 1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="truncated"):
        read_idx(tmp_path / "bomb")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


def test_a_missing_file_or_a_folder_is_said(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            read_idx(path)
