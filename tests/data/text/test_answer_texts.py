"""Questions as data: divided by article, windows as entries, texts beside the batches, new rows for predict."""

import json

import pytest
import torch

from ptft.data.data_module import BatchPlan, DataSpec
from ptft.data.text.squad import Squad
from ptft.errors import ConfigError, DataError, RowError
from tests.text_samples import squad_file

PLAN = BatchPlan(batch_size=256)
SMALL = {"max_length": 40, "stride": 8, "tokenizer": {"vocab_size": 200}}


def made(path, **settings):
    data = Squad((), path=str(path), **{**SMALL, **settings})
    data.setup()
    return data


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return squad_file(tmp_path_factory.mktemp("squad") / "train.json")


@pytest.fixture(scope="module")
def data(file):
    return made(file)


def column_of(data, name, split):
    """Return the values of a column of the examples of a split."""
    values = data.attributes()[name]
    indices = {index for batch in data.evaluation_loaders(PLAN)[split] for index in batch["index"].tolist()}
    return {values[index] for index in indices}


def test_an_article_is_never_in_two_splits(data):
    titles = [column_of(data, "title", split) for split in ("train", "val", "test")]
    assert sum(map(len, titles)) == len(set().union(*titles)) == 8


def test_of_one_article_paragraphs_are_divided_and_that_is_told(tmp_path):
    data = made(squad_file(tmp_path / "one.json", articles=1, paragraphs=9))
    paragraphs = [column_of(data, "paragraph", split) for split in ("train", "val", "test")]
    assert sum(map(len, paragraphs)) == len(set().union(*paragraphs)) == 9
    assert any("fewer than three titles" in text for text in data.warnings())


def test_every_question_comes_once_with_all_its_windows_and_its_texts(data):
    seen = {}
    for split, loader in data.evaluation_loaders(BatchPlan(batch_size=5)).items():
        for batch in loader:
            for row, index in enumerate(batch["index"].tolist()):
                seen.setdefault(index, []).append((split, int(batch["windows"][row])))
                start, end = int(batch["start"][row]), int(batch["end"][row])
                if start:
                    chars = slice(int(batch["char_start"][row, start]), int(batch["char_end"][row, end]))
                    assert batch["context"][row][chars] == batch["answers"][row][0]
    assert sorted(seen) == list(range(len(data.paths())))
    for windows in seen.values():
        assert len(set(windows)) == 1 and windows[0][1] == len(windows)


def test_training_batches_hold_windows_and_an_epoch_is_all_of_them(data):
    assert data.num_examples > len(column_of(data, "id", "train"))
    batch = next(iter(data.train_loader(BatchPlan(batch_size=4))))
    assert set(batch) >= {
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "index",
        "start",
        "end",
        "char_start",
        "char_end",
    }
    assert all(isinstance(value, torch.Tensor) for value in batch.values())


def test_the_data_know_that_questions_may_have_no_answer(data, tmp_path):
    assert data.spec.target == "span" and data.spec.preprocessing["unanswerable"]
    assert "without an answer" in data.describe()
    plain = made(squad_file(tmp_path / "v1.json", unanswerable=False))
    assert not plain.spec.preprocessing["unanswerable"]


def test_questions_without_answers_can_be_judged_by_a_model_that_knows_none(file, tmp_path):
    plain = made(squad_file(tmp_path / "v1.json", unanswerable=False))
    other = Squad((), path=str(file), **SMALL)
    other.setup(plain.spec)
    assert not other.spec.preprocessing["unanswerable"]


def test_files_of_a_folder_are_the_splits_and_shared_contexts_are_told(tmp_path):
    squad_file(tmp_path / "train-v2.0.json", seed=1)
    squad_file(tmp_path / "dev-v2.0.json", articles=2, seed=1, first_id=1000)
    data = made(tmp_path)
    assert len(column_of(data, "id", "val")) < len(column_of(data, "id", "train"))
    assert any("contexts of val stand in train" in text for text in data.warnings())
    with pytest.raises(DataError, match="fail_on_overlap"):
        made(tmp_path, fail_on_overlap=True)


def test_a_file_for_each_split_can_be_named(file, tmp_path):
    test = squad_file(tmp_path / "other.json", articles=2, seed=2, first_id=1000)
    data = made(file, test=str(test))
    assert column_of(data, "title", "test") == {"Article 0", "Article 1"}
    assert not column_of(data, "id", "val") & column_of(data, "id", "train")


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ((), {}, "holds no train"),
        (("train.json", "train-2.json"), {}, "may all be the train split"),
        (("train.json",), {"val": "nowhere.json"}, "data.val=nowhere.json: there is no such file"),
    ],
)
def test_files_that_are_missing_or_too_many_are_named(tmp_path, files, settings, message):
    for name in files:
        squad_file(tmp_path / name)
    with pytest.raises(DataError, match=message):
        made(tmp_path, **settings)
    with pytest.raises(DataError, match=r"data.path=.*nothing.json: there is no such file"):
        made(tmp_path / "nothing.json")
    with pytest.raises(DataError, match=r"data.path is not given"):
        Squad(()).setup()


