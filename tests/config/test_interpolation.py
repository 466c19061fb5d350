"""References in a config: resolved, or told one by one, at a bounded price."""

import pytest
from omegaconf import OmegaConf

from ptft.config.interpolation import forbid_environment, resolve


@pytest.fixture(autouse=True)
def door():
    forbid_environment()


def test_references_are_resolved_absolute_relative_and_in_lists():
    config = OmegaConf.create({"a": 1, "b": {"c": "${a}", "d": "${.c}", "e": ["${...a}", "x${a}"]}, "f": "${b}"})
    values, complaints = resolve(config)
    assert complaints == []
    assert values == {"a": 1, "b": {"c": 1, "d": 1, "e": [1, "x1"]}, "f": {"c": 1, "d": 1, "e": [1, "x1"]}}


def test_a_circle_is_shown_and_the_rest_still_resolved():
    values, complaints = resolve(
        OmegaConf.create({"a": "${b}", "b": "${c.d}", "c": {"d": "${a}"}, "e": "${f}", "f": 2})
    )
    assert ("a", "refers to itself in a circle: a -> b -> c.d -> a") in complaints
    assert values["e"] == 2


def test_a_reference_to_nothing_names_its_key():
    _, complaints = resolve(OmegaConf.create({"a": {"b": "${no.such}"}}))
    assert complaints[0][0] == "a.b" and "no.such" in complaints[0][1]


def test_the_environment_is_not_read(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "hidden")
    for text in (
        "${oc.env:SECRET_KEY}",
        "${oc.env:SECRET_KEY,none}",
        "x${oc.decode:${oc.env:SECRET_KEY}}",
        "${oc.${z}:SECRET_KEY}",
    ):
        values, complaints = resolve(OmegaConf.create({"a": text, "z": "env"}))
        assert complaints and "hidden" not in str(values) + str(complaints)


def test_doubling_references_are_refused_at_once():
    tree = {"x0": "aaaaaaaaaa"} | {f"x{i}": f"${{x{i - 1}}}${{x{i - 1}}}" for i in range(1, 40)}
    _, complaints = resolve(OmegaConf.create(tree))
    assert "become more than 100,000" in dict(complaints)["x39"]


def test_unknown_resolvers_are_refused():
    _, complaints = resolve(OmegaConf.create({"a": "${eval:1+1}"}))
    assert complaints[0][0] == "a"
