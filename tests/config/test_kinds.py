"""Annotations read from source, and the values they take."""

import ast
import math

import pytest

from ptft.config.kinds import Anything
from ptft.config.signature import component_record, read_kind
from ptft.config.source import read_source

HEADER = """
from typing import Any, Literal
from pathlib import Path
from dataclasses import dataclass
from torch import Tensor
from ptft.types import DropRate, DurationText, NonNegativeInt, PositiveFloat, PositiveInt, UnitFloat
Norm = Literal["batch", "none"]
@dataclass
class Inner:
    decay: UnitFloat = 0.9
    steps: int
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module and return its source as the check reads it."""
    monkeypatch.syspath_prepend(tmp_path)
    counter = iter(range(100))

    def make(body):
        name = f"kinds_{tmp_path.name}_{next(counter)}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(HEADER + body)
        return read_source(name)

    return make


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [0, -3], [1.5, 2.0, "2", True, None, [1]]),
        ("float", [1, 0.5, -1e3], ["a", "1.0", True, None, math.nan, math.inf]),
        ("bool", [True, False], [0, 1, "true", None]),
        ("str", ["", "a"], [1, None, True]),
        ("None", [None], [0, "", False]),
        ("PositiveInt", [1, 7], [0, -1, 1.0, True]),
        ("NonNegativeInt", [0], [-1]),
        ("PositiveFloat", [1e-9, 1], [0, 0.0, -1, math.inf]),
        ("UnitFloat", [0, 1, 0.5], [1.01, -0.1]),
        ("DropRate", [0, 0.99], [1, 1.0, -0.1]),
        ("DurationText", ["10ep", "2000st", "1e6ex", "5%", "0st"], ["10", 10, True, None, "10 bananas", [1]]),
        ("PositiveFloat | None", [None, 2.0], [0, "none"]),
        ("Literal['a', 1, True]", ["a", 1, True], ["b", 1.0, False, None]),
        ("Norm", ["batch"], ["layer", None]),
        ("list[PositiveInt]", [[], [1, 2]], [[0], 1, [1, "a"], None]),
        ("tuple[int, ...]", [[], [1, 2, 3]], [["a"], 3]),
        ("tuple[float, float]", [[1, 2.0]], [[1], [1, 2, 3], ["a", 1]]),
        ("dict[str, PositiveInt]", [{}, {"a": 1}], [{"a": 0}, [1], None]),
        ("Inner", [{"steps": 1}, {"steps": 1, "decay": 0.5}], [{}, {"steps": 1, "decay": 2}, {"steps": 1, "x": 1}, 3]),
        ("Inner | None", [None, {"steps": 1}], [{"steps": "a"}, "x"]),
        ("'int | None'", [1, None], ["a"]),
        ("float | Tensor", [1.0], ["a"]),
        ("Path", ["x"], [1]),
        ("Tensor", [1, "a"], []),
        ("Any", [1, None], []),
    ],
)
def test_a_value_fits_or_is_named(module, annotation, good, bad):
    kind = read_kind(module(""), ast.parse(annotation, mode="eval").body)
    for value in good:
        assert list(kind.complaints("key", value)) == []
    for value in bad:
        complaints = list(kind.complaints("key", value))
        assert complaints and complaints[0][0].startswith("key"), value


def test_values_become_what_the_annotation_names(module):
    source = module("")

    def convert(annotation, value):
        return read_kind(source, ast.parse(annotation, mode="eval").body).convert(value)

    assert convert("tuple[int, ...]", [1, 2]) == (1, 2)
    assert convert("tuple[float, float] | None", [1, 2]) == (1.0, 2.0)
    assert isinstance(convert("float", 1), float)
    assert convert("list[tuple[int, int]]", [[1, 2]]) == [(1, 2)]


def test_settings_are_what_stands_after_the_star(module):
    source = module("class Net:\n    def __init__(self, spec, *, width: int = 3, depth: int): ...\n")
    record = component_record(source, source.definitions["Net"], 1)
    assert [(f.name, f.required) for f in record.fields] == [("width", False), ("depth", True)]


def test_without_a_star_settings_follow_what_is_supplied(module):
    source = module("class Net:\n    def __init__(self, spec, width: int, depth: int = 2): ...\n")
    record = component_record(source, source.definitions["Net"], 1)
    assert [(f.name, f.required) for f in record.fields] == [("width", True), ("depth", False)]


def test_a_constructor_is_found_in_a_base_class_and_a_dataclass_has_one(module):
    source = module(
        "class Base:\n    def __init__(self, *, width: int): ...\nclass Net(Base): ...\n"
        "@dataclass\nclass Data:\n    a: int\n    b: str = ''\ndef make(*, c: bool): ...\n"
        "class Open:\n    def __init__(self, *, a: int = 1, **rest): ...\nclass Bare: ...\n"
    )
    names = {n: [f.name for f in component_record(source, source.definitions[n], 0).fields] for n in source.definitions}
    assert names["Net"] == ["width"] and names["Data"] == ["a", "b"] and names["make"] == ["c"]
    assert names["Open"] == ["a"] and component_record(source, source.definitions["Open"], 0).open
    assert names["Bare"] == []


def test_a_dataclass_takes_the_fields_of_its_bases_and_is_supplied_those_before_the_mark(module):
    source = module(
        "from dataclasses import KW_ONLY, dataclass\nclass Contract:\n    title: str = ''\n"
        "@dataclass\nclass Base(Contract):\n    given: int\n    _: KW_ONLY\n    a: int\n    b: str = ''\n"
        "@dataclass(kw_only=True)\nclass Net(Base):\n    b: float = 1.0\n    c: bool\nclass Same(Net): ...\n"
    )
    for name in ("Net", "Same"):
        record = component_record(source, source.definitions[name], 1)
        assert [(f.name, f.required, f.kind.text) for f in record.fields] == [
            ("a", True, "a whole number"),
            ("b", False, "a number"),
            ("c", True, "true or false"),
        ]


def test_the_same_type_of_a_list_item_is_named_with_its_place(module):
    kind = read_kind(module(""), ast.parse("list[PositiveInt]", mode="eval").body)
    assert list(kind.complaints("model.widths", [1, 0])) == [
        ("model.widths[1]", "takes a whole number >= 1, found `0`")
    ]


def test_what_cannot_be_read_is_not_checked(module):
    assert isinstance(read_kind(module(""), None), Anything)
