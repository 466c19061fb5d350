"""The keys of compress: what is taken over from the run, how steps are set, what is refused at the door."""

import json

import pytest

from ptft.config.compression import is_unfinished

PRUNE_INT8 = ("compress", "run=ft", "compression=prune_int8")


def test_how_the_run_was_trained_is_taken_over(ptft, saved_run):
    saved_run("ft", "model=vision/vgg", "model.widths=[8,8]", "model.depths=[1,1]", "optimizer.lr=0.02")
    config = ptft(*PRUNE_INT8, "name=small").config
    assert config["model"]["widths"] == [8, 8] and config["optimizer"]["lr"] == 0.02
    assert list(config["compression"]["steps"]) == ["prune", "int8"]
    assert config["compression"]["recovery"]["temperature"] == 4.0 and config["command"] == "compress"


def test_a_step_is_set_taken_out_and_added_by_key(ptft, saved_run):
    saved_run("ft")
    config = ptft(
        *PRUNE_INT8, "compression.steps.prune.ratio=0.7", "compression.steps.int8=null",
        "+compression/steps@compression.steps.rank=low_rank", "compression.steps.rank.energy=0.9", "name=small",
    ).config  # fmt: skip
    steps = config["compression"]["steps"]
    assert list(steps) == ["prune", "rank"]
    assert steps["prune"]["ratio"] == 0.7 and steps["rank"]["energy"] == 0.9


def test_a_pipeline_may_lie_in_a_folder_of_one_s_own(ptft, saved_run, here):
    saved_run("ft")
    (here / "conf/compression").mkdir(parents=True)
    (here / "conf/compression/mine.yaml").write_text(
        "# Half precision of a pruned network\n"
        "defaults:\n  - steps/prune_channels@steps.first\n  - steps/fp16@steps.second\n"
        "steps:\n  first:\n    ratio: 0.9\n"
    )
    config = ptft("compress", "run=ft", "--config-dir", "conf", "compression=mine", "name=small").config
    assert config["compression"]["steps"]["first"]["ratio"] == 0.9
    assert list(config["compression"]["steps"]) == ["first", "second"]


def test_all_that_is_wrong_is_told_at_once(refused, saved_run):
    saved_run("ft")
    message = refused(
        *PRUNE_INT8, "compression.steps.prune.ratoi=1", "compression.steps.prune.importance=tailor",
        "compression.steps.int8.samples=0", "engine.max=3ep", "compression.ratios=[0.5,0.2]", "compression.search=true",
        "compression.max_drop=-1",
    )  # fmt: skip
    for words in (
        "did you mean `compression.steps.prune.ratio`", "did you mean `taylor`", "compression.steps.int8.samples",
        "compression.steps.<name>.recover", "ratios that rise", "compression.max_drop",
    ):  # fmt: skip
        assert words in message, message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["compression.steps.int8=null"], "holds no step"),
        (["compression.budget=3"], "add compression.search=true"),
        (["compression.measure.batch_sizes=[]"], "at least one size"),
        (["+compression/steps@compression.steps.parent=fp16"], "plain name"),
        (["compression=int9"], "did you mean"),
        (["compression.steps.int8._target_=os.system"], "may not be built here"),
        (["+compression.steps.int8.inner._target_=os.system"], "_target_"),
        (["+compression.recovery._target_=os.system"], "_target_"),
        (["model.width=3"], "the model is that of the run"),
    ],
)
def test_what_means_nothing_is_refused_with_what_to_do(refused, saved_run, settings, words):
    saved_run("ft")
    assert words in refused("compress", "run=ft", *settings)


def test_other_verbs_take_no_compression(refused, saved_run):
    assert "compression" in refused("finetune", "+compression.max_drop=1")


def test_a_recipe_is_for_its_verb(refused, saved_run):
    saved_run("ft")
    assert "ptft compress experiment=compress/digits" in refused("finetune", "experiment=compress/digits")


@pytest.mark.parametrize(
    ("command", "status", "unfinished"),
    [
        ("compress", "running", True),
        ("compress", "interrupted", True),
        ("compress", "failed", True),
        ("compress", "done", False),
        ("finetune", "interrupted", False),
    ],
)
def test_only_a_stopped_compression_is_gone_on_with(tmp_path, command, status, unfinished):
    (tmp_path / "run.json").write_text(json.dumps({"command": command, "status": status}))
    assert is_unfinished(tmp_path) is unfinished


def test_typing_the_command_of_a_stopped_one_again_goes_on_with_it(ptft, saved_run, here):
    saved_run("ft")
    folder = here / "outputs/small"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"command": "compress", "status": "interrupted"}))
    assert ptft(*PRUNE_INT8, "name=small").invocation.resume.name == "small"


def test_a_finished_one_is_not_written_over(refused, saved_run, here):
    saved_run("ft")
    folder = here / "outputs/small"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"command": "compress", "status": "done"}))
    assert "overwrite=true" in refused(*PRUNE_INT8, "name=small")
