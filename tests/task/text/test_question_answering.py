"""Question answering: losses that add up, windows joined at any batch size, null answers, what predict tells."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from ptft.data.data_module import DataSpec
from ptft.data.text.answer_windows import encode_windows
from ptft.data.text.tokenizer import TextTokenizer
from ptft.errors import DataError
from ptft.task.text.question_answering import QuestionAnswering
from ptft.task.text.spans import best_spans
from tests.task.harness import assert_batch_size_changes_no_evaluation, evaluate, overfit, total_loss
from tests.task.harness import assert_cutting_changes_no_gradient as assert_cuts_agree
from tests.task.text.toys import VOCABULARY, tokenizer_files
from tests.text_samples import squad_file

TEXTS = ("the cat sat on a mat . the quick dog ran", "a dog sat", "the dogs ran on the mat . a cat sat . the dog sat")
ASKED = (
    ("the cat ?", 0, ("mat", 17)),
    ("dog ran ?", 0, None),
    ("a ?", 1, ("dog", 2)),
    ("sat ?", 1, None),
    ("mat ?", 2, ("a cat", 26)),
    ("ran ?", 2, ("the dog", 38)),
    ("on ?", 2, None),
    ("dogs ?", 2, ("mat", 20)),
)


class SpanNet(nn.Module):
    """Embeddings of tokens and places, of the token before and of the question, and two linear layers."""

    def __init__(self):
        super().__init__()
        self.token, self.place = nn.Embedding(VOCABULARY, 24), nn.Embedding(64, 24)
        self.body, self.head = nn.Linear(72, 48), nn.Linear(48, 2)

    def forward(self, input_ids, attention_mask, token_type_ids):
        hidden = self.token(input_ids) + self.place(torch.arange(input_ids.shape[1]))
        question = (hidden * (attention_mask * (1 - token_type_ids))[..., None]).sum(1, keepdim=True)
        around = torch.cat(
            [hidden, nn.functional.pad(hidden, (0, 0, 1, 0))[:, :-1], question.expand_as(hidden)], dim=-1
        )
        return self.head(torch.tanh(self.body(around)))


def spec(unanswerable=True):
    return DataSpec(
        kind="text",
        shape=(14,),
        inputs=("input_ids", "attention_mask", "token_type_ids"),
        target="span",
        preprocessing={"unanswerable": unanswerable},
        vocab_size=VOCABULARY,
    )


def make(unanswerable=True, **settings):
    torch.manual_seed(0)
    return QuestionAnswering(SpanNet(), spec(unanswerable), **settings).double()


def batch_of(asked=ASKED, length=14, stride=3):
    questions, texts = [question for question, _, _ in asked], [TEXTS[text] for _, text, _ in asked]
    answers = [[answer] if answer is not None else [] for _, _, answer in asked]
    tokenizer = TextTokenizer.from_files(tokenizer_files())
    windows = encode_windows(tokenizer, questions, texts, answers, max_length=length, stride=stride).encoded
    batch = windows.gather(torch.arange(len(windows)).numpy())
    rows = batch["index"].tolist()
    return batch | {
        "question": [questions[row] for row in rows],
        "context": [texts[row] for row in rows],
        "answers": [tuple(text for text, _ in answers[row]) for row in rows],
    }


def test_cutting_a_batch_changes_no_gradient():
    assert_cuts_agree(make(), batch_of())


def test_the_loss_is_the_mean_of_the_cross_entropies_over_the_text_and_the_first_token():
    task, batch = make(), batch_of()
    logits, total = task(batch)["logits"], 0.0
    for row in range(len(logits)):
        inside = [0, *(batch["char_end"][row] > batch["char_start"][row]).nonzero()[:, 0].tolist()]
        for side, name in enumerate(("start", "end")):
            total -= float(logits[row, inside, side].log_softmax(0)[inside.index(int(batch[name][row]))].detach()) / 2
    assert total_loss(task, batch, "model").item() == pytest.approx(total / len(logits), abs=1e-12)
    assert task.count(batch, "model") == {"span": len(logits)}


def test_padding_changes_no_loss():
    task, batch = make(), batch_of()
    padded = dict(batch)
    for name in ("input_ids", "attention_mask", "token_type_ids", "char_start", "char_end"):
        padded[name] = nn.functional.pad(batch[name], (0, 5))
    assert total_loss(task, padded, "model").item() == pytest.approx(total_loss(task, batch, "model").item(), abs=1e-12)


def test_evaluation_is_the_same_at_any_batch_size():
    task = make()
    metrics, intervals, table, records = assert_batch_size_changes_no_evaluation(task, batch_of())
    assert next(iter(metrics)) == task.headline.name and task.headline.name in intervals
    assert sorted(records["index"].tolist()) == list(range(len(ASKED)))
    assert [row["class"] for row in table] == ["answer", "no answer"]
    assert metrics["loss"] == pytest.approx(total_loss(task, batch_of(), "model").item(), abs=1e-12)


def test_windows_in_another_order_give_the_same_metrics():
    task, batch = make(), batch_of()
    order = torch.randperm(len(batch["index"]), generator=torch.Generator().manual_seed(0)).tolist()
    mixed = {
        name: value[order] if isinstance(value, torch.Tensor) else [value[row] for row in order]
        for name, value in batch.items()
    }
    assert evaluate(task, mixed, 3)[0] == pytest.approx(evaluate(task, batch, 5)[0], abs=1e-12)


def test_one_batch_is_learnt_by_heart_and_every_answer_found():
    task, batch = make(), batch_of()
    first, last = overfit(task, batch)
    assert last < 0.01 * first
    metrics, _, _, records = evaluate(task, batch, 4)
    assert metrics["exact"] == metrics["f1"] == metrics["no_answer_accuracy"] == 1
    assert records["null"].tolist() == [int(ASKED[index][2] is None) for index in records["index"].tolist()]
    rows = [{"question": question, "context": TEXTS[text]} for question, text, _ in ASKED]
    for told, (_, text, answer) in zip(task.eval().predict(batch, rows), ASKED, strict=True):
        expected = (answer[0], answer[1], answer[1] + len(answer[0])) if answer else ("", None, None)
        assert (told["answer"], told["start"], told["end"]) == expected
        assert told["null"] == (answer is None) and told["probability"] > 0.9
        assert not answer or TEXTS[text][told["start"] : told["end"]] == told["answer"]
    shown = task.samples(torch.Generator())["answers"]
    assert "the cat ?\n    mat    (right: mat)" in shown and "dog ran ?\n    -    (right: -)" in shown


def test_the_threshold_for_no_answer_is_chosen_and_then_followed():
    task, batch = make(), batch_of()
    metrics = evaluate(task, batch, 4)[0]
    assert task.decides and task.decided_at == 0.0
    kept = task.make_metrics()
    with torch.inference_mode():
        task.evaluation_step(task(batch), batch, kept)
    task.decision = task.fit_decision(kept)
    assert task.decided_at == task.decision["null_threshold"]
    assert evaluate(task, batch, 4)[0]["f1"] >= metrics["f1"]
    rows = [{}] * len(ASKED)
    for threshold, expected in ((-1e3, True), (1e3, False)):
        task.decision = {"null_threshold": threshold}
        assert {told["null"] for told in task.predict(batch, rows)} == {expected}
    assert make(null_threshold=2.5).decided_at == 2.5 and not make(null_threshold=2.5).decides


def test_data_whose_questions_all_have_answers_get_one_always():
    asked = [row for row in ASKED if row[2] is not None]
    task, batch = make(unanswerable=False, n_best=3), batch_of(asked)
    assert not task.decides and task.decided_at is None
    assert "no_answer_accuracy" not in evaluate(task, batch, 3)[0]
    for told in task.predict(batch, [{}] * len(asked)):
        assert told["answer"] and "null" not in told
        assert [told[key] for key in ("answer", "start", "end", "probability")] == list(told["n_best"][0].values())
        assert len(told["n_best"]) == 3 and sum(answer["probability"] for answer in told["n_best"]) <= 1 + 1e-9
    assert make(unanswerable=False, null_answers=True).decides


def test_an_answer_has_at_most_so_many_tokens():
    asked = [row for row in ASKED if row[2] is not None]
    for told in make(unanswerable=False, max_answer_tokens=1).predict(batch_of(asked), [{}] * len(asked)):
        assert " " not in told["answer"]


def test_a_prediction_in_pieces_is_that_of_the_whole(monkeypatch):
    task, batch = make(n_best=2), batch_of()
    whole = task.predict(batch, [{}] * len(ASKED))
    monkeypatch.setattr("ptft.task.text.tokens.TOKENS_AT_ONCE", 30)
    monkeypatch.setattr("ptft.task.text.spans._AT_ONCE", 500)
    for told, expected in zip(task.predict(batch, [{}] * len(ASKED)), whole, strict=True):
        assert told["answer"] == expected["answer"] and told["n_best"] == expected["n_best"]


def test_the_export_maps_tokens_to_logits():
    task, batch = make().train(), batch_of()
    spec = task.export()["model"]
    inputs = [batch[name] for name in spec.inputs]
    assert torch.equal(spec.module(*inputs), task.model(*inputs)) and not spec.module.training and task.model.training


def test_data_without_answers_are_refused():
    with pytest.raises(DataError, match="data=text/squad"):
        QuestionAnswering(SpanNet(), DataSpec(kind="text", shape=(14,), classes=("a", "b")))


def test_transformers_finds_in_the_saved_folder_the_answers_that_predict_tells(ptft, tmp_path):
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    file = squad_file(tmp_path / "train.json", unanswerable=False)
    tiny = ("model=text/bert_tiny", "model.layers=1", "model.width=16", "model.mlp=32")
    data = ("data=text/squad", f"data.path={file}", "data.max_length=64", "data.stride=16")
    engine = ("engine.max=2st", "engine.batch_size=8", "engine.precision=fp32")
    ptft("finetune", *data, *tiny, "task=text/question_answering", *engine, name="run")
    rows = [{"question": "What of king?", "context": "the dog sees a king " * number} for number in (1, 2)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ptft("predict", run="run", input="in.jsonl", output="out.jsonl")
    model = AutoModelForQuestionAnswering.from_pretrained("outputs/run/model").eval()
    tokenizer = AutoTokenizer.from_pretrained("outputs/run/model")
    for row, line in zip(rows, Path("out.jsonl").read_text().splitlines(), strict=True):
        told = json.loads(line)
        encoding = tokenizer(row["question"], row["context"], return_tensors="pt", return_offsets_mapping=True)
        offsets, inside = encoding.pop("offset_mapping")[0].tolist(), [part == 1 for part in encoding.sequence_ids()]
        with torch.inference_mode():
            found = model(**encoding)
        spans = best_spans(torch.stack([found.start_logits, found.end_logits], -1), torch.tensor([inside]), 30)
        assert told["start"] == offsets[int(spans.start)][0] and told["end"] == offsets[int(spans.end)][1]
        assert told["answer"] == row["context"][told["start"] : told["end"]]
        assert told["probability"] == pytest.approx(float((spans.score[0, 0] - spans.log_total[0]).exp()), abs=1e-5)
