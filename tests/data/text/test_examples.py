"""Texts as examples: divided without leaks, tokenised as the run was, the same whoever asks and however often."""

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ptft.data.data_module import BatchPlan, DataSpec
from ptft.data.text.examples import TextExamples
from ptft.data.text.rows import TextRows
from ptft.errors import ConfigError, DataError, RowError
from tests.text_samples import opinion

CPU = torch.device("cpu")
SMALL = {"tokenizer": {"vocab_size": 120}, "max_length": 16}


@dataclass(eq=False, repr=False, kw_only=True)
class Given(TextExamples):
    """Rows that a test gives."""

    rows: TextRows | None = None

    def read(self):
        return self.rows


def rows_of(texts, labels, **further):
    return TextRows(texts, labels=labels, places=[("rows.csv", n + 2) for n in range(len(texts))], **further)


def opinions(count=100, **further):
    texts, labels = zip(*map(opinion, range(count)), strict=True)
    return rows_of(list(texts), list(labels), **further)


def data(rows=None, spec=None, **settings):
    made = Given((), rows=opinions() if rows is None else rows, **{**SMALL, **settings})
    made.setup(spec)
    return made


def seen(made, split):
    found = {}
    for batch in made.evaluation_loaders(BatchPlan(batch_size=9))[split]:
        for index, label in zip(batch["index"].tolist(), batch["label"].tolist(), strict=True):
            found[index] = label
    return found


@pytest.fixture(scope="module")
def whole():
    return data()


def test_splits_are_stratified_disjoint_and_named_in_one_line(whole):
    splits = {name: seen(whole, name) for name in ("train", "val", "test")}
    assert [len(found) for found in splits.values()] == [80, 10, 10]
    assert len({index for found in splits.values() for index in found}) == 100
    share = np.mean([mood == "good" for mood in opinions().labels])
    for found in splits.values():
        assert abs(np.mean(list(found.values())) - share) <= 1 / len(found)
    assert whole.describe().startswith("test_examples: 80 train, 10 val, 10 test; 16 tokens at most (")
    assert "2 classes: bad 5" in whole.describe()
    assert whole.num_examples == 80


def test_the_specification_tells_what_a_model_needs(whole):
    spec = whole.spec
    assert (spec.kind, spec.shape, spec.classes, spec.target) == ("text", (16,), ("bad", "good"), "class")
    assert spec.inputs == ("input_ids", "attention_mask", "token_type_ids")
    assert sum(spec.class_counts) == 80
    assert set(spec.special_tokens) >= {"pad", "unk", "cls", "sep", "mask"} and "tokenizer.json" in spec.files
    assert DataSpec.from_json(spec.to_json(), dict(spec.files).__getitem__) == spec


def test_with_the_specification_of_a_run_nothing_is_fitted_again(whole):
    again = data(spec=whole.spec)
    assert again.spec == whole.spec
    other = data(opinions(60), spec=whole.spec)
    assert other.spec.files == whole.spec.files and other.spec.fingerprint != whole.spec.fingerprint
    assert other.spec.class_counts == whole.spec.class_counts
    one_class = rows_of([opinion(n)[0] for n in range(30)], ["good"] * 30)
    assert data(one_class, spec=whole.spec).spec.classes == ("bad", "good")
    with pytest.raises(DataError, match="the model does not know the label `meh`"):
        data(rows_of(["a", "b"], ["good", "meh"]), spec=whole.spec)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 12}, r"data\.max_length=16, now it is 12"),
        ({"normalisation": "nfkc"}, r"data\.normalisation=nfc, now it is nfkc"),
        ({"target": "tokens"}, r"data\.target=class, now it is tokens"),
    ],
)
def test_data_prepared_otherwise_do_not_fit_a_run(whole, settings, message):
    with pytest.raises(DataError, match=message):
        data(spec=whole.spec, **settings)


