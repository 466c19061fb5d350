"""`run=a,b`: one evaluation of several runs, where `-m` keeps them jobs of their own."""

from pathlib import Path

import pytest

from ptft.config.arguments import listed_runs, parse_arguments, parse_overrides
from ptft.config.checked import Checked, check_each
from ptft.config.problems import Problem, as_error
from ptft.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["run=a,b"], ["a", "b"]),
        (["run=@latest,./x,/y/z"], ["@latest", "./x", "/y/z"]),
        (["run=[a,b,c]"], ["a", "b", "c"]),
        (["run=1,2"], ["1", "2"]),
        (["run='a,b'"], None),
        (["run=a"], None),
        ([], None),
    ],
)
def test_runs_are_listed_as_typed(words, found):
    overrides, problems = parse_overrides(parse_arguments("evaluate", words).overrides)
    assert not problems and listed_runs(overrides) == found


def test_sweeps_and_other_commands_are_left_alone():
    assert parse_arguments("evaluate", ["-m", "run=a,b"]).overrides == ("run=a,b",)
    assert parse_arguments("finetune", ["run=a,b"]).overrides == ("run=a,b",)


def check(texts, rename):
    (reference,) = (text for text in texts if text.startswith("run="))
    if "bad" in reference:
        raise as_error("evaluate", [Problem(reference, "there is no such run")])
    config = {"run": reference}
    if rename is not None:
        rename(config, {})
    return Checked(config=config, choices={}, root="evaluate", run=Path(reference[5:-1]))


def test_each_run_is_checked_alone_and_the_first_is_the_job():
    job = check_each(check, ["split=val", "run=[a,b]"], ["a", "b"], lambda config, choices: config.update(name="n"))
    assert job.config == {"run": ["a", "b"], "name": "n"} and job.run == Path("a")
    assert [(subject.run, subject.config["run"]) for subject in job.compared] == [(Path("b"), "run='b'")]


def test_the_problems_of_all_runs_are_told_at_once():
    with pytest.raises(ConfigError, match=r"(?s)2 problems.*bad1.*bad2"):
        check_each(check, ["run=x"], ["bad1", "good", "bad2"], None)
    with pytest.raises(ConfigError, match="twice"):
        check_each(check, ["run=x"], ["a", "./a"], None)