def test_a_question_too_long_for_the_windows_is_named(tmp_path):
    file = squad_file(tmp_path / "train.json")
    document = json.loads(file.read_text())
    document["data"][1]["paragraphs"][0]["qas"][0]["question"] = "why " * 40
    file.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"train.json: `Article 1`, paragraph 1, question .*data.max_length=40"):
        made(file)


def test_answers_that_no_window_holds_are_not_learned_and_told(tmp_path):
    file = squad_file(tmp_path / "train.json")
    document = json.loads(file.read_text())
    paragraphs = [paragraph for article in document["data"] for paragraph in article["paragraphs"]]
    for paragraph in paragraphs:
        paragraph["qas"][0]["answers"] = [{"text": paragraph["context"], "answer_start": 0}]
    file.write_text(json.dumps(document))
    data = made(file)
    assert any("lie in no window" in text and f"{len(paragraphs)} answers" in text for text in data.warnings())
    batch = next(iter(data.evaluation_loaders(PLAN)["train"]))
    assert all(context not in answers for context, answers in zip(batch["context"], batch["answers"], strict=True))


def test_texts_alone_can_be_learned_from(file):
    data = made(file, target="tokens")
    batch = next(iter(data.train_loader(BatchPlan(batch_size=4))))
    assert "start" not in batch and data.spec.target == "tokens"


def test_texts_alone_are_divided_as_their_questions_also_where_some_are_asked_twice(tmp_path):
    content = json.loads(squad_file(tmp_path / "train.json").read_text())
    for paragraph in (paragraph for article in content["data"][::3] for paragraph in article["paragraphs"]):
        first = paragraph["context"].split()[0]
        other = {"answers": [{"text": first, "answer_start": 0}], "is_impossible": False}
        paragraph["qas"] += [{**asked, **other, "id": f"{asked['id']} again"} for asked in paragraph["qas"]]
    (tmp_path / "train.json").write_text(json.dumps(content))
    learned, texts = (made(tmp_path / "train.json", target=target) for target in ("span", "tokens"))
    for split in ("train", "val", "test"):
        assert column_of(learned, "id", split) == column_of(texts, "id", split)


def test_new_questions_become_all_their_windows_with_places_in_the_text_as_given(data):
    spec = DataSpec.from_json(json.loads(json.dumps(data.spec.to_json())), lambda name: data.spec.files[name])
    fresh = Squad((), **SMALL)
    fresh.restore(spec)
    rows = [
        {"question": " Who \n slept?", "context": "  the king " * 30},
        {"question": "Who?", "context": "the\tqueen"},
    ]
    batch = fresh.batch_of(rows, torch.device("cpu"))
    assert batch["index"].bincount().tolist() == [int(batch["windows"][0]), 1] and batch["windows"][0] > 1
    assert batch["context"][-1] == rows[1]["context"]
    last = batch["char_start"][-1][batch["char_end"][-1] > batch["char_start"][-1]]
    assert rows[1]["context"][int(last[0]) :] == "the\tqueen" and rows[1]["context"][int(last[-1]) :] in "queen"
    for row, message in (
        ({"question": "Who?"}, "`context` is missing"),
        ({"question": " ", "context": "a"}, "is empty"),
    ):
        with pytest.raises(RowError, match=message) as caught:
            fresh.batch_of([rows[1], row], torch.device("cpu"))
        assert caught.value.row == 1


@pytest.mark.parametrize(
    ("settings", "message"), [({"stride": 40}, "data.stride=40"), ({"target": "class"}, "span or tokens")]
)
def test_settings_that_do_not_fit_are_refused(file, settings, message):
    with pytest.raises(ConfigError, match=message):
        made(file, **settings)


def test_chinese_answers_are_found_character_by_character_also_where_articles_share_a_title(tmp_path):
    paragraphs = []
    for number in range(1700, 1712):
        context = f"老舍，生于{number}年，北京人。"
        answers = [{"text": f"{number}年", "answer_start": 5}]
        paragraphs.append({"context": context, "qas": [{"id": number, "question": "生于哪年？", "answers": answers}]})
    document = {"version": "v1.0", "data": [{"title": "老舍", "paragraphs": [paragraph]} for paragraph in paragraphs]}
    (tmp_path / "train.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    data = made(tmp_path / "train.json", max_length=24, stride=6)
    for loader in data.evaluation_loaders(PLAN).values():
        for batch in loader:
            for row in range(len(batch["index"])):
                places = (
                    int(batch["char_start"][row, batch["start"][row]]),
                    int(batch["char_end"][row, batch["end"][row]]),
                )
                assert batch["context"][row][slice(*places)] == batch["answers"][row][0]
