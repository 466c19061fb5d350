"""ASHA: what runs next is what Algorithm 2 of arXiv 1810.05934 says, for any number of workers and any order."""

import random
from itertools import pairwise

import pytest

from benchmarks.simulate import simulate
from ptft.sweep.methods.asha import Asha
from ptft.sweep.methods.random import Random
from ptft.sweep.space import read_space
from ptft.sweep.trial import History, Trial, history_of

SPACE, _ = read_space(["x=interval(0,1)"])


def loss(params, rung):
    """A loss that falls from rung to rung; the order of two points may change on the way."""
    x = float(params["x"])
    return (x + 0.3 / (1 + rung) * ((37 * x) % 1),)


def never(_):
    return False


def run(method, *, workers=1, pace_seed=None, fails=never, modes=("min",), objective=loss, trials=None):
    """Run a sweep to its end; return its trials, its jobs as (point, rung) as they ended, and what was trained."""
    dice = random.Random(pace_seed)
    trials = [] if trials is None else trials
    jobs, trained = [], 0.0
    for landed in simulate(
        method,
        lambda params, rung: None if fails((params, rung)) else objective(params, rung),
        modes=modes,
        workers=workers,
        pace=lambda _: 1.0 if pace_seed is None else dice.uniform(0.2, 4),
        trials=trials,
    ):
        jobs.append((landed.trial.number, landed.trial.rung))
        trained = landed.trained
    return trials, jobs, trained


def reached(trials, rung):
    return [one for one in trials if rung in one.values]


# --- The paper's algorithm --------------------------------------------------------------------------------------------


