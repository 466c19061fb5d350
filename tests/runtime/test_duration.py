"""Durations are read in one spelling and become whole steps, rounded up."""

import math
import random
from fractions import Fraction

import pytest

from ptft.errors import ConfigError
from ptft.runtime.duration import Clock, Duration

CLOCK = Clock(batch_size=32, num_examples=1000, max_steps=200)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("10ep", 313),
        ("1ep", 32),
        ("0.5ep", 16),
        (".5ep", 16),
        ("0.1ep", 4),
        ("2000st", 2000),
        ("1e3st", 1000),
        ("1e+3st", 1000),
        ("1.5st", 2),
        ("1e6ex", 31250),
        ("33ex", 2),
        ("32ex", 1),
        ("5%", 10),
        ("100%", 200),
        ("0st", 0),
        (" 10 ep ", 313),
    ],
)
def test_durations_become_steps(text, steps):
    assert Duration.parse(text).steps(CLOCK) == steps


@pytest.mark.parametrize(
    "text", ["", "10", "ep", "-1ep", "10epochs", "1e-3ep", "10 ep st", "nanst", "infst", "1,5ep", "1e400st"]
)
def test_what_is_no_duration_is_refused_with_the_forms_and_the_key(text):
    with pytest.raises(ConfigError, match=r"engine\.max takes a duration such as `10ep`"):
        Duration.parse(text, "engine.max")


def test_a_bare_number_is_asked_whether_it_means_epochs():
    with pytest.raises(ConfigError, match="did you mean `10ep`"):
        Duration.parse("10")


def test_epochs_of_a_stream_and_a_share_of_an_unknown_length_are_refused():
    with pytest.raises(ConfigError, match="stream without epochs"):
        Duration.parse("1ep").steps(Clock(32, None, 100))
    with pytest.raises(ConfigError, match="a share of itself"):
        Duration.parse("50%").steps(Clock(32, 1000))


def test_epochs_agree_with_exact_fractions():
    generator = random.Random(0)
    for _ in range(2000):
        amount, examples, batch = (
            generator.randrange(1, 5000),
            generator.randrange(1, 10**6),
            generator.randrange(1, 5000),
        )
        exact = math.ceil(Fraction(amount, 100) * examples / batch)
        assert Duration.parse(f"{amount / 100}ep").steps(Clock(batch, examples)) == exact


def test_a_duration_is_written_as_it_is_read():
    for text in ("10ep", "2000st", "0.5ep", "5%"):
        assert str(Duration.parse(text)) == text
