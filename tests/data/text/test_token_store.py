"""The token store: every token and byte of the text, in its split, whole or not there at all."""

from pathlib import Path

import numpy as np
import pytest

from ptft.data.text.token_store import Tokens, build_store, open_store
from ptft.data.text.tokenizer_training import TokenizerSettings, train_tokenizer
from ptft.data.text.words import WordStarts
from tests.text_samples import chinese, document

TEXTS = [*(document(number) for number in range(12)), *(chinese(number) for number in range(3)), "  \n\nÄ  ", "."]
STATUS = Path("/proc/self/status")
SOURCE = [(number % 3, text, True) for number, text in enumerate(TEXTS)]


def tokens(layout="causal", kind="wordpiece"):
    causal = layout == "causal"
    tokenizer = train_tokenizer(TokenizerSettings(kind=kind, vocab_size=800), TEXTS, causal=causal)
    roles = tokenizer.special_tokens
    return Tokens(tokenizer, WordStarts.learn(TEXTS), layout, roles["eos"] if causal else roles["sep"])


def build(folder, made, source=SOURCE, threads=2):
    folder.mkdir(exist_ok=True)
    build_store(lambda: iter(source), 0, made, folder, threads)
    return open_store(folder)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "character"])
def test_a_stream_is_its_documents_between_separators(kind, tmp_path):
    made = tokens(kind=kind)
    streams = build(tmp_path, made)
    for code, split in enumerate(("train", "val", "test")):
        texts = [text for number, text, _ in SOURCE if number == code]
        wanted = [made.separator]
        places = []
        for text in texts:
            places.append(len(wanted))
            wanted += [*made.tokenizer.pieces([text])[0].ids, made.separator]
        stream = streams[split]
        assert stream.ids.tolist() == wanted and stream.documents.tolist() == places
        assert stream.ids.dtype == np.uint16
        assert stream.num_bytes.sum() == sum(len(text.encode()) for text in texts)


def test_masked_streams_tell_words_and_end_documents(tmp_path):
    made = tokens("masked")
    stream = build(tmp_path, made)["val"]
    texts = [text for number, text, _ in SOURCE if number == 1]
    encodings = made.tokenizer.pieces(texts)
    starts = made.words.of_all(encodings, texts)
    assert stream.ids.tolist() == [token for part in encodings for token in (*part.ids, made.separator)]
    assert stream.word_start.tolist() == [begin for part in starts for begin in (*part.tolist(), True)]
    assert stream.num_bytes is None and not len(stream.sentences)


def test_pairs_keep_where_sentences_begin(tmp_path):
    made = tokens("pairs")
    stream = build(tmp_path, made)["train"]
    ends = [*stream.sentences[1:], len(stream)]
    found = [made.tokenizer.decode(stream.ids[a:b].tolist()) for a, b in zip(stream.sentences, ends, strict=True)]
    assert found[:2] == ["story 0.", made.tokenizer.decode(made.tokenizer.pieces([TEXTS[0].split("\n")[1]])[0].ids)]
    assert set(stream.documents.tolist()) <= set(stream.sentences.tolist())


def test_documents_in_pieces_and_other_numbers_of_threads_change_nothing(tmp_path):
    made = tokens(kind="bpe")
    whole = build(tmp_path / "a", made)["train"]
    source = [
        (code, line + "\n" * (number < text.count("\n")), number == 0)
        for code, text, _ in SOURCE
        for number, line in enumerate(text.split("\n"))
    ]
    parts = build(tmp_path / "b", made, source, threads=1)["train"]
    assert parts.num_bytes.sum() == whole.num_bytes.sum() and len(parts.documents) == len(whole.documents)
    assert made.tokenizer.decode(parts.ids.tolist()) == made.tokenizer.decode(whole.ids.tolist())
    assert np.array_equal(build(tmp_path / "c", made, threads=1)["train"].ids, whole.ids)


def test_more_bytes_than_a_token_can_tell_go_to_the_next_one(tmp_path):
    source = [(0, " " * 150_000 + "cat dog", True), (1, "a", True), (2, "a", True)]
    stream = build(tmp_path, tokens(), source)["train"]
    assert stream.num_bytes.sum() == 150_007 and stream.num_bytes[1] == 65_535


@pytest.mark.parametrize("name", ["train.ids", "val.documents", "store.json"])
def test_a_store_that_is_not_whole_is_noticed(name, tmp_path):
    build(tmp_path, tokens())
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"bytes where|delimiter|Expecting"):
        open_store(tmp_path)


def anonymous_kb():
    """Return the memory of this process that no file stands behind."""
    return int(next(line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon")).split()[1])


@pytest.mark.skipif(not STATUS.exists(), reason="private memory is read from /proc (Linux)")
def test_memory_does_not_grow_with_the_text(tmp_path):
    made = tokens(kind="character")
    part = [(0, TEXTS[0] * 50, True), (1, "a", True), (2, "a", True)]  # 16 kB

    def most(copies):
        seen = []

        def source():
            for _ in range(copies):
                seen.append(anonymous_kb())
                yield from part

        folder = tmp_path / str(copies)
        folder.mkdir()
        build_store(source, 0, made, folder)
        return max(seen)

    small = most(20)
    assert most(60) - small < 30_000  # kB; the encodings of the further 0.6 MB would take 150,000
