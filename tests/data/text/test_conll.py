"""Files of tagged words: every way they are written, and every fault named by file and line."""

import random

import pytest

from ptft.data.text.bad_rows import BadRows
from ptft.data.text.conll import Conll, find_files
from ptft.data.text.conll_file import ConllFormat, read_conll
from ptft.data.text.tag_schemes import TagError, find_scheme, tag_names, to_iob2
from ptft.errors import DataError

COLUMNS = "EU NNP B-ORG\nrejects VBZ O\n\nAnna NNP B-PER\nSmith NNP I-PER\n"
IOB2 = ["O", "B-PER", "I-PER", "B-PER", "O", "B-LOC"]
WRITTEN = {
    "iob2": IOB2,
    "iob1": ["O", "I-PER", "I-PER", "B-PER", "O", "I-LOC"],
    "bioes": ["O", "B-PER", "E-PER", "S-PER", "O", "S-LOC"],
}


def read(tmp_path, text, *, skip=False, **settings):
    path = tmp_path / "a.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    bad = BadRows("skip" if skip else "error", 1.0)
    sentences, scheme = read_conll(path, "a.txt", ConllFormat(**settings), bad)
    return [(sentence.words, sentence.tags) for sentence in sentences], scheme, bad


def random_entities(generator):
    """Return IOB2 tags of a random sentence."""
    tags = []
    while len(tags) < 8:
        kind, length = generator.choice(["PER", "LOC"]), generator.randint(1, 3)
        tags += generator.choice([["O"], [f"B-{kind}", *[f"I-{kind}"] * (length - 1)]])
    return tags


def in_scheme(tags, scheme):
    """Return IOB2 tags in another scheme."""
    found = []
    for place, tag in enumerate(tags):
        letter, _, kind = tag.partition("-")
        ends = place + 1 == len(tags) or tags[place + 1] != f"I-{kind}"
        if scheme == "iob1" and letter == "B" and (not place or tags[place - 1][2:] != kind):
            tag = f"I-{kind}"
        if scheme == "bioes" and letter in "BI" and ends:
            tag = f"{'S' if letter == 'B' else 'E'}-{kind}"
        found.append(tag)
    return found


@pytest.mark.parametrize("scheme", WRITTEN)
def test_each_scheme_is_found_and_read_as_iob2(scheme):
    assert find_scheme([WRITTEN[scheme]]) == (scheme, None)
    assert list(to_iob2(WRITTEN[scheme], scheme)) == IOB2
    generator = random.Random(0)
    for _ in range(100):
        tags = random_entities(generator)
        assert list(to_iob2(in_scheme(tags, scheme), scheme)) == tags


def test_bilou_and_bmes_are_kinds_of_bioes_and_underscores_are_hyphens():
    assert to_iob2(["B-X", "M-X", "E-X", "S-X", "U-X", "O"], "bioes") == ("B-X", "I-X", "I-X", "B-X", "B-X", "O")
    assert to_iob2(["B_X", "L_X"], "bioes") == ("B-X", "I-X")
    assert find_scheme([["NOUN", "VERB"]]) == ("plain", None)


@pytest.mark.parametrize(
    ("scheme", "tags", "place", "reason"),
    [
        ("iob2", ["O", "I-PER"], 1, "`I-PER` cannot follow `O`"),
        ("iob2", ["I-PER"], 0, "`I-PER` cannot begin a sentence"),
        ("iob2", ["B-LOC", "I-PER"], 1, "cannot follow `B-LOC`"),
        ("iob2", ["B-LOC", "E-LOC"], 1, "none of IOB2"),
        ("iob2", ["B-LOC", "LOC"], 1, "neither O nor begins with"),
        ("bioes", ["B-PER", "O"], 1, "an entity ends with E-"),
        ("bioes", ["O", "E-PER"], 1, "begins with B-"),
        ("bioes", ["O", "B-PER"], 1, "ends with `B-PER`"),
    ],
)
def test_a_tag_that_cannot_stand_there_is_named(scheme, tags, place, reason):
    with pytest.raises(TagError, match=reason) as error:
        to_iob2(tags, scheme)
    assert error.value.place == place


def test_classes_have_a_beginning_and_a_going_on_for_each_type():
    assert tag_names([["B-PER", "O"], ["B-LOC"]]) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert tag_names([["VERB", "NOUN"]]) == ("NOUN", "VERB")


def test_columns_are_read_with_any_blanks_line_ends_and_byte_order_mark(tmp_path):
    expected = [(["EU", "rejects"], ["B-ORG", "O"]), (["Anna", "Smith"], ["B-PER", "I-PER"])]
    for text in (
        COLUMNS,
        COLUMNS.replace(" ", "\t"),
        COLUMNS.replace("\n", "\r\n"),
        "\ufeff" + COLUMNS.rstrip("\n"),
        COLUMNS.replace(" ", "   ").replace("\n\n", "\n \n\n"),
    ):
        assert read(tmp_path, text)[0] == expected
    assert read(tmp_path, COLUMNS, tag_column=1)[1] == "plain"
    assert read(tmp_path, "1\tEU\tB-ORG\n# text\n2\tx\tO\n", word_column=1, comment="# ")[0][0][0] == ["EU", "x"]


