"""On training texts no bit of a logit changes; a token that was dropped reads as the unknown one; ids stay."""

import copy
import json

import pytest
import torch

from ptft.compression.steps.trim_vocabulary import TrimVocabulary, count_tokens, smaller
from ptft.compression.structure import apply_edits
from ptft.compression.vocabulary import TrimmedEmbedding, find_embedding, full_embedding
from ptft.errors import ConfigError
from ptft.task.classification import Classification
from tests.compression.transformers_samples import (
    FAMILIES,
    PICTURES,
    classic,
    logits_of,
    text_batch,
    text_network,
    text_spec,
    text_task,
    vit,
    vit_task,
)
from tests.compression.workshop import TinyWorkshop
from tests.task.text.toys import SPECIAL, VOCABULARY, tokenizer_files

CLASSIC = {"cnn": "text/cnn", "lstm": "text/lstm", "gru": "text/gru"}


def network_of(family, folder):
    return classic(CLASSIC[family]) if family in CLASSIC else text_network(folder, family)


def train_batch():
    """Tokens 7 to 29 in the training data, of 40."""
    return text_batch(highest=30)


@pytest.mark.parametrize("family", [*FAMILIES, *CLASSIC])
def test_training_texts_keep_their_logits_to_the_bit_and_unseen_tokens_read_as_unknown(tmp_path, family):
    task, batch = text_task(network_of(family, tmp_path / "m"), family), train_batch()
    parent, step = copy.deepcopy(task), TrimVocabulary()
    workshop = TinyWorkshop(task, batch)
    spec = text_spec(family)
    workshop.spec = spec
    step.check(task, spec)
    edits = json.loads(json.dumps(step.apply(task, workshop)))
    assert torch.equal(logits_of(task, batch), logits_of(parent, batch))
    name, table = find_embedding(task.model)
    rows = len({*range(7, 30), *spec.special_tokens.values()} | ({0} if family == "GPT2" else set()))
    assert table.weight.shape[0] == rows and table.remap.dtype == torch.int16 and len(table.remap) == 40
    unseen, unknown = dict(batch), dict(batch)
    unseen["input_ids"], unknown["input_ids"] = batch["input_ids"].clone(), batch["input_ids"].clone()
    unseen["input_ids"][:, 1], unknown["input_ids"][:, 1] = 35, spec.special_tokens["unk"]
    if family not in CLASSIC:  # theirs know pairs of tokens too
        assert torch.equal(logits_of(task, unseen), logits_of(parent, unknown))
    own, whole = find_embedding(task.model)[1], find_embedding(parent.model)[1]
    assert torch.equal(own(torch.tensor([35])), whole(torch.tensor([spec.special_tokens["unk"]])))
    tokens = int(batch["attention_mask"].sum())
    assert workshop.said == [
        f"trimmed the vocabulary from 40 rows to {rows}; they cover 100.00% of {tokens:,} tokens of the training data"
    ]
    fresh = copy.deepcopy(parent)
    apply_edits(fresh.model, edits)
    fresh.load_state_dict(task.state_dict())
    assert torch.equal(logits_of(fresh, unseen), logits_of(task, unseen))
    assert find_embedding(fresh.model)[0] == name == edits[0]["embedding"]


def test_rare_tokens_go_and_chosen_ones_stay():
    files = tokenizer_files()
    task = text_task(classic("text/gru", bigrams=0))
    workshop = TinyWorkshop(task, train_batch())
    workshop.spec = text_spec(files=files, special_tokens=SPECIAL)
    counts = count_tokens(workshop, 40)
    expected = torch.zeros(40, dtype=torch.int64)
    for row, mask in zip(workshop.train["input_ids"].tolist(), workshop.train["attention_mask"].tolist(), strict=True):
        for token, inside in zip(row, mask, strict=True):
            expected[token] += inside
    assert torch.equal(counts, expected)
    least = int(counts[7:30].median())
    step = TrimVocabulary(min_count=least, keep=["##ly"], recover="2st")
    step.check(task, workshop.spec)
    step.apply(task, workshop)
    table = find_embedding(task.model)[1]
    kept = set(torch.nonzero(counts >= least).flatten().tolist()) | set(SPECIAL.values()) | {13}  # ##ly
    assert table.num_embeddings == len(kept) and VOCABULARY < 40
    share = 100 * int(counts[sorted(kept)].sum()) / int(counts.sum())
    assert f"they cover {share:.2f}% of" in workshop.said[0] and workshop.recovered[0][0] == "2st"
    assert len(set(table.remap[sorted(kept)].tolist())) == len(kept)
    assert {int(table.remap[token]) for token in set(range(40)) - kept} == {int(table.remap[SPECIAL["unk"]])}
    with pytest.raises(ConfigError, match="the tokenizer has no token `nonsense`"):
        TrimVocabulary(keep=["nonsense"]).check(text_task(classic("text/gru")), workshop.spec)


