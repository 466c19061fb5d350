"""Tokenizers: what they read, what they refuse, and that transformers reads them alike."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from ptft.data.text.tokenizer import TextTokenizer, tokenizer_folder
from ptft.data.text.tokenizer_training import TokenizerSettings, train_tokenizer
from ptft.errors import DataError
from tests.text_samples import chinese, document

TEXTS = [document(number) for number in range(20)]
KINDS = ("wordpiece", "bpe", "unigram", "character")


def make(kind="wordpiece", *, causal=False, size=600):
    return train_tokenizer(TokenizerSettings(kind=kind, vocab_size=size), TEXTS, causal=causal)


def write(tokenizer, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tokenizer.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_reads_a_saved_tokenizer_alike(kind, tmp_path):
    from transformers import AutoTokenizer

    for causal, model_type in ((False, "bert"), (True, "gpt2")):
        tokenizer = make(kind, causal=causal)
        folder = write(tokenizer, tmp_path / model_type)
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
        theirs = AutoTokenizer.from_pretrained(folder)
        first, second = ["The king, so be it. Älter 北京", "a\n b"], ["Why not?", "[MASK] cat"]
        for pairs in (None, second):
            ours = tokenizer.encode(first, pairs)
            for number, encoding in enumerate(ours):
                other = theirs(first[number], None if pairs is None else pairs[number])
                assert other["input_ids"] == encoding.ids and other["token_type_ids"] == encoding.type_ids
            assert theirs.decode(ours[0].ids, skip_special_tokens=True) == tokenizer.decode(ours[0].ids)
        ids = {role: getattr(theirs, f"{role}_token_id") for role in tokenizer.special_tokens}
        assert ids == tokenizer.special_tokens


def test_a_folder_with_a_vocabulary_alone_is_converted(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "king", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    tokenizer = TextTokenizer.from_folder(tmp_path)
    assert tokenizer.encode(["The kings"])[0].ids == [2, 5, 6, 7, 3]
    assert tokenizer.special_tokens == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
    assert TextTokenizer.from_files(tokenizer.files).encode(["The kings"])[0].ids == [2, 5, 6, 7, 3]


def test_a_run_its_checkpoint_and_a_file_in_it_lead_to_its_tokenizer(tmp_path):
    folder = write(make(), tmp_path / "run" / "model")
    (tmp_path / "run" / "checkpoints" / "step_00000010").mkdir(parents=True)
    (folder / "model.safetensors").touch()
    places = ["run", "run/model", "run/model/model.safetensors", "run/checkpoints/step_00000010"]
    assert [tokenizer_folder(tmp_path / place) for place in places] == [folder] * 4
    assert tokenizer_folder(tmp_path) is None


def test_pairs_are_cut_at_the_longer_one_and_windows_repeat_the_stride():
    tokenizer = make()
    (cut,) = tokenizer.encode([TEXTS[0]], ["Why not?"], max_length=16)
    short = tokenizer.pieces(["Why not?"])[0].ids
    assert len(cut) == 16 and cut.ids[-1 - len(short) : -1] == short
    (whole,) = tokenizer.encode(["why not?"], [TEXTS[0]], max_length=20, stride=4, truncate="only_second")
    windows = [whole, *whole.overflowing]
    body = [[token for token, part in zip(w.ids, w.sequence_ids, strict=True) if part == 1] for w in windows]
    assert all(one[-4:] == two[:4] for one, two in pairwise(body))
    assert body[0] + [token for part in body[1:] for token in part[4:]] == tokenizer.pieces([TEXTS[0]])[0].ids


def test_truncation_never_leaks_between_threads():
    tokenizer = make()
    whole = tokenizer.encode([TEXTS[1]])[0].ids

    def work(number):
        return len(tokenizer.encode([TEXTS[1]], max_length=(None, 8, 16, 24)[number % 4])[0])

    with ThreadPoolExecutor(4) as pool:
        lengths = list(pool.map(work, range(80)))
    assert lengths == [len(whole), 8, 16, 24] * 20


def test_a_truncation_and_padding_that_a_file_brings_are_taken_off():
    tokenizer = make()
    values = json.loads(tokenizer.files["tokenizer.json"])
    values["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    values["padding"] = {
        "strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    harmed = TextTokenizer.from_files({**tokenizer.files, "tokenizer.json": json.dumps(values)})
    assert harmed.encode(["The king sees a dog."])[0].ids == tokenizer.encode(["The king sees a dog."])[0].ids


def test_roles_are_known_by_usual_names_where_no_file_tells_them():
    tokenizer = make("bpe", causal=True)
    alone = TextTokenizer.from_files({"tokenizer.json": tokenizer.files["tokenizer.json"]})
    assert alone.special_tokens == tokenizer.special_tokens == {"pad": 0, "unk": 1, "bos": 2, "eos": 2}


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
def test_a_damaged_file_is_named(name, tmp_path):
    folder = write(make(), tmp_path)
    (folder / name).write_text('{"half', encoding="utf-8")
    with pytest.raises(DataError, match=name):
        TextTokenizer.from_folder(folder)


def test_a_folder_without_a_tokenizer_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match=r"holds no tokenizer; expected tokenizer\.json"):
        TextTokenizer.from_folder(tmp_path)


def test_tokens_beyond_the_vocabulary_and_lengths_without_room_are_refused():
    tokenizer = make()
    with pytest.raises(DataError, match=f"token {tokenizer.vocab_size} does not lie"):
        tokenizer.decode([1, tokenizer.vocab_size])
    with pytest.raises(DataError, match=r"max_length=3 leaves no room .* at least 4"):
        tokenizer.encode(["a"], max_length=3)


def test_chinese_comes_back_from_bytes():
    tokenizer = train_tokenizer(TokenizerSettings(kind="bpe", vocab_size=400), [chinese(1)])
    assert tokenizer.decode(tokenizer.pieces(["別的字 ok"])[0].ids) == "別的字 ok"
