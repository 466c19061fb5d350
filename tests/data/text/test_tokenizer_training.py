"""Training tokenizers: the same text gives the same files, and what does not fit is told."""

import subprocess
import sys

import pytest

from ptft.data.text.tokenizer_training import TokenizerSettings, make_tokenizer, train_tokenizer
from ptft.errors import ConfigError, DataError
from tests.text_samples import chinese, document

TEXTS = [document(number) for number in range(20)]
MIXED = [*TEXTS[:5], *(chinese(number) for number in range(40)), "ＡＢ가나 ♥♥love Ünïcode"]
KINDS = ("wordpiece", "bpe", "unigram", "character")
_DIGEST = """
import hashlib
from tests.data.text.test_tokenizer_training import KINDS, MIXED, train
for kind in KINDS:
    print(hashlib.sha256(repr(train(kind, MIXED).files).encode()).hexdigest())
"""


def train(kind, texts=TEXTS, **settings):
    return train_tokenizer(TokenizerSettings(kind=kind, **{"vocab_size": 500, **settings}), texts)


def test_the_same_text_gives_the_same_files_in_every_process():
    runs = [subprocess.run([sys.executable, "-c", _DIGEST], capture_output=True, check=True).stdout for _ in range(2)]
    assert runs[0] == runs[1] and len(runs[0].split()) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_knows_the_words_of_its_texts(kind):
    tokenizer = train(kind)
    assert tokenizer.kind == kind and tokenizer.vocab_size <= 500
    tokens = tokenizer.pieces(["The king sees a mountain."])[0].tokens
    assert "[UNK]" not in tokens
    assert (len(tokens) == 25) if kind == "character" else (len(tokens) < 10)
    assert tokenizer.encode(["a"], ["a"])[0].type_ids.count(1) == len(tokenizer.pieces(["a"])[0]) + 1


@pytest.mark.parametrize("kind", ["bpe", "character"])
def test_spaces_line_breaks_and_case_come_back(kind):
    tokenizer = train(kind)
    text = "The king,\n\n  So be it!\nThe dog"
    assert tokenizer.decode(tokenizer.pieces([text])[0].ids) == text


def test_every_character_of_the_texts_is_a_token_and_others_are_unknown():
    tokenizer = train("character", ["abc\n", "ΑΣ ς"], vocab_size=1)
    tokens = tokenizer.pieces(["a\nΣ?"])[0].tokens
    assert tokens == ["a", "\n", "Σ", "[UNK]"] and tokenizer.vocab_size == 5 + 8
    assert train("character", ["ΑΣ Σ"], lowercase=True).pieces(["ΑΣ"])[0].tokens == ["α", "σ"]


def test_case_is_dropped_where_asked_for():
    assert train("wordpiece").pieces(["KING"])[0].ids == train("wordpiece").pieces(["king"])[0].ids
    assert train("bpe").pieces(["KING"])[0].ids != train("bpe").pieces(["king"])[0].ids
    assert train("wordpiece", lowercase=False).pieces(["The"])[0].tokens == ["The"]


def test_causal_tokenizers_end_texts_and_put_nothing_around_them():
    tokenizer = train_tokenizer(TokenizerSettings(kind="bpe", vocab_size=500), TEXTS, causal=True)
    assert tokenizer.special_tokens == {"pad": 0, "unk": 1, "bos": 2, "eos": 2}
    assert tokenizer.encode(["The king"])[0].ids == tokenizer.pieces(["The king"])[0].ids


@pytest.mark.parametrize(
    ("kind", "hint"), [("bpe", "at least 261"), ("wordpiece", "give at least"), ("unigram", "bpe")]
)
def test_a_vocabulary_too_small_says_how_large_it_must_be(kind, hint):
    with pytest.raises(ConfigError, match=rf"vocab_size.*{hint}"):
        train(kind, vocab_size=20)


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_an_error(kind):
    with pytest.raises(DataError, match="no text to train a tokenizer on"):
        train(kind, ["", " \n"])


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"kinds": "bpe"}, "did you mean `kind`"),
        ({"kind": "words"}, "one of auto, wordpiece"),
        ({"vocab_size": 0}, "from 1 to 1,000,000"),
        ({"vocab_size": 2_000_000}, "from 1 to 1,000,000"),
        ({"lowercase": "yes"}, "true, false or auto"),
        ({"path": 3}, "takes a folder"),
    ],
)
def test_settings_out_of_range_are_refused(values, hint):
    with pytest.raises(ConfigError, match=hint):
        TokenizerSettings.of(values)


def test_the_path_wins_then_the_weights_then_the_texts(tmp_path):
    for name, kind in (("named", "bpe"), ("weights", "wordpiece")):
        (tmp_path / name).mkdir()
        for file, text in train(kind).files.items():
            (tmp_path / name / file).write_text(text, encoding="utf-8")
    path, weights, bare = str(tmp_path / "named"), tmp_path / "weights", tmp_path
    assert make_tokenizer(TokenizerSettings(path=path), TEXTS, weights).kind == "bpe"
    assert make_tokenizer(TokenizerSettings(), [], weights).kind == "wordpiece"
    assert make_tokenizer(TokenizerSettings(kind="character"), TEXTS, bare).kind == "character"
    with pytest.raises(ConfigError, match=r"kind=character, but the weights of .* of kind wordpiece"):
        make_tokenizer(TokenizerSettings(kind="character"), TEXTS, weights)
    with pytest.raises(DataError, match="there is no such folder"):
        make_tokenizer(TokenizerSettings(path=str(tmp_path / "none")), TEXTS, None)
