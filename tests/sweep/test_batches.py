"""Trials by a launcher that is not ours: in batches, and whoever is to blame is found."""

from ptft.sweep.batches import Batches
from ptft.sweep.outcome import done
from ptft.sweep.runner import Job
from ptft.sweep.trial import Measured


def test_a_batch_runs_when_it_is_waited_for(tmp_path):
    launched = []

    def launch(lines, first):
        launched.append(([list(line) for line in lines], first))
        for line in lines:
            done([Measured("val/loss", "min", 1.0)]).write(tmp_path / line[-1].rpartition("=")[2])

    runner = Batches(launch, tmp_path, parallel=3)
    runner.start(Job(4, ("optimizer.lr=1",)))
    runner.start(Job(9, ("optimizer.lr=2",)))
    assert runner.free == 1 and runner.busy == [4, 9] and launched == []
    ended = runner.wait(0)
    assert launched == [([["optimizer.lr=1", "hydra.sweep.subdir=4"], ["optimizer.lr=2", "hydra.sweep.subdir=9"]], 4)]
    assert [(one.number, one.outcome.state) for one in ended] == [(4, "done"), (9, "done")]
    assert runner.free == 3 and runner.wait(0) == []


def test_when_a_batch_breaks_each_silent_job_runs_alone_once_more(tmp_path):
    sizes = []

    def launch(lines, first):
        sizes.append(len(lines))
        numbers = [line[-1].rpartition("=")[2] for line in lines]
        if "1" in numbers:
            raise RuntimeError("a worker was killed")
        for number in numbers:
            done([Measured("val/loss", "min", 1.0)]).write(tmp_path / number)

    runner = Batches(launch, tmp_path, parallel=3)
    for number in range(3):
        runner.start(Job(number, ()))
    ended = {one.number: one.outcome for one in runner.wait(0)}
    assert [ended[number].state for number in range(3)] == ["done", "failed", "done"]
    assert sizes == [3, 1, 1, 1] and "a worker was killed" in ended[1].reason


def test_a_job_that_ends_without_a_word_has_failed(tmp_path):
    runner = Batches(lambda lines, first: None, tmp_path, parallel=1)
    runner.start(Job(0, ()))
    (ended,) = runner.wait(0)
    assert ended.outcome.state == "failed" and "without a word" in ended.outcome.reason


def test_stopping_forgets_what_has_not_begun(tmp_path):
    runner = Batches(lambda lines, first: None, tmp_path, parallel=2)
    runner.start(Job(0, ()))
    runner.stop()
    assert runner.busy == [] and runner.wait(0) == []
