"""Tags of words: counted by tokens, judged by words, whatever the cut into batches and windows."""

import dataclasses
import itertools
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from ptft.data.data_module import DataSpec
from ptft.data.text.tagged_windows import encode_tagged
from ptft.data.text.tokenizer import TextTokenizer
from ptft.data.text.word_units import joined
from ptft.errors import ConfigError, DataError
from ptft.metric.tag_set import TagSet
from ptft.task.text.tagged_words import choose_tags, fill_in
from ptft.task.text.token_classification import TokenClassification
from tests.task import harness
from tests.task.text.toys import VOCABULARY, tokenizer_files

CLASSES = ("O", "B-ANIMAL", "I-ANIMAL", "B-PLACE", "I-PLACE")
SPEC = DataSpec(
    kind="text",
    shape=(40,),
    classes=CLASSES,
    class_counts=(10, 4, 2, 3, 1),
    inputs=("input_ids", "attention_mask"),
    target="tags",
    output="tags",
    vocab_size=VOCABULARY,
)
KNOWN = {"cats": 1, "dog": 1, "dogs": 1, "quick": 2, "mat": 3, "mats": 3}


class TagNet(nn.Module):
    """Embeddings of a token and of its neighbours, and a linear layer; padding is not seen."""

    def __init__(self, num_classes=5, width=16):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.head = nn.Linear(3 * width, num_classes)

    def forward(self, input_ids, attention_mask):
        seen = self.embedding(input_ids) * attention_mask[..., None]
        around = [torch.roll(nn.functional.pad(seen, (0, 0, 1, 1)), shift, 1)[:, 1:-1] for shift in (-1, 0, 1)]
        return self.head(torch.cat(around, -1))


def make_task(num_classes=5, **settings):
    torch.manual_seed(0)
    return TokenClassification(TagNet(num_classes).double(), SPEC, **settings)


def rows(count, longest=9, seed=0):
    """Return random rows of words; some words are two tokens."""
    generator = random.Random(seed)
    return [
        [generator.choice(["the", "sat", "a", "ran", *KNOWN]) for _ in range(generator.randint(1, longest))]
        for _ in range(count)
    ]


def batch_of(words, *, max_length=40, overlap=0):
    """Return rows of words as a batch for training and evaluation."""
    tokenizer = TextTokenizer.from_files(tokenizer_files())
    made = [joined(row, " ", "nfc") for row in words]
    tags = [tuple(KNOWN.get(word, 0) for word in row) for row in words]
    windows = encode_tagged(
        tokenizer,
        [text for text, _ in made],
        [spans for _, spans in made],
        tags,
        [name.startswith("B-") for name in CLASSES],
        max_length=max_length,
        overlap=overlap,
    ).encoded
    index = windows.index.tolist()
    batch = windows.gather(np.arange(len(windows)))
    lists = {"tags": tags, "text": [text for text, _ in made], "spans": [spans for _, spans in made]}
    return batch | {name: [values[row] for row in index] for name, values in lists.items()}


def training(batch):
    return {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}


# ---- Training ------------------------------------------------------------------------------------------------------


def test_the_loss_counts_tokens_with_a_tag_and_equals_a_plain_loop():
    task, batch = make_task(), training(batch_of(rows(6)))
    count = int(task.count(batch, "model")["tags"])
    assert count == sum(len(row) for row in rows(6)) < int(batch["attention_mask"].sum()) - 12
    total = 0.0
    logits = task(batch)["logits"].detach().log_softmax(-1)
    for place, label in np.ndenumerate(batch["labels"].numpy()):
        total -= float(logits[place][label]) if label >= 0 else 0.0
    assert float(task.loss(task(batch), batch, "model").sums["tags"].detach()) == pytest.approx(total)


@pytest.mark.parametrize("settings", [{}, {"class_weights": "balanced"}, {"label_smoothing": 0.1}])
def test_cutting_a_batch_changes_no_gradient(settings):
    harness.assert_cutting_changes_no_gradient(make_task(**settings), training(batch_of(rows(8))))


def test_a_micro_batch_without_tags_adds_nothing():
    task, batch = make_task(), training(batch_of(rows(3)))
    batch["labels"][:] = -100
    assert int(task.count(batch, "model")["tags"]) == 0
    loss = task.loss(task(batch), batch, "model").sums["tags"]
    loss.backward()
    assert float(loss.detach()) == 0 and all(not value.grad.any() for value in task.parameters())


