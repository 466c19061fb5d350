"""Masked, next-sentence and causal language modelling: equal at any cut, exact at any batch size, learnt by heart."""

import pytest
import torch

from ptft.errors import ConfigError, DataError
from ptft.model.text.bert import bert
from ptft.model.text.gpt import gpt
from ptft.task.text import tokens
from ptft.task.text.causal import Causal
from ptft.task.text.masked import Masked
from ptft.task.text.pretraining import Pretraining
from tests.task.harness import (
    assert_batch_size_changes_no_evaluation,
    assert_cutting_changes_no_gradient,
    evaluate,
    gradient,
    overfit,
    total_loss,
)
from tests.task.text.toys import IGNORED, VOCABULARY, TokenNet, batch_of, draws_for, spec, tokenizer_files
from tests.task.toys import rows

LENGTHS = [3, 17, 5, 40]
TASKS = {"masked": Masked, "pretraining": Pretraining, "causal": Causal}


def make(output, *, net=None, files=None, **settings):
    torch.manual_seed(0)
    facts = spec(output, files=files)
    return TASKS[output](net or TokenNet(output).double(), facts, **settings)


def prepared(task, lengths, **settings):
    batch = batch_of(lengths, pairs=task.output == "pretraining", **settings)
    return task.transform(batch, draws_for(batch))


# --- Loss -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", TASKS)
def test_the_loss_equals_one_written_out_token_by_token(output):
    task = make(output)
    batch = prepared(task, LENGTHS)
    given = task.model(batch["input_ids"], batch["attention_mask"])
    logits = given[0] if output == "pretraining" else given
    expected, asked = 0.0, 0
    for row in range(4):
        for place in range(40):
            label = int(batch["labels"][row, place])
            if label != IGNORED:
                expected -= logits[row, place].log_softmax(0)[label]
                asked += 1
    sums, counts = task.loss(task(batch), batch, "model").sums, task.count(batch, "model")
    name = "next_token" if output == "causal" else "masked"
    torch.testing.assert_close(sums[name], expected)
    assert int(counts[name]) == asked > 0
    if output == "pretraining":  # class 0 of the library's head means that the second segment follows
        pair = -given[1].log_softmax(1)[torch.arange(4), 1 - batch["next_sentence"]].sum()
        torch.testing.assert_close(sums["next_sentence"], pair)
        assert counts["next_sentence"] == 4


@pytest.mark.parametrize("output", TASKS)
def test_micro_batches_of_one_equal_one_batch_of_sequences_of_3_17_5_and_40_tokens(output):
    task = make(output)
    assert_cutting_changes_no_gradient(task, prepared(task, LENGTHS), sizes=(1, 3))


def test_a_micro_batch_with_nothing_masked_adds_nothing():
    task = make("pretraining", next_sentence_weight=0.0)
    batch = prepared(task, LENGTHS)
    unmasked = rows(batch, 1, 2) | {"labels": torch.full((1, 40), IGNORED)}
    assert int(task.count(unmasked, "model")["masked"]) == 0
    total_loss(task, unmasked, "model").backward()
    assert all(p.grad is None or not p.grad.any() for p in task.parameters())
    merged = batch | {"labels": batch["labels"].clone()}
    merged["labels"][1] = IGNORED
    without = {name: torch.cat([value[:1], value[2:]]) for name, value in merged.items()}
    for name, value in gradient(task, merged, "model", 1).items():
        torch.testing.assert_close(value, gradient(task, without, "model", 3)[name])


def test_a_step_of_bert_is_the_same_in_micro_batches_of_one():
    facts = spec("pretraining")
    torch.manual_seed(0)
    network = bert(facts, layers=2, width=16, heads=2, mlp=32, dropout=0.0)
    task = Pretraining(network, facts)
    batch = prepared(task, LENGTHS)
    whole = gradient(task, batch, "model", 4)
    for name, value in gradient(task, batch, "model", 1).items():
        assert torch.allclose(value, whole[name], rtol=0, atol=1e-6), name


# --- Learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", TASKS)
def test_it_learns_one_batch_by_heart(output):
    task = make(output)
    first, last = overfit(task, prepared(task, [9, 12, 7, 10]), steps=150, lr=3e-2)
    assert last < (0.01 if output != "causal" else 0.2) * first  # the first word of a text is anyone's guess


