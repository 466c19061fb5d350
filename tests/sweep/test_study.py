"""A study holds what was written, all or nothing, and says what is wrong with a file that is none."""

import sqlite3

import pytest

from ptft.errors import CheckpointError
from ptft.sweep.study import FILE, Study
from ptft.sweep.trial import Trial


@pytest.fixture
def study(tmp_path):
    made = Study.create(tmp_path / "night", {"verb": "finetune", "argv": ["-m", "name=night"]})
    yield made
    made.close()


def trial(number, **changes):
    return Trial(**{"number": number, "point": number, "seed": 0, "params": {"optimizer.lr": "1e-3"}, **changes})


def test_what_is_written_is_read_again(study):
    one = trial(0, state="done", rung=2, values={0: (0.5,), 2: (0.9, 1e-9)}, attempts=3, seconds=1.5)
    two = trial(1, state="failed", reason="killed by SIGKILL", error="line\nline")
    study.save([one, two])
    again = Study.open(study.path.parent)
    assert again.trials() == [one, two]
    assert again.facts() == {"version": 1, "verb": "finetune", "argv": ["-m", "name=night"]}


def test_a_trial_that_changes_stands_there_once(study):
    study.save([trial(0)])
    study.save([trial(0, state="done")])
    assert [one.state for one in study.trials()] == ["done"]


def test_trials_are_written_all_or_none(study):
    broken = trial(2)
    broken.params = None
    broken.state = None
    with pytest.raises(CheckpointError, match="cannot write"):
        study.save([trial(1), broken])
    assert study.trials() == []
    study.save([trial(1)])
    assert len(study.trials()) == 1


def test_a_folder_holds_one_study(study):
    with pytest.raises(CheckpointError, match="holds a sweep already"):
        Study.create(study.path.parent, {})


@pytest.mark.parametrize("content", [b"", b"no database at all, but some text that is long enough"])
def test_a_file_that_is_no_study_is_told(tmp_path, content):
    with pytest.raises(CheckpointError, match="holds no sweep"):
        Study.open(tmp_path)
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        Study.open(tmp_path)


def test_a_study_of_another_version_is_told(study):
    study.note(version=99)
    with pytest.raises(CheckpointError, match=r"another version of ptft \(99, not 1\)"):
        Study.open(study.path.parent)


def test_anybody_may_read_it_meanwhile(study):
    study.save([trial(0)])
    assert sqlite3.connect(study.path).execute("select number, state from trial").fetchall() == [(0, "waiting")]