class Algorithm2:
    """`get_job` as the paper writes it: rungs are lists, and what was promoted is remembered."""

    def __init__(self, trials, reduction, rungs):
        self.trials, self.reduction, self.top = trials, reduction, rungs - 1
        self.rungs = [{} for _ in range(rungs)]  # each: point -> loss
        self.promoted = [set() for _ in range(rungs)]
        self.begun = 0

    def get_job(self):
        for k in range(self.top - 1, -1, -1):
            candidates = sorted(self.rungs[k], key=lambda t: (self.rungs[k][t], t))
            candidates = candidates[: len(self.rungs[k]) // self.reduction]
            promotable = [t for t in candidates if t not in self.promoted[k]]
            if promotable:
                self.promoted[k].add(promotable[0])
                return promotable[0], k + 1
        if self.begun == self.trials:  # the paper draws for ever
            return None
        self.begun += 1
        return self.begun - 1, 0


@pytest.mark.parametrize("reduction", [2, 3, 4])
@pytest.mark.parametrize("rungs", [1, 2, 3, 4])
@pytest.mark.parametrize("workers", [1, 3, 9])
def test_every_job_is_that_of_the_papers_algorithm(reduction, rungs, workers):
    dice = random.Random(f"{reduction}/{rungs}/{workers}")
    method, paper = Asha(SPACE, 40, reduction=reduction, rungs=rungs), Algorithm2(40, reduction, rungs)
    trials, running = [], []
    for _ in range(1000):
        while len(running) < workers:
            step, job = method.next(history_of(trials, ["min"])), paper.get_job()
            assert (step and (step.point, step.rung)) == job
            if step is None:
                break
            if step.point == len(trials):
                trials.append(Trial(number=step.point, point=step.point, seed=0, params=step.params))
            trials[step.point].rung, trials[step.point].state = step.rung, "running"
            running.append(trials[step.point])
        if not running:
            break
        one = running.pop(dice.randrange(len(running)))
        one.state, one.values[one.rung] = "done", loss(one.params, one.rung)
        paper.rungs[one.rung][one.number] = one.values[one.rung][0]
    assert len(trials) == 40 and not running


# --- What follows from it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reduction", "rungs"), [(2, 1), (3, 3), (3, 4), (4, 2), (2, 6)])
def test_rungs_are_shares_that_grow_by_the_reduction_to_a_whole_training(reduction, rungs):
    shares = Asha(SPACE, 1, reduction=reduction, rungs=rungs).shares
    assert len(shares) == rungs and shares[-1] == 1.0
    assert all(after / before == pytest.approx(reduction) for before, after in pairwise(shares))


def test_the_parts_of_a_point_add_up_to_where_it_ends():
    method = Asha(SPACE, 27, rungs=4)
    trials, jobs, trained = run(method)
    for one in trials:
        assert [rung for number, rung in jobs if number == one.number] == list(range(one.rung + 1)) == list(one.values)
    assert trained == pytest.approx(sum(method.shares[one.rung] for one in trials))


@pytest.mark.parametrize("workers", [1, 2, 5, 40])
@pytest.mark.parametrize("order", range(3))
def test_each_promotion_is_of_the_best_of_its_rung_when_it_is_made(workers, order):
    method, trials = Asha(SPACE, 30), []
    asked = method.next

    def watched(history):
        step = asked(history)
        if step is not None and step.rung:
            there = [p for p in history.points if p.values(step.rung - 1) is not None]
            own = history.points[step.point]
            better = sum(p.values(step.rung - 1) < own.values(step.rung - 1) for p in there)
            assert better < len(there) // 3
            assert own.state == "done" and own.rung == step.rung - 1 and step.params == own.params
        return step

    method.next = watched
    run(method, workers=workers, pace_seed=order, trials=trials)
    assert len(trials) == 30


@pytest.mark.parametrize("workers", [1, 2, 5, 40])
@pytest.mark.parametrize("order", range(3))
def test_at_the_end_the_best_of_every_rung_have_gone_on(workers, order):
    trials, *_ = run(Asha(SPACE, 50), workers=workers, pace_seed=order)
    for rung in (0, 1):
        there = sorted(reached(trials, rung), key=lambda one: one.values[rung])
        assert set(map(id, there[: len(there) // 3])) <= set(map(id, reached(trials, rung + 1)))


def test_where_the_best_come_first_no_more_than_a_share_goes_on():
    # A later point that is better takes a place besides those that went on before; where none is, the share is exact.
    trials = [Trial(number=n, point=n, seed=0, params={"x": str(n / 100)}) for n in range(27)]
    trials, *_ = run(Asha(SPACE, 27, rungs=4), objective=lambda params, _: (float(params["x"]),), trials=trials)
    assert [len(reached(trials, rung)) for rung in range(4)] == [27, 9, 3, 1]
    assert [one.number for one in reached(trials, 3)] == [0]


def test_few_more_than_a_share_go_on_in_any_order():
    # The paper: points that should not have gone on are some square root of those of the rung.
    for seed in range(4):
        trials, *_ = run(Asha(SPACE, 100, seed=seed), workers=4, pace_seed=seed)
        for rung in (0, 1):
            there, gone = len(reached(trials, rung)), len(reached(trials, rung + 1))
            assert there // 3 <= gone <= there // 3 + 2 * there**0.5


@pytest.mark.parametrize("workers", [1, 2, 3, 8, 100])
@pytest.mark.parametrize("order", range(4))
def test_it_ends_with_any_number_of_workers_in_any_order(workers, order):
    dice = random.Random(f"{workers}/{order}")
    trials, jobs, _ = run(Asha(SPACE, 31), workers=workers, pace_seed=order, fails=lambda _: dice.random() < 0.2)
    assert len(trials) == 31
    assert {one.state for one in trials} == {"done", "failed"}
    assert len(set(jobs)) == len(jobs)  # nothing runs twice
    assert Asha(SPACE, 31).next(history_of(trials, ["min"])) is None


def test_failed_points_never_go_on():
    def fails(job):
        return float(job[0]["x"]) < 0.3 and job[1] == 1  # the best fail on their way

    trials, *_ = run(Asha(SPACE, 60), workers=3, pace_seed=0, fails=fails)
    failed = [one for one in trials if one.state == "failed"]
    assert failed and all(one.rung == 1 and one.attempts == 2 and sorted(one.values) == [0] for one in failed)
    whole = reached(trials, 2)
    assert whole and all(float(one.params["x"]) >= 0.3 for one in whole)


def test_points_that_run_or_wait_do_not_go_on_before_they_have_ended():
    trials = [
        Trial(number=n, point=n, seed=0, params={"x": str(n)}, state="done", values={0: (float(n),)}) for n in range(6)
    ]
    method = Asha(SPACE, 6)
    assert (method.next(history_of(trials, ["min"])).point, method.next(history_of(trials, ["max"])).point) == (0, 5)
    trials[0].rung, trials[0].state = 1, "running"
    assert method.next(history_of(trials, ["min"])).point == 1
    trials[1].rung, trials[1].state = 1, "waiting"
    assert method.next(history_of(trials, ["min"])) is None


def test_all_seeds_of_a_point_go_on_together_by_their_mean():
    def trial(number, point, seed, value):
        state = "running" if value is None else "done"
        values = {} if value is None else {0: (value,)}
        return Trial(number=number, point=point, seed=seed, params={"x": "0"}, state=state, values=values)

    columns = [(0.1, 0.9), (0.4, 0.5), (0.6, 0.6)]
    trials = [
        trial(2 * point + seed, point, seed, one) for point, col in enumerate(columns) for seed, one in enumerate(col)
    ]
    assert Asha(SPACE, 3).next(history_of(trials, ["min"])).point == 1  # 0.5, 0.45, 0.6
    trials[3].state, trials[3].values = "running", {}
    assert Asha(SPACE, 3).next(history_of(trials, ["min"])) is None  # the best has not ended


def test_points_are_drawn_as_random_search_draws_them():
    trials, others = [], []
    run(Asha(SPACE, 30, seed=5), workers=2, trials=trials)
    run(Random(SPACE, 30, seed=5), workers=1, trials=others)
    assert [one.params for one in trials] == [one.params for one in others]


def test_one_rung_is_random_search():
    _, jobs, trained = run(Asha(SPACE, 12, rungs=1))
    assert jobs == [(number, 0) for number in range(12)] and trained == 12


@pytest.mark.parametrize("kill_after", [1, 7, 20, 40])
def test_a_sweep_that_was_killed_goes_on_as_if_it_had_not_been(kill_after):
    whole, *_ = run(Asha(SPACE, 40))
    trials = []
    for place, _ in enumerate(simulate(Asha(SPACE, 40), loss, trials=trials), 1):
        if place == kill_after:
            break
    assert trials != whole
    run(Asha(SPACE, 40), trials=trials)
    assert trials == whole


def test_asking_changes_nothing():
    trials, *_ = run(Asha(SPACE, 20))
    method, history = Asha(SPACE, 40), history_of(trials, ["min"])
    assert method.next(history) == method.next(history) == Asha(SPACE, 40).next(history)
    assert method.next(History((), ())).point == 0


def test_it_finds_a_good_point_for_a_part_of_what_whole_trainings_cost():
    trials, _, trained = run(Asha(SPACE, 81, rungs=4), workers=2)
    best = min(one.values[3][0] for one in reached(trials, 3))
    everything, *_ = run(Random(SPACE, 81), objective=lambda params, _: loss(params, 3))
    losses = sorted(one.values[0][0] for one in everything)
    assert best <= losses[4] and trained < 81 / 5
