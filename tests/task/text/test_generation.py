"""Continuations: which tokens may be drawn and how often, the cache, the end of the context, and what users read."""

import dataclasses

import pytest
import torch

from ptft.data.text.tokenizer import TextTokenizer
from ptft.errors import ConfigError
from ptft.model.text.gpt import gpt
from ptft.task.text.causal import Causal
from ptft.task.text.generation import Sampling, Writer
from ptft.task.text.masked import Masked
from ptft.task.text.pretraining import Pretraining
from tests.task.text.toys import SPECIAL, VOCABULARY, TokenNet, spec, tokenizer_files

CPU = torch.device("cpu")
PLAIN = Sampling(1.0, None, 1.0)


def writer(*, length=40, net=None):
    torch.manual_seed(0)
    return Writer.of(net or TokenNet("causal", length=length).eval(), spec("causal", length=length))


def rows_as_batch(texts, pairs=None):
    """Return texts as a data module prepares them for a prediction, padded on the right."""
    found = TextTokenizer.from_files(tokenizer_files()).encode(texts, pairs)
    width = max(len(one.ids) for one in found)

    def column(name):
        return torch.tensor([getattr(one, name) + [0] * (width - len(one.ids)) for one in found])

    return {
        "index": torch.arange(len(texts)),
        "input_ids": column("ids"),
        "attention_mask": column("attention_mask"),
        "token_type_ids": column("type_ids"),
    }


