"""Entities are counted as seqeval counts them in strict mode with IOB2."""

import random

import pytest
import torch

from ptft.errors import DataError
from ptft.metric.entities import EntityMetrics
from ptft.metric.tag_set import TagSet

CLASSES = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
TAGS = TagSet(CLASSES)
TABLE = [
    # tags, the entities that IOB2 strictly has (a lenient reading finds more in those marked *)
    ("", []),
    ("O O O", []),
    ("B-PER", [(0, 1, "PER")]),
    ("B-PER I-PER O", [(0, 2, "PER")]),
    ("O B-LOC I-LOC I-LOC", [(1, 4, "LOC")]),
    ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),
    ("B-PER I-LOC", [(0, 1, "PER")]),  # *
    ("I-PER I-PER O", []),  # *
    ("O I-LOC B-LOC", [(2, 3, "LOC")]),  # *
    ("B-PER O I-PER", [(0, 1, "PER")]),  # *
    ("B-LOC I-LOC B-LOC I-LOC", [(0, 2, "LOC"), (2, 4, "LOC")]),
    ("B-PER I-PER I-LOC I-PER", [(0, 2, "PER")]),  # *
]


def numbers(names):
    return [CLASSES.index(name) for name in names]


def random_row(generator, length):
    return [generator.choice(CLASSES) for _ in range(length)]


def random_pairs(count, seed=0):
    generator = random.Random(seed)
    pairs = []
    for _ in range(count):
        gold = random_row(generator, generator.randint(1, 9))
        pairs.append((gold, [tag if generator.random() < 0.7 else generator.choice(CLASSES) for tag in gold]))
    return pairs


def measured(pairs):
    metrics = EntityMetrics(TAGS)
    for gold, predicted in pairs:
        metrics.update(numbers(gold), numbers(predicted), 0.5 * len(gold), len(gold))
    return metrics


@pytest.mark.parametrize(("tags", "entities"), TABLE, ids=[tags or "nothing" for tags, _ in TABLE])
def test_the_entities_of_a_row_are_those_that_iob2_strictly_has(tags, entities):
    found = [(start, end, TAGS.types[kind]) for start, end, kind in TAGS.entities(numbers(tags.split()))]
    assert found == entities


def test_precision_recall_and_f1_equal_seqeval_s_on_hundreds_of_random_cases():
    scheme = pytest.importorskip("seqeval.scheme")
    from seqeval.metrics.v1 import precision_recall_fscore_support

    for seed in range(300):
        pairs = random_pairs(1 + seed % 7, seed)
        gold, predicted = [list(row) for row in zip(*pairs, strict=True)]
        reference = precision_recall_fscore_support(
            gold, predicted, average="micro", scheme=scheme.IOB2, zero_division=0
        )
        told = measured(pairs).compute()
        for name, value in zip(("precision", "recall", "f1"), reference[:3], strict=True):
            assert told[name] == pytest.approx(float(value), abs=1e-12)


def test_the_table_by_type_and_the_macro_mean_equal_seqeval_s():
    scheme = pytest.importorskip("seqeval.scheme")
    from seqeval.metrics import classification_report

    pairs = random_pairs(200)
    gold, predicted = [list(row) for row in zip(*pairs, strict=True)]
    report = classification_report(gold, predicted, mode="strict", scheme=scheme.IOB2, output_dict=True)
    metrics = measured(pairs)
    for row in metrics.table():
        reference = report[row["class"]]
        for name, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert row[name] == pytest.approx(float(reference[theirs]))
        assert row["support"] == reference["support"]
    assert metrics.compute()["f1_macro"] == pytest.approx(float(report["macro avg"]["f1-score"]))


def test_words_are_counted_one_by_one_beside_entities_and_losses_are_a_mean_over_words():
    metrics = measured([(["B-PER", "I-PER", "O"], ["B-PER", "O", "O"]), (["O"], ["O"])])
    told = metrics.compute()
    assert told["f1"] == told["precision"] == told["recall"] == 0
    assert told["token_accuracy"] == 0.75
    assert told["loss"] == 0.5


def test_an_entity_that_is_cut_off_counts_as_missed_and_as_wrong():
    metrics = measured([(["B-LOC", "I-LOC", "I-LOC"], ["B-LOC", "I-LOC", "O"])])
    assert metrics.table()[0] == {"class": "LOC", "precision": 0, "recall": 0, "f1": 0, "support": 1, "predicted": 1}


def test_intervals_hold_the_values_and_a_part_equals_the_metrics_of_its_examples():
    pairs = random_pairs(60)
    metrics = measured(pairs)
    told = metrics.compute()
    for name, (low, high) in metrics.intervals().items():
        assert low <= told[name] <= high
    rows = torch.arange(60) % 3 == 0
    part = metrics.subset(rows)
    assert part.compute() == measured([pair for pair, chosen in zip(pairs, rows, strict=True) if chosen]).compute()
    assert part.subset(torch.ones(20, dtype=torch.bool)).table() == part.table()


def test_differences_are_paired_and_refuse_other_examples():
    pairs = random_pairs(80)
    right = measured([(gold, gold) for gold, _ in pairs])
    low, high = measured(pairs).differences(right)["f1"]
    assert 0 < low < 1 - measured(pairs).compute()["f1"] < high
    with pytest.raises(ValueError, match="same tags and examples"):
        measured(pairs).differences(measured(random_pairs(80, 1)))


def test_plain_tags_are_judged_word_by_word():
    tags = TagSet(("ADJ", "NOUN", "O"))
    metrics = EntityMetrics(tags)
    metrics.update([0, 1, 1, 2], [0, 1, 0, 2], 0.0, 4)
    told = metrics.compute()
    assert told["f1"] == told["token_accuracy"] == 0.75


def test_nothing_evaluated_is_an_error_and_rows_of_other_lengths_are_too():
    with pytest.raises(DataError, match="no text was evaluated"):
        EntityMetrics(TAGS).compute()
    with pytest.raises(ValueError, match="expected a tag for each of 2 words, found 1"):
        EntityMetrics(TAGS).update([0, 0], [0], 0.0, 1)


def test_tags_may_follow_each_other_as_iob2_says():
    follows = TAGS.follows()
    allowed = {CLASSES[tag] for tag in range(5) if follows[CLASSES.index("B-PER"), tag]}
    assert allowed == {"O", "B-LOC", "B-PER", "I-PER"}
    assert {CLASSES[tag] for tag in range(5) if follows[-1, tag]} == {"O", "B-LOC", "B-PER"}
    assert TAGS.continued(1) == 2 and TAGS.continued(4) == 4 and TAGS.continued(0) == 0
