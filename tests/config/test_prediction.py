"""The keys of predict: what is typed as it is, what is refused at the door, what is there already."""

import json

import pytest
from omegaconf import OmegaConf

from ptft.config.arguments import parse_arguments, parse_overrides
from ptft.config.interpolation import resolve
from ptft.config.prediction import check_prediction


@pytest.mark.parametrize(
    "text",
    [
        "plain", "a, b (c) = {d} [e]!", "it's \"so\"", "a \\ b \\\\ c\\", "costs ${5} and \\${x}", '"he" said "x"',
        "[MASK] is a city", "他说/她说，好!", "end\\'", "$", "5", "true", "two\nlines$", " null", "a=b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["input", "prompt"])
def test_a_text_is_taken_as_it_is_typed(text, key):
    (override,) = parse_overrides(parse_arguments("predict", [f"{key}={text}"]).overrides)[0]
    config = OmegaConf.create({key: None})
    OmegaConf.update(config, key, override.value())
    assert resolve(config) == ({key: text}, [])


def test_prompts_may_be_a_list_and_values_may_be_quoted_or_null(ptft, saved_run):
    saved_run("ft")
    assert ptft("predict", "run=ft", "prompt=[a, 'b, c']").config["prompt"] == ["a", "b, c"]
    config = ptft("predict", "run=ft", "prompt=costs ${a} b", "input=null", "output=it's.jsonl").config
    assert config["prompt"] == "costs ${a} b" and config["output"] == "it's.jsonl"


def test_other_verbs_keep_the_grammar_of_hydra():
    assert parse_arguments("finetune", ["name=a,b"]).overrides == ("name=a,b",)
    assert not parse_overrides(parse_arguments("predict", ["output=it's.jsonl"]).overrides)[1]


def test_predict_takes_over_how_the_task_was_built_and_makes_no_name(ptft, saved_run):
    saved_run("ft", "model=vision/vgg", "model.widths=[8,8]", "model.depths=[1,1]", "logger=tensorboard")
    config = ptft("predict", "run=ft", "input=a word", "engine.batch_size=7", "columns.text=review").config
    assert config["model"]["widths"] == [8, 8] and config["engine"]["batch_size"] == 7
    assert config["columns"] == {"text": "review"} and config["output"] == "-" and config["command"] == "predict"
    assert not {"name", "optimizer", "split", "logger"} & set(config) - {"logger"} and not config.get("logger")


def test_all_that_is_wrong_is_told_at_once(refused, saved_run):
    saved_run("ft")
    message = refused(
        "predict", "run=ft", "output=x.json", "optimizer.lr=1", "engine.max=3ep", "keep=3", "on_bad_sample=skp"
    )
    for words in ("so is prompt=", ".jsonl or .csv", "no effect on a prediction", "`read`", "did you mean `skip`"):
        assert words in message, message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"input": "a b", "prompt": "c"}, ["drop one of the two"]),
        ({"input": "no.csv"}, ["there is no no.csv", "did you mean `now.csv`"]),
        ({"input": "./nowhere"}, ["there is no ./nowhere"]),
        ({"input": "far/away.csv"}, ["there is no folder far"]),
        ({"input": " "}, ["is an empty text"]),
        ({"input": None, "prompt": []}, ["at least one"]),
        ({"output": "far/x.csv"}, ["there is no folder far"]),
        ({"input": "now.csv", "output": "./now.csv"}, ["is what input= reads"]),
        ({"output": "folder"}, ["is a folder", "folder/predictions.jsonl"]),
        ({"resume": True}, ["is standard output"]),
        ({"output": "x.csv", "resume": True, "overwrite": True}, ["cannot stand beside resume=true"]),
    ],
    ids=str,
)
def test_wrong_inputs_and_outputs_are_told(here, settings, words):
    (here / "now.csv").write_text("text\na\n")
    (here / "folder").mkdir()
    (told,) = complaints(**settings)
    for word in words:
        assert word in told, told


def complaints(**config):
    return [text for _, text in check_prediction({"input": "a word", "prompt": None, "output": "-", **config})]


def test_what_is_there_already_is_never_written_over_unless_it_is_said(tmp_path):
    output = tmp_path / "out.jsonl"
    named = {"output": str(output), "resume": False, "overwrite": False}
    assert complaints(**named) == []
    part = tmp_path / "out.jsonl.part"
    part.write_text('{"id": 1}\n{"id": 2}\n{"i')
    (tmp_path / "out.jsonl.part.json").write_text(json.dumps({"rows": 41200}))
    (told,) = complaints(**named)
    assert (
        "out.jsonl.part holds 2 of 41,200 rows" in told and "resume=true goes on" in told and "overwrite=true" in told
    )
    assert complaints(**{**named, "resume": True}) == complaints(**{**named, "overwrite": True}) == []
    part.rename(output)
    for settings in (named, {**named, "resume": True}):
        (told,) = complaints(**settings)
        assert "out.jsonl is there and holds 2 rows" in told and "overwrite=true" in told
        assert ("no stopped prediction is there" in told) == settings["resume"]
    assert complaints(**{**named, "overwrite": True}) == []


def test_a_text_as_long_as_a_page_is_no_path():
    assert complaints(input="word " * 2000) == [] and complaints(input="a/b c.d e") == []


def test_devices_are_written_as_they_are():
    assert complaints(output="/dev/null", resume=False, overwrite=False) == []
