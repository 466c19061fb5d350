"""The one module that changes the file system: atomic, synced, patient with disks that fail in passing."""

import errno
import os
import subprocess
import sys

import pytest

from ptft.errors import CheckpointError
from ptft.runtime import files


@pytest.fixture
def calls(monkeypatch):
    """The system calls that matter for what a crash leaves, in order."""
    made = []
    fsync, replace = os.fsync, os.replace

    def noting_fsync(descriptor):
        made.append(("fsync", os.path.realpath(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: (made.append(("rename", str(paths[1]))), replace(*paths)))
    return made


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_file_is_replaced_in_the_order_that_survives_a_crash(tmp_path, calls):
    path = tmp_path / "file"
    files.replace_with(path, b"first")
    files.replace_with(path, b"second")
    assert path.read_bytes() == b"second"
    one = [("fsync", str(tmp_path / ".tmp-file")), ("rename", str(path)), ("fsync", str(tmp_path))]
    assert [call for call in calls if call in one] == one * 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_new_directory_is_synced_into_its_parent(tmp_path, calls):
    files.make_directory(tmp_path / "a" / "b")
    files.ensure_directory(tmp_path / "c")
    files.ensure_directory(tmp_path / "c")
    assert calls == [("fsync", str(tmp_path / "a")), ("fsync", str(tmp_path))]
    with pytest.raises(FileExistsError):
        files.make_directory(tmp_path / "c")
    with pytest.raises(FileNotFoundError):
        files.ensure_directory(tmp_path / "deleted" / "d")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("failures", [1, 2, 3, 4])
def test_a_disk_that_fails_in_passing_is_tried_again_from_the_first_byte(tmp_path, monkeypatch, failures, number):
    left, pauses, fsync = [failures], [], os.fsync

    def failing(descriptor):
        if left[0]:
            left[0] -= 1
            os.ftruncate(descriptor, 2)  # what was written is lost
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    monkeypatch.setattr(files.time, "sleep", pauses.append)
    if failures <= 3:
        files.write(tmp_path / "file", b"contents")
        assert (tmp_path / "file").read_bytes() == b"contents"
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            files.write(tmp_path / "file", b"contents")
    assert pauses == [0.1, 0.5, 2.0][:failures]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_is_not_asked_again(tmp_path, monkeypatch, number):
    def failing(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: pytest.fail("it waited"))
    with pytest.raises(OSError, match=os.strerror(number)):
        files.write(tmp_path / "file", b"contents")


def test_removing_follows_no_link(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    files.remove(tmp_path / "link")
    files.remove(tmp_path / "missing")
    assert not (tmp_path / "link").exists()
    assert (tmp_path / "kept" / "file").exists()
    files.remove(tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_directory_is_held_by_one_process_and_released(tmp_path):
    lock = files.Lock(tmp_path)
    with pytest.raises(CheckpointError, match=f"in use by process {os.getpid()} on {os.uname().nodename}"):
        files.Lock(tmp_path)
    lock.release()
    files.Lock(tmp_path).release()


def test_a_program_started_from_here_holds_nothing(tmp_path):
    lock = files.Lock(tmp_path)
    child = subprocess.Popen(["sleep", "30"], close_fds=False)
    lock.release()
    files.Lock(tmp_path).release()
    child.kill()
    child.wait()


def test_the_digest_is_that_of_sha256sum(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert files.digest(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
