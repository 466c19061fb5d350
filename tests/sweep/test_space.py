"""A space is what Hydra's grammar says it is, and what is drawn from it is even."""

import math
import random

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from scipy.stats import chisquare, kstest

from ptft.errors import ConfigError
from ptft.sweep.space import Choice, Interval, Space, as_number, first_new, read_space


def dimension(text):
    space, fixed = read_space([text])
    assert fixed == []
    (found,) = space.dimensions
    return found


def hydras_grid(texts, loader=None):
    """The jobs of Hydra's own sweeper, each as {key: value}."""
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(texts)
    (batch,) = BasicSweeper.split_arguments(overrides, None)
    return [dict(text.split("=", 1) for text in job) for job in batch]


@pytest.fixture
def loader(tmp_path):
    """Hydra's loader over a tree with a group `model` of three options."""
    for name in ("vgg", "vit", "resnet"):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / f"{name}.yaml").write_text("depth: 1\n")
    return ConfigLoaderImpl(config_search_path=create_config_search_path(str(tmp_path)))


# --- Reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimizer.lr=1e-4,1e-3", Choice("optimizer.lr", ("0.0001", "0.001"))),
        ("model=vision/vgg,vision/resnet18", Choice("model", ("vision/vgg", "vision/resnet18"))),
        ("adapt=choice(full,lora)", Choice("adapt", ("full", "lora"))),
        ("adapt=choice(full)", Choice("adapt", ("full",))),
        ("+model.bias=true,false,null", Choice("+model.bias", ("True", "False", "null"))),
        ("depth=range(1,4)", Choice("depth", ("1", "2", "3"))),
        ("depth=range(8,1,-3)", Choice("depth", ("8", "5", "2"))),
        ("drop=range(0,0.5,0.25)", Choice("drop", ("0.0", "0.25"))),
        ("drop=float(range(1,3))", Choice("drop", ("1.0", "2.0"))),
        ("lr=sort(3,1,2)", Choice("lr", ("1", "2", "3"))),
        ("lr=1,2,1", Choice("lr", ("1", "2"))),
        ("drop=interval(0,1)", Interval("drop", 0.0, 1.0)),
        ("drop=interval(-0.5,0.5)", Interval("drop", -0.5, 0.5)),
        ("lr=tag(log,interval(1e-4,1e-1))", Interval("lr", 1e-4, 1e-1, log=True)),
        ("depth=int(interval(2,8))", Interval("depth", 2.0, 8.0, integer=True)),
        ("width=int(tag(log,interval(8,512)))", Interval("width", 8.0, 512.0, log=True, integer=True)),
        ("width=tag(log,int(interval(8,512)))", Interval("width", 8.0, 512.0, log=True, integer=True)),
    ],
)
def test_every_form_of_hydras_grammar_is_a_dimension(text, expected):
    assert dimension(text) == expected


def test_a_shuffled_choice_holds_the_same_values():
    found = dimension("depth=shuffle(range(0,40))")
    assert found.values != tuple(map(str, range(40)))
    assert sorted(found.values, key=int) == list(map(str, range(40)))


def test_a_shuffled_choice_is_read_the_same_each_time():
    # A sweep that goes on reads its command line again, and must find its grid as it was.
    first, again = (dimension("depth=shuffle(range(0,40))") for _ in range(2))
    assert first == again


def test_glob_names_the_options_of_a_group(loader):
    space, _ = read_space(["model=glob(v*)"], loader)
    assert space.dimensions == (Choice("model", ("vgg", "vit")),)
    space, _ = read_space(["model=glob(*,exclude=v*)"], loader)
    assert space.dimensions == (Choice("model", ("resnet",)),)


def test_glob_without_a_loader_is_told():
    with pytest.raises(ConfigError, match=r"model=glob\(\*\): cannot be read"):
        read_space(["model=glob(*)"])


def test_values_with_commas_quotes_and_brackets_stay_as_they_are_typed():
    texts = ["a='x, y',\"z=1\"", "b=[1,2],[3]", "c={k:1},{k:2,m:3}", "d=${x},${y}", r"e=a\,b,c"]
    assert read_space(texts)[0].grid() == hydras_grid(texts)


def test_of_a_key_typed_twice_the_last_counts():
    space, fixed = read_space(["a=1,2", "b=1", "a=3", "b=4,5", "c=1", "c=2"])
    assert space.dimensions == (Choice("b", ("4", "5")),)
    assert fixed == ["a=3", "c=2"]


def test_overrides_of_one_value_come_back_as_they_are_typed():
    texts = ["experiment=vision/digits", "name=night", "+data.path='/a b'", "~callbacks", "shape=[1,2]"]
    assert read_space(texts) == (Space(()), texts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr=interval(1,", "cannot be read"),
        ("lr=interval(0.1,0.01)", "two ends, the smaller first"),
        ("lr=interval(1,1)", "two ends, the smaller first"),
        ("depth=int(interval(0.2,0.8))", "two ends, the smaller first"),
        ("lr=tag(log,interval(0,1))", "ends above 0"),
        ("lr=tag(log,interval(-1,1))", "ends above 0"),
        ("lr=tag(log,fast,interval(1,2))", "knows the tag log, not fast"),
        ("lr=str(interval(1,2))", "cannot be read"),
        ("lr=nonsense(1,2)", "cannot be read"),
    ],
)
def test_what_is_no_space_is_told_with_what_was_typed(text, message):
    with pytest.raises(ConfigError) as caught:
        read_space([text])
    assert text in str(caught.value) and message in str(caught.value)