def test_the_fingerprint_follows_texts_labels_and_splits_alone(whole):
    prints = [
        whole.spec.fingerprint,
        data(split={"seed": 1}).spec.fingerprint,
        data(opinions(99)).spec.fingerprint,
        data(dataclasses.replace(opinions(), labels=["good", *opinions().labels[:-1]])).spec.fingerprint,
        data(label_fraction=0.5).spec.fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert data(max_length=12, length_window=2).spec.fingerprint == prints[0]


def test_copies_never_lie_in_two_splits():
    rows = opinions(50)
    texts, labels = [*rows.texts * 3, "torn", "torn"], [*rows.labels * 3, "good", "bad"]
    made = data(rows_of(texts, labels))
    assert len(made.paths()) == 50
    assert made.warnings()[0].startswith("removed 100 exact copies of other rows (65.8%): rows.csv, line 52 = ")
    assert made.warnings()[1].startswith("left out 1 text (2 rows) that stand there with several labels")
    kept = data(rows_of(texts, labels), deduplicate=False)
    split_of = {}
    for name in ("train", "val", "test"):
        for index in seen(kept, name):
            split_of.setdefault(kept.texts(torch.tensor([index]))[0], set()).add(name)
    assert len(split_of) == 51 and all(len(names) == 1 for names in split_of.values())


def test_groups_stay_whole_and_are_told(whole):
    shops = [f"shop{n // 5}" for n in range(100)]
    made = data(opinions(columns={"shop": shops}), split={"group": "shop"})
    parts = [{shops[index] for index in seen(made, name)} for name in ("train", "val", "test")]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert made.attributes()["group"][7] == "shop1" and set(made.attributes()) == {"group", "shop"}
    with pytest.raises(ConfigError, match=r"data\.split\.group=place: this is no column"):
        data(split={"group": "place"})
    assert whole.attributes() == {}


def test_splits_that_the_data_give_are_kept_and_their_overlap_told():
    rows = opinions(60)
    parts = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    made = data(dataclasses.replace(rows, splits=parts))
    assert [sorted(seen(made, name)) for name in ("val", "test")] == [list(range(40, 50)), list(range(50, 60))]
    assert made.warnings() == ()
    leaky = dataclasses.replace(rows, texts=[*rows.texts[:-1], rows.texts[0]], splits=parts)
    assert "1 text in both train and test as exact copies" in data(leaky).warnings()[0]
    with pytest.raises(DataError, match=r"in both train and test.*data\.fail_on_overlap=false"):
        data(leaky, fail_on_overlap=True)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (rows_of([], []), "no row with text is left of 0"),
        (rows_of(["", " "], ["a", "b"]), "no row with text is left of 2"),
        (rows_of(["a", "b", "c"], ["x", "y", "x"]), r"data\.split\.test takes 0 of 3 examples"),
        (rows_of(["a", "b", "c"], ["x", "x", "x"]), "all 3 rows are of the class `x`"),
        (rows_of([*"abcd"], [*"xzyx"], splits=["train", "train", "val", "test"]), "train holds no row of `y`"),
        (rows_of(["a", "b"], ["x", "y"], splits=["val", "val"]), "no row belongs to train; there are `val`"),
        (rows_of(["a", "b"], None), r"data\.target=class needs labels"),
    ],
)
def test_data_that_nothing_can_be_learned_from_are_refused(rows, message):
    with pytest.raises(DataError, match=message):
        data(rows)


def test_a_class_that_a_split_lacks_is_told():
    rows = dataclasses.replace(opinions(30), splits=["train"] * 28 + ["val", "test"])
    assert any(note.startswith("val holds no row of `") for note in data(rows).warnings())


def test_fewer_labels_keep_a_stratified_share_and_the_same_tokenizer(whole):
    made = data(label_fraction=0.1)
    assert len(seen(made, "train")) == 8 and seen(made, "train").items() <= seen(whole, "train").items()
    assert seen(made, "test") == seen(whole, "test") and made.spec.files == whole.spec.files
    assert "(label_fraction=0.1)" in made.describe()
    assert sum(made.spec.class_counts) == 8
    assert sum(len(batch["index"]) for batch in made.every_example(BatchPlan(batch_size=64))) == 100


def test_without_labels_the_division_is_that_of_the_labelled_data(whole):
    made = data(target="tokens")
    batch = next(iter(made.evaluation_loaders(BatchPlan(batch_size=200))["train"]))
    assert "label" not in batch
    assert sorted(batch["index"].tolist()) == sorted(seen(whole, "train"))
    assert made.spec.classes == () and "no labels" in made.describe()
    assert made.spec.files == whole.spec.files
    unlabelled = data(dataclasses.replace(opinions(), labels=None), target="tokens")
    assert unlabelled.num_examples == 80