def test_without_an_unknown_token_the_dropped_share_their_mean():
    weight = torch.randn(6, 3)
    kept = torch.tensor([True, False, True, False, True, True])
    remap, rows = smaller(weight, kept, None)
    assert remap.tolist() == [0, 4, 1, 4, 2, 3]
    assert torch.equal(rows[:4], weight[kept]) and torch.equal(rows[4], weight[~kept].mean(0))
    remap, rows = smaller(weight, kept, 2)
    assert remap.tolist() == [0, 1, 1, 1, 2, 3] and torch.equal(rows, weight[kept])
    assert torch.equal(smaller(weight, torch.ones(6, dtype=torch.bool), None)[1], weight)


def test_a_large_table_takes_wider_numbers_and_comes_back_whole():
    table = TrimmedEmbedding(50_000, 40_000, 1, padding_idx=3)
    assert table.remap.dtype == torch.int32
    with torch.no_grad():
        table.remap.copy_(torch.arange(50_000) % 40_000)
    tokens = torch.tensor([[3, 39_999, 40_001]])
    assert torch.equal(full_embedding(table, 3)(tokens), table(tokens))
    assert torch.equal(table(tokens)[0, :, 0], table.weight[[3, 39_999, 1], 0])


def test_it_exports_as_a_plain_look_up(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    table = TrimmedEmbedding(40, 12, 4).eval()
    with torch.no_grad():
        table.remap.copy_(torch.arange(40) % 12)
    tokens = torch.randint(40, (2, 5))
    torch.onnx.export(table, (tokens,), tmp_path / "t.onnx", input_names=["input_ids"], output_names=["vectors"],
                      dynamic_shapes={"input": {0: "batch", 1: "length"}}, dynamo=True, verbose=False)  # fmt: skip
    session = onnxruntime.InferenceSession(str(tmp_path / "t.onnx"), providers=["CPUExecutionProvider"])
    other = torch.randint(40, (3, 7))
    (given,) = session.run(None, {"input_ids": other.numpy()})
    assert torch.equal(torch.from_numpy(given), table(other))


def test_what_needs_its_whole_vocabulary_is_refused(tmp_path):
    task, spec = text_task(text_network(tmp_path / "m")), text_spec()
    with pytest.raises(ConfigError, match="trim_vocabulary is for text, and these data are image"):
        TrimVocabulary().check(vit_task(vit()), PICTURES)
    for output in ("masked", "causal", "pretraining"):
        with pytest.raises(ConfigError, match=f"answers with tokens .output `{output}`., so it needs all of them"):
            TrimVocabulary().check(task, text_spec_for(output))
    task.output = "causal"
    with pytest.raises(ConfigError, match="answers with tokens"):
        TrimVocabulary().check(task, spec)
    del task.output
    TrimVocabulary().apply(task, TinyWorkshop(task, train_batch()))
    with pytest.raises(ConfigError, match="trimmed already"):
        TrimVocabulary().check(task, spec)
    with pytest.raises(ConfigError, match="Linear has no table of tokens"):
        TrimVocabulary().check(Classification(torch.nn.Linear(2, 3), spec), spec)


def text_spec_for(output):
    import dataclasses

    return dataclasses.replace(text_spec(), output=output)
