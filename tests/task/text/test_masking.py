"""Which tokens are hidden: the shares, whole words, never a special token, and the same however a batch is cut."""

import dataclasses
import json

import pytest
import torch

from ptft.errors import ConfigError, DataError
from ptft.task.text.masking import Masking
from ptft.task.text.vocabulary import starts_word
from tests.task.text.toys import IGNORED, NAMES, SPECIAL, VOCABULARY, batch_of, draws_for, spec, tokenizer_files
from tests.task.toys import rows

SPEC = spec(files=tokenizer_files())
PIECES = torch.tensor([name.startswith("##") for name in NAMES])


def masking(*, fraction=0.15, as_mask=0.8, as_random=0.1, whole_words=False):
    return Masking.of(SPEC, fraction, as_mask, as_random, whole_words)


def words_of(batch):
    """Return the places of each word of each example, by the marks of WordPiece, written out token by token."""
    found = []
    for tokens, mask in zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True):
        words, before = [], False
        for place, token in enumerate(tokens):
            ordinary = bool(mask[place]) and token > max(SPECIAL.values())
            if ordinary and before and PIECES[token]:
                words[-1].append(place)
            elif ordinary:
                words.append([place])
            before = ordinary
        found.append(words)
    return found


def test_the_share_of_hidden_tokens_and_what_stands_in_their_place():
    batch = batch_of([102] * 400)
    after = masking()(batch, draws_for(batch))
    hidden = after["labels"] != IGNORED
    assert (hidden.sum(dim=1) == 15).all()  # 0.15 of 100 words
    assert torch.equal(after["labels"][hidden], batch["input_ids"][hidden])
    assert torch.equal(after["input_ids"][~hidden], batch["input_ids"][~hidden])
    shown, was = after["input_ids"][hidden], batch["input_ids"][hidden]
    error = 5 / (2 * len(was) ** 0.5)  # five standard errors at most
    assert abs((shown == SPECIAL["mask"]).double().mean() - 0.8) < error
    other = (shown != SPECIAL["mask"]) & (shown != was)
    assert abs(other.double().mean() - 0.1 * (len(NAMES) - 6) / (len(NAMES) - 5)) < error
    drawn = torch.bincount(shown[other], minlength=VOCABULARY)
    assert drawn[:5].sum() == 0 and (drawn[5:] > 0).all()  # any ordinary token, no special one
    by_place = hidden[:, 1:-1].double().mean(dim=0)
    assert (by_place - 0.15).abs().max() < 5 * (0.15 * 0.85 / 400) ** 0.5


def test_specials_and_padding_are_never_hidden_and_at_least_one_token_is():
    batch = batch_of([3, 17, 5, 40, 2], pad=7)
    for epoch in range(20):
        hidden = masking(whole_words=True)(batch, draws_for(batch, epoch))["labels"] != IGNORED
        assert not hidden[batch["input_ids"] < 5].any() and not hidden[batch["attention_mask"] == 0].any()
        assert (hidden.sum(dim=1) > 0).tolist() == [True, True, True, True, False]  # [CLS] [SEP] has nothing to hide
    assert hidden.sum() > 0 and masking(fraction=1.0)(batch, draws_for(batch))["labels"].ne(IGNORED).sum() == 57


def test_words_are_hidden_whole_and_the_share_stays():
    batch = batch_of([30] * 200)
    hidden = masking(whole_words=True)(batch, draws_for(batch))["labels"] != IGNORED
    several = 0
    for row, words in enumerate(words_of(batch)):
        for places in words:
            assert len(set(hidden[row, places].tolist())) == 1
            several += len(places) > 1 and bool(hidden[row, places[0]])
    assert several > 50
    assert abs(float(hidden.sum()) / (28 * 200) - 0.15) < 0.01


def test_words_told_by_the_data_come_before_the_marks_of_the_tokenizer():
    batch = batch_of([30] * 20)
    starts = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    starts[:, 1::4] = True  # words of four tokens
    hidden = masking(whole_words=True)(batch | {"word_start": starts}, draws_for(batch))["labels"] != IGNORED
    groups = hidden[:, 1:29].view(20, 7, 4)
    assert torch.equal(groups.all(dim=2), groups.any(dim=2)) and (groups.all(dim=2).sum(dim=1) == 1).all()


@pytest.mark.parametrize("whole_words", [True, False])
def test_padding_other_examples_and_their_order_change_no_draw(whole_words):
    batch, wide = batch_of([3, 17, 5, 40, 9, 12]), batch_of([3, 17, 5, 40, 9, 12], pad=11)
    task = masking(whole_words=whole_words)
    whole = task(batch, draws_for(batch))
    for name in ("input_ids", "labels"):
        assert torch.equal(task(wide, draws_for(wide))[name][:, :40], whole[name])
    for start in range(6):
        piece = rows(batch, start, start + 1)
        piece = {k: v[:, : int(piece["attention_mask"].sum())] if v.dim() == 2 else v for k, v in piece.items()}
        one = task(piece, draws_for(piece))
        assert torch.equal(one["labels"], whole["labels"][start : start + 1, : one["labels"].shape[1]])
    other = [task(batch, draws_for(batch, epoch, seed))["labels"] for epoch, seed in ((1, 0), (0, 1))]
    assert all(not torch.equal(labels, whole["labels"]) for labels in other)


def test_marks_of_each_kind_of_tokenizer_tell_where_words_begin():
    def starts(model):
        size = len(model["vocab"])
        files = {"tokenizer.json": json.dumps({"model": model})}
        return starts_word(dataclasses.replace(SPEC, vocab_size=size, files=files)).tolist()

    assert starts_word(SPEC).tolist() == [not name.startswith("##") for name in NAMES]
    assert starts({"vocab": {"a": 0, "Ġthe": 1, "Ċ": 2, "ing": 3}}) == [False, True, True, False]
    assert starts({"vocab": [["▁the", -1.0], ["s", -2.0]]}) == [True, False]
    assert starts({"vocab": {"a": 0, "b": 1}}) == [True, True]
    assert starts_word(dataclasses.replace(SPEC, files={})).all()


def test_shares_above_one_and_tokenizers_without_a_mask_are_refused():
    with pytest.raises(ConfigError, match=r"task\.as_mask=0\.8 and task\.as_random=0\.3"):
        masking(as_random=0.3)
    with pytest.raises(DataError, match=r"has bos, eos.*task=text/causal"):
        Masking.of(dataclasses.replace(SPEC, special_tokens={"bos": 0, "eos": 0}), 0.15, 0.8, 0.1, True)
