"""`ptft predict`: rows in, predictions out, in order, whatever they come in."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest

from ptft.command import prediction_output
from ptft.data.vision.digits import Digits
from ptft.errors import CheckpointError, ConfigError, DataError
from ptft.task.classification import Classification
from tests.command.predicting import (
    QUICK,
    call,
    config_of,
    predict,
    read_lines,
    read_table,
    review,
    write_pictures,
    write_reviews,
)

TEXT = ("data=text/table", "data.path=train.csv", "data.text=review", "data.tokenizer.vocab_size=120", "model=text/cnn")
NEW = range(1000, 1050)
"""Reviews that no run was trained on."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run on digits, `ft`, one on texts, `words`, rows for both; and the config of each."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_reviews(Path("train.csv"), range(200))
        write_reviews(Path("new.csv"), NEW)
        call("finetune", "name=ft", *QUICK)
        call("finetune", "name=words", *TEXT, *QUICK, "engine.max=8st")
        return folder, {name: config_of(name) for name in ("ft", "words")}


@pytest.fixture
def here(trained, monkeypatch):
    """That folder; what a test wrote as out.* is taken away first."""
    monkeypatch.chdir(trained[0])
    for path in trained[0].glob("out.*"):
        path.unlink()
    return trained[0]


@pytest.fixture
def predicted(trained, here):
    """Predict with a run, into out.jsonl and back as rows."""

    def run(name="words", **settings):
        predict(trained[1][name], **{"output": "out.jsonl", "overwrite": True, **settings})
        return read_lines(Path("out.jsonl")) if "output" not in settings else None

    return run


# ---- What comes out -------------------------------------------------------------------------------------------------


def test_pictures_in_files_are_predicted_as_the_same_pictures_in_the_data_are_evaluated(here, predicted):
    call("evaluate", "run=ft", "name=seen", "evaluate.pictures=false")
    seen = {int(row["index"]): row for row in read_table(Path("outputs/seen/predictions.csv"))}
    write_pictures(here / "digits", Digits([]).read().images[sorted(seen)])
    rows = predicted("ft", input="digits")
    assert [row["id"] for row in rows] == [f"{number:04}.png" for number in range(len(seen))]
    for row, expected in zip(rows, (seen[index] for index in sorted(seen)), strict=True):
        assert row["prediction"] == expected["prediction"]
        assert row["score"] == pytest.approx(float(expected["score"]), abs=1e-6)


def test_texts_are_predicted_as_they_are_evaluated_in_the_order_they_come(here, predicted):
    other = ("split=all", "data.path=new.csv", "data.allow_changed=true", "evaluate.pictures=false")
    call("evaluate", "run=words", "name=read", *other)
    seen = sorted(read_table(Path("outputs/read/predictions.csv")), key=lambda row: int(row["index"]))
    rows = predicted(input="new.csv")
    assert [row["id"] for row in rows] == list(range(1, 51)) and len(seen) == 50
    for number, row, expected in zip(NEW, rows, seen, strict=True):
        assert row["review"] == review(number)[0]
        assert row["prediction"] == expected["prediction"]
        assert row["score"] == pytest.approx(float(expected["score"]), abs=1e-5)
        assert sum(row["probabilities"].values()) == pytest.approx(1)


def test_a_prediction_makes_nothing_but_its_output(here, capfd):
    before = sorted(here.rglob("*"))
    call("predict", "run=words", "input=new.csv", "output=out.jsonl")
    assert set(here.rglob("*")) - set(before) == {here / "out.jsonl"}
    out, told = capfd.readouterr()
    assert out == "" and "outputs/words, checkpoint best (step " in told and "50 rows in" in told
    with pytest.raises(ConfigError, match=r"out\.jsonl is there and holds 50 rows; overwrite=true"):
        call("predict", "run=words", "input=new.csv", "output=out.jsonl")


def test_csv_and_json_lines_say_the_same(predicted):
    rows = predicted(input="new.csv", keep="all", id="number")
    predicted(input="new.csv", keep="all", id="number", output="out.csv")
    table = read_table(Path("out.csv"))
    probabilities = ["probabilities.bad", "probabilities.good"]
    assert list(table[0]) == ["id", "review", "label", "prediction", "score", *probabilities]
    for row, cells in zip(rows, table, strict=True):
        assert row["id"] == cells["id"] and row["label"] == cells["label"] and row["review"] == cells["review"]
        assert row["score"] == float(cells["score"])
        assert list(row["probabilities"].values()) == pytest.approx(
            [float(cells[f"probabilities.{name}"]) for name in row["probabilities"]], abs=0
        )


