"""Tags of words as labels of tokens: first sub-words, windows, offsets in the row of a user, divisions in order."""

import numpy as np
import pytest
import torch

from ptft.data.data_module import BatchPlan
from ptft.data.split import Split
from ptft.data.text.conll import Conll
from ptft.data.text.ordered_split import divide_in_order
from ptft.data.text.tagged_windows import encode_tagged, speakers
from ptft.data.text.tokenizer import TextTokenizer
from ptft.data.text.word_units import clusters, cut_words, joined, mostly_characters, spread
from ptft.errors import ConfigError, DataError, RowError
from tests.task.text.toys import tokenizer_files

FAMILY = "👩\u200d👩\u200d👧"


def tagged(rows, **settings):
    """Return the windows of rows of (word, tag)."""
    tokenizer = TextTokenizer.from_files(tokenizer_files())
    made = [joined([word for word, _ in row], " ", "nfc") for row in rows]
    tags = [[tag for _, tag in row] for row in rows]
    texts, spans = zip(*made, strict=True)
    return encode_tagged(
        tokenizer, texts, spans, tags, [False, True, False], **{"max_length": 40, "overlap": 0} | settings
    )


def write(path, rows):
    path.write_text("\n\n".join("\n".join(f"{word}\t{tag}" for word, tag in row) for row in rows), encoding="utf-8")
    return str(path)


def text_of(row, batch):
    return [batch["text"][row][start:end] for start, end in batch["spans"][row]]


# ---- Words ---------------------------------------------------------------------------------------------------------


def test_a_character_is_what_a_reader_takes_for_one():
    text = f"e\u0301 {FAMILY}👍🏽中\u0e01\u0e34"
    assert [text[start:end] for start, end in clusters(text)] == ["e\u0301", FAMILY, "👍🏽", "中", "\u0e01\u0e34"]
    assert clusters("") == clusters(" \n") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Anna's dog, (3.14) U.N. at J. Smith.", "Anna 's dog , ( 3.14 ) U.N. at J. Smith ."),
        ("“Coca-Cola” don't cost $5 ...", "“ Coca-Cola ” don't cost $ 5 . . ."),
        ("@ann likes #this!?", "@ann likes #this ! ?"),
        ("naïve cafe\u0301", "naïve cafe\u0301"),
        (f"{FAMILY} ok👍🏽! ❤️", f"{FAMILY} ok 👍🏽 ! ❤️"),  # a joined emoji is one sign
        ("", ""),
    ],
)
def test_words_are_what_spaces_separate_without_the_signs_around(text, words):
    assert [text[start:end] for start, end in cut_words(text)] == words.split()


def test_words_of_characters_spread_their_tags():
    row, tags = spread(["江泽民", "在", "北京"], ["B-PER", "O", "B-LOC"])
    assert row == tuple("江泽民在北京")
    assert tags == ("B-PER", "I-PER", "I-PER", "O", "B-LOC", "I-LOC")
    assert mostly_characters(["江泽民", "NBA"]) is False and mostly_characters(["江泽民在北京", "NBA"]) is True


def test_words_make_a_text_in_which_each_is_found():
    text, spans = joined(["Ａ", "\u200b", "cafe\u0301", "\ufeff"], " ", "nfkc")
    assert [text[start:end] for start, end in spans] == ["A", "\u200b", "café", ""]
    text, spans = joined(["e", "\u0301", "中"], "", "nfc")
    assert text == "é中" and spans == ((0, 1), (1, 1), (1, 2))
    assert joined([], " ", "nfc") == ("", ())


# ---- Tokens --------------------------------------------------------------------------------------------------------


def test_the_first_token_of_a_word_carries_its_tag_and_others_none():
    batch = tagged([[("the", 0), ("cats", 1), ("sat", 2)], [("mat", 1)]]).encoded.gather(np.arange(2))
    assert batch["labels"].tolist() == [[-100, 0, 1, -100, 2, -100], [-100, 1, -100, -100, -100, -100]]
    assert batch["word"].tolist() == [[-1, 0, 1, -1, 2, -1], [-1, 0, -1, -1, -1, -1]]
    assert batch["windows"].tolist() == [1, 1]