def test_a_gpt_memorises_a_sentence_and_says_it_again():
    """The causal shift: off by one, it would say each token twice or skip every other."""
    facts = spec("causal")
    torch.manual_seed(0)
    task = Causal(gpt(facts, layers=1, width=32, heads=2), facts, temperature=0.0)
    sentence = [5, 6, 7, 8, 5, 10, 16, 5, 11, 14, 8, 9, 10, 3]
    ids = torch.tensor([sentence])
    batch = {"index": torch.tensor([0]), "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    batch = task.transform(batch | {"token_type_ids": torch.zeros_like(ids)}, draws_for(batch))
    assert batch["labels"].tolist() == [[*sentence[1:], IGNORED]]
    first, last = overfit(task, batch, steps=80, lr=1e-2)
    assert last < 0.01 * first
    from ptft.task.text.generation import Writer

    with torch.no_grad():
        written = Writer.of(task.eval().model, facts).write([sentence[:1]], task.sampling, 30, seed=0)
    assert written == [sentence[1:-1]]  # it ends with the [SEP] that it learnt, which is no part of the text


def test_a_later_token_changes_no_earlier_loss_of_a_causal_model():
    task = make("causal")
    batch = prepared(task, [12, 12])
    changed = batch | {"input_ids": batch["input_ids"].clone()}
    changed["input_ids"][:, 8:] = 7
    with torch.no_grad():
        before, after = (task(b)["token_loss"].view(2, 11)[:, :8] for b in (batch, changed))
    assert torch.equal(before, after)


def test_labels_of_the_data_are_taken_as_they_are():
    task = make("causal")
    labels = torch.randint(VOCABULARY, (4, 40))
    assert prepared(task, LENGTHS)["labels"] is not labels
    given = batch_of(LENGTHS) | {"labels": labels}
    assert task.transform(given, draws_for(given))["labels"] is labels
    shifted = prepared(task, LENGTHS)
    assert (shifted["labels"] != IGNORED).sum(dim=1).tolist() == [2, 16, 4, 39]


@pytest.mark.parametrize(("output", "layout"), [("masked", "causal"), ("pretraining", "masked"), ("causal", "pairs")])
def test_blocks_laid_out_for_another_task_are_refused(output, layout):
    with pytest.raises(ConfigError, match=rf"data\.layout={layout} does not fit task=text/{output}.*data\.layout="):
        TASKS[output](TokenNet(output), spec(output, preprocessing={"layout": layout}))


def test_pairs_are_wanted_where_a_next_sentence_is_asked_for():
    task = make("pretraining")
    with pytest.raises(DataError, match="no pairs of segments"):
        task.transform(batch_of([5, 6]), draws_for(batch_of([5, 6])))


# --- Evaluation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", TASKS)
def test_it_evaluates_the_same_at_any_batch_size(output):
    task = make(output)
    batch = prepared(task, [*LENGTHS, *range(3, 36)])
    batch["num_bytes"] = 3 * batch["attention_mask"].sum(dim=1)
    metrics, intervals, _, records = assert_batch_size_changes_no_evaluation(task, batch)
    expected = {"loss", "perplexity", "accuracy"} | ({"bits_per_byte"} if output == "causal" else set())
    if output == "pretraining":
        expected |= {"token_loss", "next_sentence_loss", "next_sentence_accuracy"}
    assert set(metrics) == set(intervals) == expected
    assert metrics["loss"] == pytest.approx(float(total_loss(task, batch, "model").detach()), rel=1e-9)
    token_loss = (records["loss"] * records["tokens"]).sum() / records["tokens"].sum()
    assert metrics.get("token_loss", metrics["loss"]) == pytest.approx(float(token_loss))


def test_the_loss_in_float32_is_the_same_to_1e7_at_batch_sizes_1_7_and_all():
    facts = spec("masked")
    torch.manual_seed(0)
    task = Masked(bert(facts, layers=2, width=16, heads=2, mlp=32), facts)
    batch = prepared(task, [*LENGTHS, *range(3, 36)])
    losses = [evaluate(task, batch, size)[0]["loss"] for size in (1, 7, len(batch["index"]))]
    assert max(losses) - min(losses) < 1e-7 * losses[0]


@pytest.mark.parametrize("output", TASKS)
def test_logits_of_an_evaluation_are_made_a_few_rows_at_a_time(output, monkeypatch):
    task = make(output).eval()
    batch = prepared(task, LENGTHS)
    with torch.no_grad():
        whole = task(batch)
        most = []
        keep = task.model.register_forward_hook(
            lambda module, given, out: most.append(len(out[0].view(-1, VOCABULARY)))
        )
        monkeypatch.setattr(tokens, "LOGITS_AT_ONCE", 40 * VOCABULARY)
        pieces = task(batch)
        keep.remove()
    assert whole.keys() == pieces.keys()
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value)
    if output == "causal":
        assert len(most) == 4


def test_what_is_shown_after_an_evaluation_reads_as_text():
    task = make("masked", files=tokenizer_files())
    assert task.samples(torch.Generator()) is None
    evaluate(task, prepared(task, [9, 30, 12, 6, 7, 8]), 3)
    shown = task.samples(torch.Generator())["guesses"]
    assert shown.count("hidden: ") == 4 and "[MASK]" not in shown.replace("said [MASK]", "")
    writer = make("causal", files=tokenizer_files(), sample_tokens=6)
    evaluate(writer, prepared(writer, [9, 30, 12, 6]), 3)
    first, again = (writer.samples(torch.Generator().manual_seed(0))["continued"] for _ in range(2))
    assert first == again and first.count(" || ") == 3
    assert make("causal", files=tokenizer_files(), sample_tokens=0).samples(torch.Generator()) is None