# --- Drawing a token --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (PLAIN, [0.4, 0.3, 0.2, 0.1]),
        (Sampling(0.5, None, 1.0), [0.16 / 0.3, 0.09 / 0.3, 0.04 / 0.3, 0.01 / 0.3]),
        (Sampling(1.0, 2, 1.0), [4 / 7, 3 / 7, 0, 0]),
        (Sampling(1.0, None, 0.65), [4 / 7, 3 / 7, 0, 0]),
        (Sampling(1.0, None, 0.71), [4 / 9, 3 / 9, 2 / 9, 0]),
        (Sampling(1.0, 3, 0.01), [1, 0, 0, 0]),
        (Sampling(0.0, None, 1.0), [1, 0, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_their_probability_says(sampling, expected):
    order = torch.tensor([2, 0, 3, 1])  # which token is how likely
    logits = torch.zeros(4).scatter(0, order, torch.tensor([0.4, 0.3, 0.2, 0.1]).log())
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    drawn = torch.bincount(sampling.draw(logits.expand(10_000, -1), uniform), minlength=4)[order] / 10_000
    torch.testing.assert_close(drawn, torch.tensor(expected, dtype=torch.float32), atol=2e-4, rtol=0)


def test_a_forbidden_token_is_not_drawn_at_the_last_edge_of_the_draws():
    logits = torch.tensor([[0.0, -torch.inf, 0.0, -torch.inf]])
    edges = torch.tensor([0.0, 1 - 2.0**-24])
    assert PLAIN.draw(logits.expand(2, -1), edges).tolist() == [0, 2]


# --- Writing ----------------------------------------------------------------------------------------------------------


def test_other_prompts_and_their_number_change_no_continuation_and_another_seed_does():
    prompts = [[5, 6], [7, 8, 9], [10, 11], [5]]
    together = writer().write(prompts, PLAIN, 20, seed=1)
    alone = [writer().write([prompt], PLAIN, 20, seed=1)[0] for prompt in prompts]
    assert together == alone and together != writer().write(prompts, PLAIN, 20, seed=2)
    assert together[0] != together[2]


def test_padding_and_masks_are_never_written_and_the_end_is_cut_off():
    written = writer().write([[5 + i] for i in range(12)], Sampling(5.0, None, 1.0), 30, seed=0)
    found = {token for tokens in written for token in tokens}
    assert found <= set(range(5, VOCABULARY)) and len({len(tokens) for tokens in written}) > 3


def test_the_cache_gives_what_reading_everything_anew_gives():
    facts = spec("causal", length=24)
    torch.manual_seed(0)
    network = gpt(facts, layers=2, width=16, heads=2).eval()
    made = Writer(network, context=24, stops=(), never=())
    with torch.no_grad():
        (written,) = made.write([[5, 6, 7]], Sampling(0.0, None, 1.0), 21, seed=0)
        tokens = torch.tensor([[5, 6, 7]])
        for token in written:
            logits = network(tokens, torch.ones_like(tokens))[:, -1]
            assert token == int(logits.argmax())
            tokens = torch.cat([tokens, torch.tensor([[token]])], dim=1)


@pytest.mark.parametrize("prompt", [3, 16, 50])
def test_beyond_its_context_a_network_goes_on_from_the_last_half(prompt):
    seen = []

    class Watched(TokenNet):
        def next_token(self, input_ids, cache=None):
            logits, tokens = super().next_token(input_ids, cache)
            seen.append(tokens.shape[1])
            return logits, tokens

    torch.manual_seed(0)
    made = Writer(Watched("causal", length=16).eval(), context=16, stops=(), never=())
    (written,) = made.write([[5] * prompt], PLAIN, 40, seed=0)
    assert len(written) == len(seen) == 40 and max(seen) == 16
    first = min(prompt, 16)
    expected = [*range(first, 17), *([*range(8, 17)] * 5)][:40]
    assert seen == expected


# --- What users read --------------------------------------------------------------------------------------------------


def test_a_prompt_is_continued_and_padding_is_not_part_of_it():
    torch.manual_seed(0)
    task = Causal(TokenNet("causal"), spec("causal", files=tokenizer_files()), max_new_tokens=8, temperature=0.7)
    rows = [{"text": "the cat"}, {"text": "a quick dog ran on the mat"}]
    with torch.no_grad():
        answers = task.predict(rows_as_batch([row["text"] for row in rows]), rows)
        alone = task.predict(rows_as_batch(["the cat"]), rows[:1])
    assert alone == answers[:1]
    for row, answer in zip(rows, answers, strict=True):
        assert answer["text"] == row["text"] + answer["continuation"]
    assert task.sampling == Sampling(0.7, None, 1.0)


def test_an_empty_prompt_begins_as_texts_do_or_is_refused():
    torch.manual_seed(0)
    facts = spec("causal", files=tokenizer_files())
    batch = {name: value[:, :0] for name, value in rows_as_batch(["the"]).items() if value.dim() == 2}
    batch["index"] = torch.tensor([0])
    with torch.no_grad():
        (answer,) = Causal(TokenNet("causal"), facts, max_new_tokens=3).predict(batch, [{"text": ""}])
        assert answer["text"] == answer["continuation"]
        bare = dataclasses.replace(facts, special_tokens={"pad": 0})
        with pytest.raises(ConfigError, match="no token that begins a text"):
            Causal(TokenNet("causal"), bare).predict(batch, [{"text": ""}])


def test_networks_that_do_not_write_are_refused():
    with pytest.raises(ConfigError, match="choose model=text/gpt_nano"):
        Writer.of(torch.nn.Linear(2, 2), spec("causal"))


def test_masks_are_filled_with_the_likeliest_tokens():
    torch.manual_seed(0)
    task = Masked(TokenNet(), spec(files=tokenizer_files()), candidates=3).eval()
    texts = ["the [MASK] sat", "the cat [MASK] on [MASK] mat", "a dog"]
    batch = rows_as_batch(texts)
    with torch.no_grad():
        answers = task.predict(batch, [{"text": text} for text in texts])
        logits = task.model(batch["input_ids"], batch["attention_mask"])
    assert [len(answer["masks"]) for answer in answers] == [1, 2, 0]
    place = batch["input_ids"][1].tolist().index(SPECIAL["mask"])
    probabilities = logits[1, place, 5:].softmax(0)  # no special token is a word
    first = answers[1]["masks"][0]
    assert len(first["tokens"]) == 3 and first["probabilities"] == pytest.approx(probabilities.topk(3).values.tolist())
    tokenizer = TextTokenizer.from_files(tokenizer_files())
    assert first["tokens"][0] == tokenizer.decode([5 + int(probabilities.argmax())])
    assert answers[2]["text"] == "a dog"


def test_a_pair_is_told_whether_it_follows():
    torch.manual_seed(0)
    task = Pretraining(TokenNet("pretraining"), spec("pretraining", files=tokenizer_files())).eval()
    rows = [{"text": "the cat", "text_pair": "sat on a mat"}, {"text": "a [MASK]", "text_pair": ""}]
    batch = rows_as_batch([row["text"] for row in rows], [row["text_pair"] for row in rows])
    with torch.no_grad():
        answers = task.predict(batch, rows)
        expected = task.model(batch["input_ids"], batch["attention_mask"])[1].softmax(1)[0, 0]
    assert answers[0]["follows"] == pytest.approx(float(expected)) and "follows" not in answers[1]
    assert len(answers[1]["masks"]) == 1