# --- The grid ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [
        ["a=1,2,3", "b=10,20"],
        ["a=range(1,4)", "b=choice(x,y)", "c=1e-3,1e-4"],
        ["b=2,1", "a=x"],
        ["a=1,2", "b=3,4", "a=5,6"],
        ["a=sort(3,1,2,reverse=true)", "+b=true,null"],
        ["a=range(0,1,0.25)", "b=x,y"],
        ["model=glob(*)", "lr=1,2"],
    ],
)
def test_a_grid_is_that_of_hydras_own_sweeper(texts, loader):
    space, fixed = read_space(texts, loader)
    one = dict(text.split("=", 1) for text in fixed)
    points = space.grid()
    assert [{**point, **one} for point in points] == [{**job} for job in hydras_grid(texts, loader)]
    assert len(points) == space.size
    assert list(points[0]) == [found.key for found in space.dimensions]


def test_a_grid_of_an_interval_is_refused_with_what_to_do():
    space, _ = read_space(["a=1,2", "lr=interval(0,1)"])
    assert space.intervals == ["lr"]
    with pytest.raises(ConfigError, match=r"interval of lr: name its values .* or take hydra/sweeper=random"):
        space.grid()


def test_a_grid_of_nothing_is_one_point():
    assert Space(()).grid() == [{}] and Space(()).size == 1


def test_the_size_counts_whole_numbers_and_no_real_ones():
    assert read_space(["a=1,2", "b=int(interval(2,8))"])[0].size == 14
    assert read_space(["a=1,2", "b=interval(2,8)"])[0].size == math.inf


# --- Drawing ----------------------------------------------------------------------------------------------------------


def draws(found, number=4000):
    dice = random.Random(0)
    return [found.draw(dice) for _ in range(number)]


def test_real_numbers_are_drawn_evenly():
    values = [float(text) for text in draws(Interval("a", -2.0, 3.0))]
    assert kstest([(value + 2) / 5 for value in values], "uniform").pvalue > 0.01


def test_numbers_of_a_logarithmic_interval_are_drawn_evenly_in_the_logarithm():
    values = [float(text) for text in draws(Interval("a", 1e-4, 1e-1, log=True))]
    assert kstest([math.log10(value * 1e4) / 3 for value in values], "uniform").pvalue > 0.01
    assert kstest([value / 0.1 for value in values], "uniform").pvalue < 1e-9


@pytest.mark.parametrize("found", [Interval("a", 2, 8, integer=True), Choice("a", tuple("abcdefg"))])
def test_whole_numbers_and_choices_are_drawn_evenly_with_both_ends(found):
    values = draws(found)
    counts = [values.count(one) for one in sorted(set(values))]
    assert len(counts) == 7 and chisquare(counts).pvalue > 0.01


def test_whole_numbers_of_a_logarithmic_interval_are_as_frequent_as_they_are_wide():
    values = [int(text) for text in draws(Interval("a", 1, 100, log=True, integer=True))]
    assert {1, 2, 3} <= set(values) <= set(range(1, 101))
    assert sum(value <= 10 for value in values) / len(values) == pytest.approx(math.log(10.5) / math.log(100), abs=0.03)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize("ends", [(1, 2), (3, 5), (123456, 123459)])
def test_numbers_stay_inside_their_ends(ends, log, integer):
    values = draws(Interval("a", *map(float, ends), log, integer), 500)
    assert all(ends[0] <= float(text) <= ends[1] for text in values)
    assert not integer or all(text.isdecimal() for text in values)


@pytest.mark.parametrize("value", [0.0, 1.234449e-3, 1.0, 99.0])
def test_a_number_as_it_is_typed_lies_inside_the_ends_and_has_four_digits(value):
    found = Interval("a", 1.23456e-5, 1.23456e-2, log=True)
    text = found.text(value)
    assert found.low <= float(text) <= found.high
    assert float(text) in (found.low, found.high, 1.234e-3)


def test_what_is_drawn_can_be_typed_again():
    space, _ = read_space(["a=x,y", "lr=tag(log,interval(1e-6,1e-1))", "depth=int(interval(1,9))", "d=interval(0,1)"])
    dice = random.Random(3)
    for _ in range(50):
        point = space.draw(dice)
        typed = [f"{key}={value}" for key, value in point.items()]
        assert read_space(typed) == (Space(()), typed)
        assert 1e-6 <= float(point["lr"]) <= 1e-1 and 1 <= int(point["depth"]) <= 9 and point["a"] in "xy"


def test_a_new_point_is_none_of_those_known_while_there_is_one():
    space, _ = read_space(["a=range(0,20)", "b=range(0,20)"])
    known = []
    for number in range(400):
        known.append(space.draw_new(random.Random(number), known))
    assert {(point["a"], point["b"]) for point in known} == {(str(a), str(b)) for a in range(20) for b in range(20)}


def test_drawing_ends_where_nothing_is_new():
    space, _ = read_space(["a=1,2"])
    assert space.draw_new(random.Random(0), [{"a": "1"}, {"a": "2"}]) in space.grid()
    calls = []
    assert first_new(lambda: calls.append(0) or {"a": "1"}, [{"a": "1"}], most=5) == {"a": "1"}
    assert len(calls) == 6


# --- Order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "ordered"),
    [("1 2 10", True), ("1e-4 1e-3", True), ("2 1", False), ("1 1.0", False), ("a b", False), ("1 x", False)],
)
def test_only_ascending_numbers_are_ordered(values, ordered):
    assert Choice("a", tuple(values.split())).ordered is ordered


def test_one_value_has_no_order():
    assert not Choice("a", ("1",)).ordered


@pytest.mark.parametrize(("text", "number"), [("1e-3", 1e-3), ("-2", -2.0), ("nan", None), ("inf", None), ("x", None)])
def test_a_value_is_a_finite_number_or_none(text, number):
    assert as_number(text) == number
