"""A table from the command line: trained on, evaluated by a column, and refused in words."""

import json

import pytest

from ptft.data.text.table import TextTable
from ptft.errors import ConfigError, DataError
from tests.text_samples import write_opinions

SMALL = {
    "data": "text/table",
    "data.path": "rows.csv",
    "data.tokenizer.vocab_size": 100,
    "data.max_length": 16,
    "model": "text/cnn",
    "engine.max": "2st",
    "engine.batch_size": 8,
}


def test_a_csv_is_trained_on_and_its_bad_rows_are_listed(ptft, tmp_path):
    with write_opinions(tmp_path / "rows.csv", 60).open("a") as file:
        file.write("cut off\n")
    with pytest.raises(DataError, match=r"^rows\.csv, line 62: 1 fields.*data\.on_bad_sample=skip"):
        TextTable((), path=str(tmp_path / "rows.csv")).setup()
    ptft("finetune", "data.on_bad_sample=skip", "data.max_bad=0.05", name="a", **SMALL)
    run = tmp_path / "outputs" / "a"
    left_out = json.loads((run / "bad_samples.jsonl").read_text())
    assert (left_out["file"], left_out["line"]) == ("rows.csv", 62)
    assert (run / "model" / "tokenizer.json").is_file()
    header, first = (run / "predictions.csv").read_text().splitlines()[:2]
    assert header == "index,label,prediction,score,path"
    index, *_, place = first.split(",")
    assert place == f"rows.csv:{int(index) + 2}"


def test_columns_are_named_in_the_config(tmp_path):
    path = str(write_opinions(tmp_path / "rows.csv"))
    settings = {"path": path, "tokenizer": {"vocab_size": 100}}
    stars = TextTable((), label="stars", target="value", **settings)
    stars.setup()
    assert stars.spec.target == "value" and set(stars.attributes()) == {"label", "topics", "shop"}
    topics = TextTable((), label="topics", target="labels", **settings)
    topics.setup()
    assert topics.spec.classes == ("look", "price")
    pairs = TextTable((), text_pair="topics", **settings)
    assert pairs.fields == ("text", "topics") and stars.fields == ("text",)
    with pytest.raises(ConfigError, match="name one column twice: text, text"):
        TextTable((), label="text", **settings)
    with pytest.raises(ConfigError, match=r"data\.label is null"):
        TextTable((), label=None, **settings)
    with pytest.raises(ConfigError, match="there is no such encoding"):
        TextTable((), encoding="klingon", **settings)


def test_pairs_to_predict_on_may_call_their_fields_by_the_usual_names(tmp_path):
    import torch

    path = write_opinions(tmp_path / "rows.csv")
    data = TextTable((), path=str(path), text_pair="shop", tokenizer={"vocab_size": 100}, max_length=32)
    data.setup()
    rows = [{"text": "a fine cat", "shop": "shop1"}, {"text": "a fine cat", "text_pair": "shop1"}]
    batch = data.batch_of(rows, torch.device("cpu"))
    assert batch["input_ids"][0].equal(batch["input_ids"][1]) and batch["token_type_ids"].any()