def test_without_labels_contradictions_go_as_with_them():
    rows = opinions(40)
    rows = dataclasses.replace(
        rows,
        texts=[*rows.texts, rows.texts[0]],
        labels=[*rows.labels, "other"],
        places=[*rows.places, ("rows.csv", 42)],
    )
    labelled, unlabelled = data(rows), data(rows, target="tokens")
    assert labelled.paths() == unlabelled.paths() and len(labelled.paths()) == 39
    lists = dataclasses.replace(opinions(40), labels=[["a"], None] * 20)
    assert data(lists, target="tokens").num_examples == 32


def test_several_labels_and_values_reach_the_batches():
    rows = dataclasses.replace(opinions(40), labels=[["a"], "a|b", "", "c"] * 10)
    batch = next(data(rows, target="labels").train_loader(BatchPlan(batch_size=8)))
    assert batch["label"].shape == (8, 3) and batch["label"].dtype == torch.float32
    made = data(dataclasses.replace(opinions(40), labels=[str(n / 2) for n in range(40)]), target="value")
    batch = next(made.train_loader(BatchPlan(batch_size=8)))
    assert batch["label"].tolist() == [index / 2 for index in batch["index"].tolist()]
    train = np.array([index / 2 for index in seen(made, "train")])
    assert made.spec.value_mean == pytest.approx(train.mean()) and made.spec.value_std == pytest.approx(train.std())
    assert "values from 0 to 19.5" in made.describe()


def test_training_batches_start_anywhere(whole):
    made = list(itertools.islice(whole.train_loader(BatchPlan(batch_size=8, seed=2)), 7))
    later = next(whole.train_loader(BatchPlan(batch_size=8, seed=2, start_step=6)))
    assert all(made[6][name].equal(later[name]) for name in later)


def test_a_row_to_predict_on_becomes_what_it_was_in_the_data(whole):
    fresh = Given((), **SMALL)
    fresh.restore(whole.spec)
    rows = [{"text": text} for text in opinions().texts[:5]]
    batch = fresh.batch_of(rows, CPU)
    assert batch["index"].tolist() == [0, 1, 2, 3, 4] and "label" not in batch
    for known in whole.every_example(BatchPlan(batch_size=1)):
        index = int(known["index"])
        if index < 5:
            tokens = known["input_ids"][0]
            assert batch["input_ids"][index, : len(tokens)].equal(tokens)
    before = fresh.num_truncated
    fresh.batch_of([{"text": "word " * 50}, {"text": "short"}, {"text": ""}], CPU)
    assert fresh.num_truncated == before + 1
    with pytest.raises(RowError, match="the field `text` is missing; the row has `txet`") as raised:
        fresh.batch_of([{"text": "a"}, {"txet": "b"}], CPU)
    assert raised.value.row == 1
    with pytest.raises(RowError, match="the field `text` is a int"):
        fresh.batch_of([{"text": 7}], CPU)


def test_a_run_that_starts_from_weights_takes_their_tokenizer(whole, tmp_path):
    for name, text in whole.spec.files.items():
        (tmp_path / name).write_text(text)
    made = Given((), rows=opinions(40), max_length=16)
    made.start_from(tmp_path)
    made.setup()
    assert made.spec.files == whole.spec.files and made.spec.vocab_size == whole.spec.vocab_size
    assert made.warnings() == ()
    (tmp_path / "empty").mkdir()
    other = Given((), rows=opinions(40), max_length=16, tokenizer={"vocab_size": 120})
    other.start_from(tmp_path / "empty")
    other.setup()
    assert "empty comes with no tokenizer: one was trained on these texts" in other.warnings()[0]


def test_texts_and_places_are_there_to_be_shown(whole):
    assert whole.texts(torch.tensor([3, 1])) == [opinion(3)[0], opinion(1)[0]]
    assert whole.paths()[3] == "rows.csv:5"
    pairs = data(dataclasses.replace(opinions(30), pairs=["and more"] * 30))
    assert pairs.texts(torch.tensor([0])) == [f"{opinion(0)[0]}\nand more"]


def test_augmentations_of_pictures_and_a_share_of_nothing_are_refused():
    with pytest.raises(ConfigError, match="an augmentation of pictures, and these data are texts"):
        Given((object(),))
    with pytest.raises(ConfigError, match=r"data\.label_fraction takes a share"):
        Given((), label_fraction=0.0)