def test_columns_of_the_input_that_a_prediction_has_too_keep_their_own(predicted):
    Path("taken.jsonl").write_text('{"review": "good film", "prediction": "mine", "id": "x7", "score": 3}\n')
    (row,) = predicted(input="taken.jsonl", keep="all")
    assert row["id"] == 1 and row["input.id"] == "x7" and row["input.prediction"] == "mine" and row["input.score"] == 3
    assert row["prediction"] in ("good", "bad") and row["review"] == "good film"
    (row,) = predicted(input="taken.jsonl", keep=[])
    assert list(row) == ["id", "prediction", "score", "probabilities"]


def test_the_same_rows_come_out_whatever_they_come_in(predicted):
    rows = predicted(input="new.csv")
    texts = [review(number)[0] for number in NEW]
    Path("same.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
    Path("same.txt").write_text("".join(f"{text}\n" for text in texts))
    Path("same.tsv").write_text("review\n" + "".join(f"{text}\n" for text in texts))
    assert predicted(input="same.txt") == predicted(input="same.tsv") == rows
    for body in (
        predicted(input="same.jsonl", columns={"text": "body"}),
        predicted(input="same.jsonl", data__text="body"),
    ):
        assert [{**row, "review": row["body"]} for row in body] == [{**row, "body": row["review"]} for row in rows]


def test_a_folder_of_texts_is_predicted_file_by_file_sorted(here, predicted):
    (here / "notes/b").mkdir(parents=True)
    files = {"z.txt": "a good film", "b/a": "sad rain", "b/c.eml": "\ufeffa\nbad film", ".hidden": "x", "t.csv": "x"}
    for name, text in files.items():
        (here / "notes" / name).write_text(text)
    rows = predicted(input="notes/")
    assert [row["id"] for row in rows] == ["b/a", "b/c.eml", "z.txt"] and list(rows[0])[:2] == ["id", "prediction"]
    assert predicted(input="notes/z.txt")[0]["probabilities"] == pytest.approx(rows[2]["probabilities"])


def test_a_text_and_prompts_are_rows(predicted):
    (row,) = predicted(input="A good film, isn't it? (yes)")
    assert row["review"] == "A good film, isn't it? (yes)" and row["id"] == 1
    assert [row["prompt"] for row in predicted(input=None, prompt=["one", "two"])] == ["one", "two"]


def test_a_batch_size_that_is_asked_for_changes_no_prediction(predicted):
    rows, small = predicted(input="new.csv"), predicted(input="new.csv", engine__batch_size=3)
    for row, other in zip(rows, small, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_predictions_go_to_standard_output_and_all_else_to_standard_error(predicted, capfd):
    predicted(input="new.csv", output="-")
    out, told = capfd.readouterr()
    assert [json.loads(line)["id"] for line in out.splitlines()] == list(range(1, 51))
    assert "50 rows in" in told


def test_lines_of_standard_input_are_rows_and_those_that_are_there_do_not_wait(predicted, monkeypatch):
    reader, writer = os.pipe()
    os.write(writer, "\ufeffa good film\r\n\nsad".encode())
    written = []

    def write(self, records):
        if not written:
            assert [record["id"] for record in records] == [1]
            os.write(writer, b" rain\nlast \xff line\nend")
            os.close(writer)
        written.extend(records)

    monkeypatch.setattr(prediction_output.Stream, "write", write)
    with os.fdopen(reader) as file:
        monkeypatch.setattr(sys, "stdin", file)
        predicted(input="-", output="-", on_bad_sample="skip")
    assert [record["id"] for record in written] == [1, 3, 4, 5]
    assert [record.get("review") for record in written] == ["a good film", "sad rain", None, "end"]
    assert "0xff" in written[2]["error"]


# ---- Rows that cannot be read ---------------------------------------------------------------------------------------

BROKEN = '{"review": "good"}\n{"review": 7}\n[1]\n{"text": "x"}\n\n{"review": "bad"}\n{"review": "\\ud800"}\n'


def test_the_first_row_that_cannot_be_read_is_named_with_its_line(here, predicted):
    Path("broken.jsonl").write_text(BROKEN)
    with pytest.raises(DataError, match=r"broken\.jsonl, line [23]: .*on_bad_sample=skip"):
        predicted(input="broken.jsonl")
    assert not list(here.glob("out.*"))


def test_rows_that_cannot_be_read_keep_their_place_and_tell_why(predicted, capsys):
    Path("broken.jsonl").write_text(BROKEN)
    rows = predicted(input="broken.jsonl", on_bad_sample="skip")
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert ["error" in row for row in rows] == [False, True, True, True, False, True]
    for row, line, words in zip(rows[1:4] + rows[5:], (2, 3, 4, 7), ("int", "object", "`review`", "sur"), strict=True):
        assert f"broken.jsonl, line {line}:" in row["error"] and words in row["error"], row
    assert "4 could not be read" in capsys.readouterr().err
    predicted(input="broken.jsonl", on_bad_sample="skip", output="out.csv")
    assert [bool(row["error"]) for row in read_table(Path("out.csv"))] == ["error" in row for row in rows]


def test_a_row_of_a_text_is_called_by_its_line_also_where_it_cannot_be_read(predicted):
    Path("gaps.txt").write_bytes(b"good film\n\n\nsad\nbroken \xff line\nlovely\n\xff")
    rows = predicted(input="gaps.txt", on_bad_sample="skip")
    assert [(row["id"], "error" in row) for row in rows] == [(1, False), (4, False), (5, True), (6, False), (7, True)]


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_predicted(here, predicted):
    some = write_pictures(here / "some", Digits([]).read().images[:3])
    (some / "0001.png").write_bytes(b"no picture")
    rows = predicted("ft", input="some", on_bad_sample="skip")
    assert ["error" in row for row in rows] == [False, True, False] and "some/0001.png" in rows[1]["error"]
    with pytest.raises(DataError, match=r"0001\.png"):
        predicted("ft", input="some")


# ---- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "kind", "told"),
    [
        ("words", {"input": "new.csv", "data__text": "reviw"}, ConfigError, "no column `reviw`; did you mean `review`"),
        ("words", {"input": "new.csv", "columns": {"txt": "a"}}, ConfigError, "columns.txt: .* read `review`"),
        ("words", {"input": "new.csv", "id": "nr"}, ConfigError, "id=nr: the input has no such column"),
        ("words", {"input": "new.csv", "keep": ["lable"]}, ConfigError, "did you mean `label`"),
        ("words", {"input": "some text", "id": "nr"}, ConfigError, "only a table has columns"),
        ("words", {"input": "lines.txt", "id": "nr"}, ConfigError, "only a table has columns"),
        ("words", {"input": "lines.txt", "keep": ["nr"]}, ConfigError, "only a table has columns"),
        ("words", {"input": "good", "data__text_pair": "b"}, ConfigError, "reads `review`, `b` of each row"),
        ("words", {"input": "new.csv", "data__text_pair": "b"}, ConfigError, "no column `b`"),
        ("ft", {"input": "some text"}, ConfigError, "this run reads pictures"),
        ("ft", {"input": None, "prompt": "some text"}, ConfigError, "this run reads pictures"),
        ("words", {"input": "x.png"}, ConfigError, "is a picture, and this run reads texts"),
        ("words", {"input": "empty.csv"}, ConfigError, "holds no rows"),
        ("words", {"input": "void"}, DataError, "holds no texts"),
        ("words", {"input": "new.csv", "checkpoint": "77"}, CheckpointError, "77"),
        ("words", {"input": "list.json"}, DataError, "json lines"),
    ],
    ids=str,
)
def test_what_cannot_be_predicted_is_told_and_leaves_nothing(here, predicted, name, settings, kind, told):
    Path("empty.csv").write_text("review,label\n")
    Path("x.png").write_bytes(b"")
    Path("lines.txt").write_text("good\n")
    Path("list.json").write_text("[]")
    Path("void").mkdir(exist_ok=True)
    with pytest.raises(kind, match=told):
        predicted(name, **settings)
    assert not list(here.glob("out.*"))


def test_a_task_that_says_nothing_of_single_examples_is_refused(predicted, monkeypatch):
    monkeypatch.delattr(Classification, "decode")
    with pytest.raises(ConfigError, match="task Classification, which says nothing"):
        predicted(input="good")


def test_a_run_that_never_began_is_refused(predicted):
    spec = Path("outputs/words/model/preprocessing.json")
    text = spec.read_text()
    spec.unlink()
    try:
        with pytest.raises(CheckpointError, match=r"has no model/preprocessing\.json"):
            predicted(input="good")
    finally:
        spec.write_text(text)


def test_cells_that_a_spreadsheet_would_take_for_formulas_are_made_plain(predicted):
    with Path("risky.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["review", "=x"], ["=1+1", "-5"], ["@good", "+a\rb"], ["-3.5", 'say "x"\n']])
    predicted(input="risky.csv", output="out.csv", keep="all")
    rows = read_table(Path("out.csv"))
    assert [row["review"] for row in rows] == ["'=1+1", "'@good", "-3.5"]
    assert [row["'=x"] for row in rows] == ["-5", "'+a\rb", 'say "x"\n']
