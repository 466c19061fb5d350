"""Where words begin: whatever the tokenizer, Chinese too."""

import numpy as np
import pytest

from ptft.data.data_module import BatchPlan
from ptft.data.text.table import TextTable
from ptft.data.text.tokenizer_training import TokenizerSettings, train_tokenizer
from ptft.data.text.words import FILE, WordStarts
from ptft.errors import DataError
from tests.text_samples import HAN, chinese, document

ENGLISH = [document(number) for number in range(20)]
CHINESE = [chinese(number) for number in range(200)]


def words(text, texts, kind="wordpiece", starts=None, **settings):
    """Return the words of a text, as its tokens make them up."""
    tokenizer = train_tokenizer(TokenizerSettings(kind=kind, **settings), texts)
    (encoding,) = tokenizer.encode([text])
    begins = (starts or WordStarts()).of(encoding, text)
    spans = []
    for begin, (first, last) in zip(begins, encoding.offsets, strict=True):
        spans = [*spans, (first, last)] if begin else [*spans[:-1], (spans[-1][0], last)]
    return [text[first:last].strip() for first, last in spans if text[first:last].strip()]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "character"])
def test_pieces_of_a_word_belong_together(kind):
    found = words("The kingdoms, 1234 forgetful!", ENGLISH, kind, vocab_size=400)
    assert found == ["The", "kingdoms", ",", "1234", "forgetful", "!"]


def test_bytes_of_one_character_are_one_word():
    assert words("Ünï 北京 ok", ENGLISH, "bpe", vocab_size=300) == ["Ünï", "北", "京", "ok"]


def test_chinese_words_are_learned_from_the_texts():
    starts = WordStarts.learn(CHINESE)
    found = words(f"{HAN[0]}，{HAN[4]}ok", CHINESE, starts=starts)
    assert len(found) < len(HAN[0]) + len(HAN[4]) and found[-1] == "ok" and "，" in found
    alone = words(f"{HAN[0]}，{HAN[4]}ok", CHINESE)
    assert alone[:6] == list(HAN[0])


def test_they_are_the_same_for_the_same_texts_and_come_back_from_their_file():
    starts = WordStarts.learn(CHINESE)
    assert starts.files == WordStarts.learn(CHINESE).files and list(starts.files) == [FILE]
    assert WordStarts.from_files(starts.files) == starts
    assert WordStarts.learn(ENGLISH).files == {} and WordStarts.from_files({}) == WordStarts()


def test_pairs_and_windows_are_told_by_their_own_text():
    tokenizer = train_tokenizer(TokenizerSettings(), ENGLISH)
    (pair,) = tokenizer.encode(["The kingdoms"], ["forgetful storms"])
    begins = WordStarts().of(pair, "The kingdoms", "forgetful storms")
    first, second = tokenizer.encode(["The kingdoms"])[0], tokenizer.encode(["forgetful storms"])[0]
    parts = [WordStarts().of(first, "The kingdoms"), WordStarts().of(second, "forgetful storms")[1:]]
    assert np.array_equal(begins, np.concatenate(parts))
    (whole,) = tokenizer.pieces([ENGLISH[0]])
    (window,) = tokenizer.encode([ENGLISH[0]], max_length=12)
    every = WordStarts().of(whole, ENGLISH[0])
    rest = [WordStarts().of(part, ENGLISH[0])[1:-1] for part in (window, *window.overflowing)]
    assert np.array_equal(np.concatenate(rest), every)


def test_an_empty_text_has_no_words():
    tokenizer = train_tokenizer(TokenizerSettings(), ENGLISH)
    assert WordStarts().of(tokenizer.encode([""])[0], "").tolist() == [True, True]


def test_a_damaged_file_is_named():
    with pytest.raises(DataError, match=r"words\.json is damaged"):
        WordStarts.from_files({FILE: "[1"})


def test_texts_without_labels_tell_where_their_words_begin(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(dict.fromkeys(CHINESE)), encoding="utf-8")
    data = TextTable((), path=str(tmp_path / "lines.txt"), target="tokens", max_length=24)
    data.setup()
    assert FILE in data.spec.files
    batch = next(data.train_loader(BatchPlan(batch_size=8)))
    begins, mask = batch["word_start"], batch["attention_mask"].bool()
    assert begins.shape == mask.shape and begins[:, 0].all() and not begins[~mask].any()
    assert 0.2 < begins[mask].double().mean() < 0.9
    again = TextTable((), path=str(tmp_path / "lines.txt"), target="tokens", max_length=24)
    again.setup(data.spec)
    assert next(again.train_loader(BatchPlan(batch_size=8)))["word_start"].equal(begins)
