"""Cached folders: whole or not there, made once for all who ask."""

import subprocess
import sys
import threading

import pytest

from ptft.data import cached_folder
from ptft.data.cached_folder import made_once
from ptft.errors import DataError


def opened(folder):
    """Return what a folder holds, if that is whole."""
    text = (folder / "file").read_text(encoding="utf-8")
    if text != "whole":
        raise ValueError(f"it holds {text}")
    return text


def build(folder):
    (folder / "file").write_text("whole", encoding="utf-8")


def make(path, build=build):
    return made_once(path, build, opened, "the cache of things")


_KILLED = """
import sys, time
from pathlib import Path
from ptft.data.cached_folder import made_once

def build(folder):
    (folder / "file").write_text("half", encoding="utf-8")
    print("half", flush=True)
    time.sleep(60)

made_once(Path(sys.argv[1]), build, lambda folder: None, "the cache")
"""


def test_a_killed_build_leaves_nothing_half_and_the_next_one_cleans_up(tmp_path):
    target = tmp_path / "new" / "things"
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(target)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"half\n"
    process.kill()
    process.communicate()
    assert not target.exists() and list(target.parent.glob(".tmp-things-*"))
    assert make(target) == ("whole", "")
    assert not list(target.parent.glob(".tmp-*"))


def test_a_build_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        make(tmp_path / "things", lambda folder: {}["none"])
    assert [path.name for path in tmp_path.iterdir()] == [".lock-things"]


def test_what_is_there_is_used_and_what_is_damaged_is_built_anew_with_a_warning(tmp_path):
    make(tmp_path / "things")
    assert make(tmp_path / "things", None) == ("whole", "")
    (tmp_path / "things" / "file").write_text("half", encoding="utf-8")
    found, warning = make(tmp_path / "things")
    assert found == "whole" and "was damaged, as it holds half; it was built anew" in warning
    (tmp_path / "things" / "file").unlink()
    assert "built anew" in make(tmp_path / "things")[1]


def test_several_who_ask_at_once_share_one_build(tmp_path):
    built = []

    def slow(folder):
        built.append(folder)
        build(folder)

    threads = [threading.Thread(target=make, args=(tmp_path / "things", slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_a_disk_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cached_folder.disk, "rename", full)
    with pytest.raises(DataError, match=r"No space left on device; .*data\.cache_folder"):
        make(tmp_path / "things")
    assert not list(tmp_path.glob(".tmp-*"))