def test_a_batch_is_learnt_by_heart_and_found_again():
    task, batch = make_task(decoding="argmax"), batch_of(rows(12))  # of which IOB2 does not allow every row
    first, last = harness.overfit(task, training(batch))
    assert last < 0.05 * first
    metrics = harness.evaluate(task, batch, 5)[0]
    assert metrics["token_accuracy"] == 1 and metrics["f1"] == 1


def test_hidden_tokens_are_hidden_in_training_only_and_special_ones_never():
    special = {"pad": 0, "unk": 1, "cls": 2, "sep": 3}
    seen = []
    network = TagNet().double()
    network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    task = TokenClassification(network, dataclasses.replace(SPEC, special_tokens=special), token_dropout=0.3)
    batch = training(batch_of(rows(60)))
    task(batch)
    task.eval()(batch)
    trained, evaluated = seen
    assert torch.equal(evaluated, batch["input_ids"])
    words = batch["input_ids"] > 3
    assert torch.equal(trained[~words], batch["input_ids"][~words])
    hidden = trained[words] == 1
    assert 0.2 < hidden.double().mean() < 0.4
    assert torch.equal(trained[words][~hidden], batch["input_ids"][words][~hidden])
    with pytest.raises(ConfigError, match=r"task\.token_dropout=0\.3 shows tokens as unknown"):
        make_task(token_dropout=0.3)


def test_weights_and_data_are_checked():
    weights = make_task(class_weights={"B-PLACE": 3.0}).weights
    assert weights.tolist() == [1, 1, 1, 3, 1]
    with pytest.raises(ConfigError, match="there is no class B-PLAC"):
        make_task(class_weights={"B-PLAC": 3.0})
    with pytest.raises(DataError, match="data=text/conll"):
        TokenClassification(TagNet(), DataSpec(kind="text", shape=(4,), classes=("a", "b")))


# ---- Evaluation ----------------------------------------------------------------------------------------------------


def test_batch_size_changes_no_evaluation():
    whole = harness.assert_batch_size_changes_no_evaluation(make_task(), batch_of(rows(20)))
    assert len(whole[3]["index"]) == 20


def test_windows_are_joined_whatever_the_cut_and_every_word_counts_once():
    words = rows(9, longest=25)
    whole = harness.assert_batch_size_changes_no_evaluation(make_task(), batch_of(words, max_length=9, overlap=3))
    assert sorted(whole[3]["index"].tolist()) == list(range(9))
    # A net that sees one neighbour only says in windows what it says of the whole.
    unbroken = harness.evaluate(make_task(), batch_of(words, max_length=80), 4)
    assert whole[0] == pytest.approx(unbroken[0])


def test_an_example_whose_windows_were_not_all_seen_is_not_judged():
    task = make_task()
    batch = batch_of(rows(1, longest=30, seed=3), max_length=9)
    assert len(batch["index"]) > 1
    cut = {name: value[:1] for name, value in batch.items()}
    metrics = task.make_metrics()
    assert len(task.evaluation_step(task(cut), cut, metrics)["index"]) == 0
    with pytest.raises(DataError, match="no text was evaluated with all its windows"):
        metrics.compute()


def test_samples_show_what_was_found_and_what_is_right():
    task, batch = make_task(), batch_of([["the", "dog", "quick"], ["the"]])
    harness.overfit(task, training(batch))
    batch["tags"][1] = (3,)
    harness.evaluate(task, batch, 2)
    assert task.samples(None)["entities"] == "the [dog quick ANIMAL]\nthe\n    right: [the PLACE]"


# ---- Choosing tags -------------------------------------------------------------------------------------------------


def test_valid_decoding_is_the_best_of_all_rows_that_iob2_allows():
    tags, generator = TagSet(CLASSES), torch.Generator().manual_seed(0)
    scores = [
        torch.randn(k, 5, generator=generator).double().log_softmax(-1) for k in (1, 4, 3, 0, 5) for _ in range(6)
    ]
    found = choose_tags(scores, tags, valid=True)
    follows = tags.follows()
    for score, own in zip(scores, found, strict=True):
        allowed = [
            row
            for row in itertools.product(range(5), repeat=len(score))
            if all(follows[before, tag] for before, tag in itertools.pairwise((-1, *row)))
        ]
        best = max(allowed, key=lambda row: sum(float(score[place, tag]) for place, tag in enumerate(row)))
        assert tuple(own) == best
    assert choose_tags(scores, tags, valid=False) == [score.argmax(1).tolist() for score in scores]
    assert choose_tags([], tags, valid=True) == []