def test_a_token_speaks_for_the_first_word_it_holds_that_none_spoke_for():
    assert speakers([(0, 2), (2, 3)], [(0, 1), (1, 2), (2, 3)]) == [0, 2]
    assert speakers([(0, 1), (0, 1), (1, 2)], [(0, 1), (1, 2)]) == [0, -1, 1]
    assert speakers([(0, 1), (0, 2)], [(0, 1), (1, 1), (1, 2)]) == [0, 2]
    assert speakers([(0, 3), (3, 8)], [(0, 3), (4, 8)]) == [0, 1]  # a token that begins with the space before its word
    assert speakers([], [(0, 1)]) == []


def test_entities_whose_first_word_is_no_token_are_counted():
    assert tagged([[("\ufeff", 1), ("cat", 2)], [("cat", 1)]]).num_unspoken == 1


@pytest.mark.parametrize(("max_length", "overlap"), [(8, 0), (8, 3), (12, 5), (9, 6), (40, 16)])
@pytest.mark.parametrize("length", [1, 5, 6, 7, 23])
def test_windows_lose_no_word_and_speak_for_each_once(max_length, overlap, length):
    row = [("cats" if place % 3 else "the", place % 3) for place in range(length)]
    windows = tagged([row], max_length=max_length, overlap=overlap).encoded
    batch = windows.gather(np.arange(len(windows)))
    chosen = batch["word"] >= 0
    assert batch["word"][chosen].tolist() == list(range(length))
    assert batch["labels"][chosen].tolist() == [tag for _, tag in row]
    assert (batch["labels"][~chosen] == -100).all()
    assert batch["input_ids"].shape[1] <= max_length
    assert batch["windows"].tolist() == [len(windows)] * len(windows) and set(batch["index"].tolist()) == {0}
    if len(windows) > 1:
        assert (batch["attention_mask"].sum(1) == max_length).all(), "each window is full"
        edge = overlap // 2  # tokens of context that a token which speaks has at least, where the text goes on
        assert not chosen[:-1, max_length - 1 - edge :].any() and not chosen[1:, : 1 + edge].any()


def test_an_overlap_that_leaves_no_room_is_refused():
    with pytest.raises(ConfigError, match=r"data.overlap=6 leaves no room .* give at most 5"):
        tagged([[("cat", 0)]], max_length=8, overlap=6)


# ---- A data set ----------------------------------------------------------------------------------------------------

ROWS = [[("Anna", "B-PER"), (f"x{number}", "O"), ("ran", "O")] for number in range(30)]


def test_evaluation_brings_tags_and_words_and_prediction_the_same_words(tmp_path):
    data = Conll([], path=write(tmp_path / "a.txt", ROWS), max_length=8, overlap=1)
    data.setup()
    batch = next(iter(data.evaluation_loaders(BatchPlan(batch_size=4))["val"]))
    assert all(tags == (1, 0, 0) for tags in batch["tags"])
    assert all(text_of(row, batch)[::2] == ["Anna", "ran"] for row in range(len(batch["tags"])))
    new = data.batch_of([{"text": text} for text in batch["text"]], torch.device("cpu"))
    assert [new["text"][row] for row in new["index"]] == new["text"]
    assert torch.equal(new["input_ids"], batch["input_ids"]) and torch.equal(new["word"], batch["word"])
    assert [list(spans) for spans in batch["spans"]] == new["spans"]
    with pytest.raises(RowError, match="the field `text` is missing"):
        data.batch_of([{"txt": "a"}], torch.device("cpu"))


