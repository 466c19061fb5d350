"""Labels: what a source may say of a row, and the numbers that become of it."""

import numpy as np
import pytest

from ptft.data.text.bad_rows import BadRows
from ptft.data.text.labels import number_labels, read_labels
from ptft.data.text.rows import TextRows
from ptft.errors import DataError


def labelled(target, labels, known=None, separator="|"):
    rows = TextRows(["text"] * len(labels), labels=labels, places=[("rows.csv", n + 2) for n in range(len(labels))])
    return number_labels(read_labels(rows, target, BadRows(), separator), target, known)


def test_classes_are_named_by_texts_numbers_and_truths():
    assert labelled("class", ["b ", "a", "b"]).classes == ("a", "b")
    assert labelled("class", [2, 10, "1", 2.0]).classes == ("1", "2", "10")  # whole numbers by their size
    assert labelled("class", [True, False]).classes == ("false", "true")
    assert labelled("class", [-1, 1, 0]).classes == ("-1", "0", "1")
    labels = labelled("class", ["b", "a", "b"])
    assert labels.values.tolist() == labels.strata.tolist() == [1, 0, 1]
    assert labels.counts(np.array([0, 2])) == (0, 2)


def test_several_labels_a_row_come_from_texts_and_lists():
    labels = labelled("labels", ["red|big", "", '["big", "new"]', ["red"], None])
    assert labels.classes == ("big", "new", "red")
    assert labels.values.tolist() == [[1, 0, 1], [0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert labels.values.dtype == np.float32
    assert labels.strata.tolist() == [0, 3, 1, 2, 3]  # the rarest label of a row, and those of none together
    assert labels.counts(np.arange(5)) == (2, 1, 2)
    assert labelled("labels", ["a, b", "b"], separator=",").classes == ("a", "b")


def test_another_separator_than_the_one_given_is_found_out():
    with pytest.raises(
        DataError, match=r"some have `\w;\w`: divided by `;` these are 2 labels instead of 3.*separator=\""
    ) as refused:
        labelled("labels", ["a;b", "a", "b", "b", ""])
    assert "'data.label_separator=\";\"'" in str(refused.value)
    for distinct in (["red, green", "blue"], ["a", "b"], ["a;b|a", "a", "b"], ["", ""][:0]):
        assert read_labels(TextRows(distinct, labels=distinct), "labels", BadRows()).labels is not None


def test_values_are_numbers_that_are_stratified_by_their_size():
    labels = labelled("value", ["1.5", 2, 3.0, "-4e1"])
    assert labels.values.tolist() == [1.5, 2, 3, -40]
    assert labels.classes == () and labels.counts(np.arange(4)) == ()
    order = labels.strata[np.argsort(labels.values)]
    assert (np.diff(order) >= 0).all() and len(np.unique(order)) > 1


def test_without_a_target_labels_only_keep_the_division_the_same():
    labels = labelled("tokens", ["b", None, "a", "b"])
    assert labels.classes == () and labels.values is None
    assert labels.strata.tolist() == [2, 0, 1, 2]
    stars = ["10", "2", 1, "2"]  # numbered as the classes are, as the division is drawn by these numbers
    assert labelled("tokens", stars).strata.tolist() == labelled("class", stars).strata.tolist() == [2, 1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["a", None, "b"], "not every row has a class"),
        (["a|b", "b"], "some rows have several labels"),
        ([n / 7 for n in range(60)], "60 rows have 60 different labels"),
        (["a", "b", "a"], ""),
    ],
)
def test_without_a_target_a_division_that_may_be_another_with_one_is_told(labels, told):
    rows = read_labels(TextRows(["text"] * len(labels), labels=labels), "tokens", BadRows())
    assert [note.startswith(told) for note in rows.notes] == [True] * bool(told)


@pytest.mark.parametrize(
    ("target", "label", "reason"),
    [
        ("class", "", "the label is empty"),
        ("class", None, "the label is empty"),
        ("class", ["a"], "the label is a list; expected the name of a class"),
        ("class", float("nan"), "the label is nan"),
        ("value", "high", "the label `high` is no number"),
        ("value", "nan", "the label is nan; expected a finite number"),
        ("value", None, "the label is empty; expected a number"),
        ("value", True, "the label is true or false; expected a number"),
        ("labels", "[1", "begins like a list and is no JSON list"),
        ("labels", "a||b", "the label is empty"),
    ],
)
def test_a_label_that_cannot_be_read_is_told_with_its_line(target, label, reason):
    with pytest.raises(DataError, match=f"rows.csv, line 3: .*{reason}"):
        labelled(target, ["1", label])
    rows = TextRows(["a", "b"], labels=["1", label], places=[("rows.csv", 2), ("rows.csv", 3)])
    bad = BadRows("skip", 1.0)
    assert read_labels(rows, target, bad).texts == ["a"] and len(bad.rows) == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "a"], "all 2 rows are of the class `a`; give at least two"),
        (["Good", "good"], "differ only in upper and lower case"),
        (list(range(100)), "100 rows have 100 different labels.*data.target=value"),
        ([f"id{n}" for n in range(100)], "100 rows have 100 different labels.*97 more; name the column"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        labelled("class", labels)


def test_a_model_brings_its_classes_and_any_other_is_named():
    labels = labelled("class", ["b"], known=("b", "c", "a"))
    assert labels.classes == ("b", "c", "a") and labels.values.tolist() == [0]
    with pytest.raises(DataError, match=r"rows.csv, line 3: the model does not know the label `d`; it knows `b`, `c`"):
        labelled("class", ["b", "d"], known=("b", "c"))
    with pytest.raises(DataError, match=r"line 2: the model does not know the label `x` \(2 such labels: `x`, `y`\)"):
        labelled("labels", ["x|b", "y"], known=("b", "c"))


def test_a_target_without_labels_is_refused():
    with pytest.raises(DataError, match=r"data\.target=class needs labels, and these data have none"):
        read_labels(TextRows(["a"]), "class", BadRows())