def test_words_that_no_token_speaks_for_belong_to_the_word_before():
    tags = TagSet(CLASSES)
    assert fill_in([1, 3], [1, 0], 5, tags, 0) == [0, 1, 2, 0, 0]
    assert fill_in([0, 1], [4, 3], 2, tags, 0) == [4, 3]
    assert fill_in([], [], 2, tags, 0) == [0, 0]


# ---- Prediction ----------------------------------------------------------------------------------------------------


def test_entities_are_told_with_their_characters_in_the_row_and_their_probability():
    task = make_task()
    batch = batch_of([["the", "dog", "quick", "sat"], ["a", "mats"]])
    harness.overfit(task, training(batch))
    task.eval()
    text = "👍🏽 e\u0301 the  dog — quick"
    spans = [(place, place + len(word)) for word in ("the", "dog", "quick") if (place := text.index(word)) >= 0]
    batch["text"][0], batch["spans"][0] = text, [*spans, (len(text), len(text))]
    with torch.no_grad():
        (first, second) = task.predict(batch, [{"text": text}, {"text": "a mats"}])
    (entity,) = first["entities"]
    assert entity["type"] == "ANIMAL" and entity["text"] == "dog — quick"
    assert text[entity["start"] : entity["end"]] == entity["text"]
    scores = task(batch)["logits"][0].detach().log_softmax(-1)
    assert entity["probability"] == pytest.approx(math.exp(float(scores[2, 1] + scores[3, 2])))
    assert [found["text"] for found in second["entities"]] == ["mats"]


def test_windows_of_a_row_are_told_as_one_and_rows_without_words_have_nothing(monkeypatch):
    task = make_task()
    words = ["the", "dog", "quick", "quick", "a", "mat", "sat", "cats"]
    batch = batch_of([words, ["the"]], max_length=40)
    harness.overfit(task, training(batch))
    cut = batch_of([words, []], max_length=7, overlap=2)
    assert len(cut["index"]) > 2
    with torch.no_grad():
        first, second = task.eval().predict(cut, [{}, {}])
    assert [found["text"] for found in first["entities"]] == ["dog quick quick", "mat", "cats"]
    assert second == {"entities": []}
    sizes = []
    task.model.register_forward_pre_hook(lambda module, given: sizes.append(given[0].numel()))
    monkeypatch.setattr("ptft.task.text.tokens.TOKENS_AT_ONCE", 10)  # windows of seven tokens go one by one
    with torch.no_grad():
        assert [[found["text"] for found in row["entities"]] for row in task.predict(cut, [{}, {}])] == [
            ["dog quick quick", "mat", "cats"],
            [],
        ]
    assert max(sizes) == 7 and len(sizes) == len(cut["index"])


def test_plain_tags_are_told_word_by_word():
    spec = DataSpec(
        kind="text",
        shape=(40,),
        classes=("NOUN", "VERB"),
        inputs=("input_ids", "attention_mask"),
        target="tags",
        vocab_size=VOCABULARY,
    )
    task = TokenClassification(TagNet(2).double(), spec)
    assert task.headline.name == "token_accuracy"
    with torch.no_grad():
        (told,) = task.eval().predict(batch_of([["the", "dogs", "sat"]]), [{}])
    assert [found["text"] for found in told["tags"]] == ["the", "dogs", "sat"]
    assert {found["type"] for found in told["tags"]} <= {"NOUN", "VERB"}


def test_what_is_written_loads_in_transformers_with_the_same_tags_and_logits(tmp_path):
    from transformers import AutoModelForTokenClassification, BertConfig

    from ptft.model.text.build import build

    config = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=40
    )
    config.vocab_size = VOCABULARY
    network = build(SPEC, config, name="bert").eval()
    task = TokenClassification(network, SPEC)
    network.write_pretrained(tmp_path, task.label_names())
    loaded = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    assert tuple(loaded.config.id2label[number] for number in range(5)) == CLASSES
    batch = training(batch_of(rows(4)))
    with torch.no_grad():
        own = task(batch)["logits"]
        theirs = loaded(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    real = batch["attention_mask"].bool()  # what stands at padding is of no use, and told by other positions
    torch.testing.assert_close(own[real], theirs[real], rtol=1e-5, atol=1e-5)