def test_characters_of_a_user_s_row_are_told_whatever_normalisation_does(tmp_path):
    rows = [
        [("江", "B-PER"), ("泽", "I-PER"), ("民", "I-PER"), (character, "O")] for character in "来去走看说想吃写听坐"
    ]
    data = Conll([], path=write(tmp_path / "a.txt", rows), normalisation="nfkc", tokenizer={"kind": "character"})
    data.setup()
    assert data.spec.preprocessing["words"] == "characters"
    text = f"１９９８ {FAMILY}e\u0301：江泽民"
    batch = data.batch_of([{"text": text}], torch.device("cpu"))
    assert text_of(0, batch) == ["１", "９", "９", "８", FAMILY, "e\u0301", "：", "江", "泽", "民"]
    spoken = batch["word"][0]
    known = [data._coder.backend.token_to_id(character) for character in "江泽民"]
    assert [batch["input_ids"][0, spoken == word].item() for word in (7, 8, 9)] == known


def test_a_division_in_order_takes_contiguous_parts_and_keeps_groups_whole():
    parts = divide_in_order(20, Split(val=0.1, test=0.2))
    assert [parts[name].tolist() for name in ("train", "val", "test")] == [[*range(14)], [14, 15], [16, 17, 18, 19]]
    groups = np.array([0, 0, 0, 3, 3, 3, 6, 6, 6, 0])
    parts = divide_in_order(10, Split(val=0.2, test=0.2), groups=groups)
    assert [parts[name].tolist() for name in ("train", "val", "test")] == [[0, 1, 2, 9], [3, 4, 5], [6, 7, 8]]
    given = {"train": np.arange(8), "test": np.array([8, 9])}
    assert divide_in_order(10, Split(val=0.25), given)["val"].tolist() == [6, 7]
    with pytest.raises(DataError, match="leaves a split empty"):
        divide_in_order(10, Split(), groups=np.zeros(10, dtype=np.int64))


def test_the_order_of_the_file_divides_where_it_is_asked_for(tmp_path):
    data = Conll([], path=write(tmp_path / "a.txt", ROWS), order="document", split={"group": "document"})
    data.setup()
    assert [rows.tolist() for rows in data._whole.splits.values()] == [[*range(24)], [24, 25, 26], [27, 28, 29]]


def test_copies_are_removed_and_contradictions_told(tmp_path):
    rows = [*ROWS, ROWS[0], [("Anna", "O"), ("x1", "O"), ("ran", "O")]]
    data = Conll([], path=write(tmp_path / "a.txt", rows))
    data.setup()
    assert sum(map(len, data._whole.splits.values())) == 30
    assert any("removed 2 exact copies" in told for told in data.warnings())
    assert any(
        "1 texts stand there again with other tags, as a.txt, line 5 and a.txt, line 125" in t for t in data.warnings()
    )


def test_a_model_s_tags_are_kept_and_others_refused(tmp_path):
    data = Conll([], path=write(tmp_path / "a.txt", ROWS))
    data.setup()
    again = Conll([], path=write(tmp_path / "a.txt", ROWS))
    again.setup(data.spec)
    assert again.spec == data.spec
    other = [[*row[:-1], ("Rome", "B-LOC")] for row in ROWS]
    with pytest.raises(DataError, match="line 1: the model does not know the tag `B-LOC`; it knows `O`, `B-PER`"):
        Conll([], path=write(tmp_path / "b.txt", other)).setup(data.spec)
    with pytest.raises(DataError, match="all words carry the tag `O`"):
        Conll([], path=write(tmp_path / "c.txt", [[(word, "O") for word, _ in row] for row in ROWS])).setup()


def test_without_tags_the_texts_are_cut_and_divided_the_same(tmp_path):
    path = write(tmp_path / "a.txt", ROWS)
    tags, tokens = Conll([], path=path), Conll([], path=path, target="tokens", max_length=8)
    tags.setup()
    tokens.setup()
    for name, rows in tags._whole.splits.items():
        assert np.array_equal(rows, tokens._whole.splits[name])
    batch = next(iter(tokens.train_loader(BatchPlan(batch_size=4))))
    assert "labels" not in batch and tokens.spec.classes == ()
    assert next(iter(tokens.evaluation_loaders(BatchPlan(batch_size=4))["val"]))["input_ids"].shape[0] == 3
