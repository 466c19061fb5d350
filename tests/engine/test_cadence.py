"""Periods end at the steps they should, in any unit, and the next end is found without looking at each step."""

import random
from fractions import Fraction

import pytest

from ptft.engine.cadence import Cadence
from ptft.engine.stopwatch import Stopwatch
from ptft.errors import ConfigError
from ptft.runtime.duration import Clock

CLOCK = Clock(64, 1437, 225)


def due_steps(text, clock=CLOCK, until=225):
    cadence = Cadence(text, clock, "engine.evaluate_every")
    return [step for step in range(1, until + 1) if cadence.due(step)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50st", [50, 100, 150, 200]),
        ("1ep", [23, 45, 68, 90, 113, 135, 158, 180, 203, 225]),  # 22.45 steps an epoch
        ("20%", [45, 90, 135, 180, 225]),
        ("6400ex", [100, 200]),
        ("1000st", []),
        ("10ep", [225]),
    ],
)
def test_periods_end_at_the_first_step_that_makes_them_whole(text, expected):
    assert due_steps(text) == expected


def test_a_period_shorter_than_a_step_ends_with_every_step():
    assert due_steps("1ex", until=5) == due_steps("0.001ep", until=5) == [1, 2, 3, 4, 5]


def test_any_period_agrees_with_exact_fractions_and_next_due_finds_the_next():
    generator = random.Random(0)
    for _ in range(200):
        clock = Clock(generator.randrange(1, 300), generator.randrange(1, 5000), 400)
        amount = Fraction(generator.randrange(1, 400), generator.choice([1, 10, 100]))
        unit = generator.choice(["ep", "st", "ex", "%"])
        per_unit = {"ep": Fraction(clock.num_examples, clock.batch_size), "st": 1, "ex": Fraction(1, clock.batch_size),
                    "%": Fraction(clock.max_steps, 100)}[unit]  # fmt: skip
        period = max(amount * per_unit, Fraction(1))
        expected = [step for step in range(1, 401) if step // period > (step - 1) // period]
        text = f"{float(amount):g}{unit}"
        assert due_steps(text, clock, 400) == expected, (text, clock)
        cadence = Cadence(text, clock, "key")
        for step in range(0, 400, 7):
            following = next((number for number in expected if number > step), None)
            assert cadence.next_due(step) == following or (following is None and cadence.next_due(step) > 400)


@pytest.mark.parametrize(("text", "clock"), [("1ep", Clock(8, None, 100)), ("5%", Clock(8, 100, None)), ("10", CLOCK)])
def test_a_period_without_a_meaning_is_refused(text, clock):
    with pytest.raises(ConfigError):
        Cadence(text, clock, "engine.log_every")


# --- The stopwatch, which tells how long and how fast ---


def test_a_clock_that_jumps_changes_no_duration(monkeypatch):
    times = iter([1e9, 1e9 - 86400, 1e9 + 86400] * 10)
    monkeypatch.setattr("time.time", lambda: next(times))
    seconds = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    monkeypatch.setattr("time.process_time", lambda: seconds[0] / 2)
    watch = Stopwatch()
    watch.start(0)
    seconds[0] = 10.0
    assert watch.steps_per_second(20) == 2.0
    seconds[0] = 20.0
    watch.exclude(5.0)  # an evaluation
    assert watch.steps_per_second(30) == 2.0
    assert watch.state_dict() == {"seconds": 20.0, "cpu_seconds": 10.0}
    assert watch.steps_per_second(31) == 0.0  # no time has passed: no division by it

    later = Stopwatch()
    later.load_state_dict(watch.state_dict())
    seconds[0] = 100.0  # what lies between two processes is not training
    later.start(31)
    seconds[0] = 101.0
    assert later.steps_per_second(33) == 2.0
    assert later.state_dict() == {"seconds": 21.0, "cpu_seconds": 10.5}