def test_words_with_slashes_are_told_from_columns_and_a_slash_may_be_a_word(tmp_path):
    found, scheme, _ = read(tmp_path, "Anna/B-PER ran/O 3/4/O ///O\nShe/O won/O\n")
    assert found == [(["Anna", "ran", "3/4", "//"], ["B-PER", "O", "O", "O"]), (["She", "won"], ["O", "O"])]
    assert scheme == "iob2"
    assert read(tmp_path, "and/or O\nAC/DC B-ORG\n")[0] == [(["and/or", "AC/DC"], ["O", "B-ORG"])]


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("a O\nb\n", {}, r"a.txt, line 2: 1 column, where the lines before have 2"),
        ("a\tO\nb\tc\tO\n", {}, r"a.txt, line 2: 3 columns"),
        ("a\tO\n\tO\n", {}, r"a.txt, line 2: the word is empty"),
        ("word\n", {}, "the same of 1 columns; each word needs a tag beside it"),
        ("a O\n", {"tag_column": 2}, r"line 1: data.tag_column=2, but there are 2 columns"),
        ("a O\n\nb O\nc I-PER\n", {"scheme": "iob2"}, r"a.txt, line 4: the tag `I-PER` cannot follow `O`"),
        ("a I-PER\n\nb B-LOC\n", {}, "line 1: `I-PER` begins an entity, as only IOB1 writes it"),
        ("", {}, "holds no sentence"),
        ("\n\n-DOCSTART- O\n\n", {}, "holds no sentence"),
        (b"a O\n\xff O\n", {}, "line 2: byte 0xff is not of the encoding"),
        ("Anna/B-PER ran\n", {"layout": "slashes"}, "line 1: `ran` is no word/TAG"),
        ("a O\n" * 10_001, {}, "more than 10,000 words; a blank line ends a sentence"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_every_fault_is_named_with_file_and_line(tmp_path, text, settings, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, **settings)


def test_sentences_with_faults_can_be_left_out_whole(tmp_path):
    found, _, bad = read(tmp_path, "a O\nb\nc O\n\nd O\n\ne O\nf I-PER\n", skip=True, scheme="iob2")
    assert [words for words, _ in found] == [["d"]]
    assert [(row["file"], row["line"]) for row in bad.rows] == [("a.txt", 2), ("a.txt", 8)]


def test_a_few_entities_begun_in_another_scheme_are_mistakes(tmp_path):
    text = "a B-PER\n\n" * 30 + "b I-PER\n"
    with pytest.raises(DataError, match="line 61: the tag `I-PER` cannot begin a sentence"):
        read(tmp_path, text)


def write_folder(folder, *names, text=COLUMNS):
    folder.mkdir()
    for name in names:
        (folder / name).write_text(text)
    return str(folder)


def test_files_are_splits_by_their_names(tmp_path):
    path = write_folder(tmp_path / "a", "eng.train", "eng.testa", "eng.testb", "README")
    files, parts = find_files(path)
    assert dict(zip([file.name for file in files], parts, strict=True)) == {
        "eng.train": "train",
        "eng.testa": "val",
        "eng.testb": "test",
    }
    assert find_files(write_folder(tmp_path / "b", "one.conll", "two.conll"))[1] is None
    with pytest.raises(DataError, match="is none of them"):
        find_files(write_folder(tmp_path / "c", "train.txt", "more.txt"))
    with pytest.raises(DataError, match="holds no tagged words"):
        find_files(write_folder(tmp_path / "d", "x.pdf"))
    with pytest.raises(DataError, match="there is no such file"):
        find_files(str(tmp_path / "nothing"))
    with pytest.raises(DataError, match=r"data\.path is not given"):
        find_files(None)


def test_documents_stay_whole_and_schemes_are_told(tmp_path):
    lines = []
    for document in range(10):
        lines += ["-DOCSTART- -X- O", ""]
        for sentence in range(4):
            lines += [f"word{document} I-PER", f"x{sentence} O", ""]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    data = Conll([], path=str(tmp_path / "a.txt"), split={"group": "document", "val": 0.2, "test": 0.2}, max_length=20)
    data.setup()
    documents = data.attributes()["document"]
    parts = [{documents[row] for row in rows.tolist()} for rows in data._whole.splits.values()]
    assert [len(part) for part in parts] == [6, 2, 2] and not parts[0] & parts[1] | parts[1] & parts[2]
    assert any("the tags are written in IOB1, and are read as IOB2" in told for told in data.warnings())
    assert data.spec.classes == ("O", "B-PER", "I-PER") and data.spec.class_counts == (24, 24, 0)
