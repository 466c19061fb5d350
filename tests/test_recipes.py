"""Every YAML that ships builds and trains two steps."""

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from ptft.cli import _Command
from ptft.config.hydra_app import launch
from tests import samples, text_folders
from tests.tiny_models import transformers_folder

CONFIGS = Path(__file__).parents[1] / "configs"
SHORT = ("engine.max=2st", "engine.batch_size=8", "engine.evaluation_batches=1", "engine.precision=fp32", "name=run")
TINY_BERT = ("model=text/bert_tiny", "model.layers=1", "model.width=16", "model.mlp=32")
"""A model of text that trains in no time."""
BLOCKS = {"text/brown": "masked", "text/corpus": "masked", "text/shakespeare": "causal"}
"""Data of raw text, with the layout that they are tried in."""
TEXT_TASKS = {
    "text/causal": ("data=text/corpus", "data.layout=causal", "model=text/gpt_nano"),
    "text/masked": ("data=text/corpus", *TINY_BERT),
    "text/pretraining": ("data=text/corpus", "data.layout=pairs", *TINY_BERT),
    "text/question_answering": ("data=text/squad", *TINY_BERT),
    "text/token_classification": ("data=text/conll", *TINY_BERT),
    "multi_label": ("data=text/table", "data.target=labels", "data.label=topics", "model=text/cnn"),
    "regression": ("data=text/table", "data.target=value", "data.label=stars", "model=text/cnn"),
}
"""What a task that reads text, or other labels than one class, is tried on."""
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")

MODELS = {"vision/gan": "vision/dcgan", "vision/masked": "vision/vit_tiny"}
"""The model of a task that does not take any."""
SMALLER = {
    "vision/vit_b_16": ("model.patch_size=4", "model.depth=2", "model.width=24", "model.mlp=48"),
    "text/bert_base": ("model.layers=2", "model.width=24", "model.heads=2", "model.mlp=48"),
    "text/bert_small": ("model.width=64", "model.mlp=48"),
    "text/gpt2": ("model.layers=2", "model.width=24", "model.heads=2"),
}
"""What makes a model fit images of 8x8, or a second."""
WIDER = ("vision/vgg11", "vision/vgg16", "vision/convnext_tiny", "vision/swin_t")
"""Models that are tried on pictures of 32x32."""


def options(group):
    return sorted(str(path.relative_to(CONFIGS / group).with_suffix("")) for path in (CONFIGS / group).rglob("*.yaml"))


def header(option):
    return (CONFIGS / "experiment" / f"{option}.yaml").read_text()


def needs_data(text):
    """Skip, with the reason, where a data set is not on this machine."""
    if "fashion_mnist" in text and not FASHION_MNIST.is_dir():
        pytest.skip("Fashion-MNIST is not here: Debian's package dataset-fashion-mnist brings it")


def tiny_data(text):
    """Return the overrides that put a small set of the same format in the place of the data a config names."""
    needs_data(text)
    if "vision/image_folder" in text:
        weights = ["init_from=null"] if "init_from: torchvision" in text else []
        return [f"data.path={samples.image_folder(Path('pictures'))}", *weights]
    if "vision/emoji" in text:
        return [f"data.path={samples.emoji(Path('emoji'))}"]
    for classes in (100, 10):
        if f"vision/cifar{classes}" in text:
            return [f"data.path={samples.cifar(Path('cifar'), classes)}"]
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    if "text/qa_tiny" in text:
        return ["data.paragraphs=120"]
    for option, make in text_folders.MAKERS.items():
        if option in text:
            cached = ["data.cache_folder=cache"] if option in BLOCKS else []
            if text.endswith("text/transformers") or "override /model: text/transformers" in text:
                cached.append(f"model.name={text_folders.bert_folder(Path('tiny').absolute())}")
            return [f"data.path={make(Path('texts'))}", *cached]
    return []


HEAVY = ("vision/vgg11", "vision/vgg16", "text/bert_base")
"""Models of many weights whose class a smaller one has; make test-slow trains them."""


@pytest.mark.parametrize(
    "option", [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in options("model")]
)
def test_every_model_trains(ptft, option):
    if option == "vision/dcgan":
        ptft("pretrain", "task=vision/gan", "augmentation=none", f"model={option}", *SHORT)
    elif option.startswith("text/"):
        table = ("data=text/table", *tiny_data(f"text/table {option}"), "data.max_length=32")
        ptft("finetune", f"model={option}", *table, *SMALLER.get(option, ()), *SHORT)
    else:
        # Momentum would make the checkpoints of the largest models two gigabytes.
        lean = ("optimizer=sgd", "optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.lr=1e-3")
        wider = ()
        if option in WIDER:
            wider = ("data=vision/image_folder", f"data.path={samples.image_folder(Path('pictures'))}", "data.size=32")
        if option == "vision/transformers":
            wider = (f"model.name={transformers_folder(Path('tiny').absolute())}",)
        if option == "vision/timm":
            pytest.importorskip("timm", reason="timm is an extra")
        ptft("finetune", f"model={option}", *wider, *SMALLER.get(option, ()), *lean, *SHORT)
    assert Path("outputs/run/summary.json").exists()


def test_a_table_alone_trains(ptft):
    ptft("finetune", "data=text/table", *tiny_data("text/table"), *SHORT)
    assert "text.cnn" in Path("outputs/run/config.yaml").read_text()


@pytest.mark.parametrize("option", options("data"))
def test_every_data_set_trains(ptft, option):
    if option in BLOCKS:
        causal = BLOCKS[option] == "causal"
        model = ("model=text/gpt_nano", "task=text/causal") if causal else (*TINY_BERT, "task=text/masked")
        data = (f"data={option}", *tiny_data(option), f"data.layout={BLOCKS[option]}")
        ptft("pretrain", *data, *model, "augmentation=none", *SHORT)
        return
    model = TINY_BERT if option.startswith("text/") else ()
    task = {"text/conll": "text/token_classification", "text/people_daily": "text/token_classification"}.get(option)
    task = "text/question_answering" if option in ("text/squad", "text/qa_tiny") else task
    ptft("finetune", f"data={option}", *tiny_data(option), *model, f"task={task or 'classification'}", *SHORT)


@pytest.mark.parametrize("option", options("task"))
def test_every_task_trains_and_is_evaluated(ptft, option):
    made = (f"model={MODELS.get(option, 'vision/convnet')}",)
    if option in TEXT_TASKS:
        made = (*TEXT_TASKS[option], *tiny_data(TEXT_TASKS[option][0]), "augmentation=none")
    ptft("pretrain", f"task={option}", *made, *SHORT)
    ptft("evaluate", "run=run", "name=evaluated")
    assert Path("outputs/evaluated/summary.json").exists()


@pytest.mark.parametrize("group", ["optimizer", "schedule", "augmentation", "adapt"])
def test_every_option_of_a_group_trains(ptft, group):
    for number, option in enumerate(options(group)):
        ptft("finetune", f"{group}={option}", *SHORT, f"name=run{number}")


@pytest.mark.parametrize("option", options("logger"))
def test_every_logger_writes(ptft, option):
    ptft("finetune", f"logger=[{option}]", *SHORT)
    assert any(Path("outputs/run", option).iterdir())


@pytest.mark.parametrize("option", options("debug"))
def test_every_debug_preset_runs(ptft, option):
    ptft("finetune", f"debug={option}", "model=vision/mlp", "engine.precision=fp32", "engine.max=20st", "name=run")
    assert Path("outputs/run/summary.json").exists()
    assert Path("outputs/run/report/profile.json").exists() == (option == "profile")


RECOVERIES = {"recover", "recover_between", "duration", "qat"}
"""Settings of compression steps that say how long they train."""


def short_steps(steps):
    """Return the overrides that make the named steps of a pipeline quick."""
    found = []
    for name, step in steps.items():
        settings = yaml.safe_load((CONFIGS / "compression" / f"{step}.yaml").read_text())
        found += [f"compression.steps.{name}.{key}=2st" for key in settings if key in RECOVERIES and settings[key]]
        found += [f"compression.steps.{name}.samples=16" for key in settings if key == "samples"]
        found += [f"compression.steps.{name}.iterations=1" for key in settings if key == "iterations"]
        found += [f"compression.steps.{name}.keep=1" for key in settings if key == "keep" and settings[key]]
        found += [f"compression.steps.{name}.widths={{blocks.0.0:4}}" for key in settings if key == "widths"]
    return found


def steps_of(pipeline):
    """Return the step of each name in a pipeline, as `steps/prune_channels`."""
    defaults = yaml.safe_load((CONFIGS / "compression" / f"{pipeline}.yaml").read_text())["defaults"]
    pairs = (entry.split("@steps.") for entry in defaults if "@" in entry)
    return {name: step for step, name in pairs}


UNTIMED = ("compression.measure.rounds=1", "compression.measure.batch_sizes=[1]", "compression.measure.memory=false")


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """A folder with two tiny runs to compress: `pictures` and `texts`."""
    place = tmp_path_factory.mktemp("parents")

    def finetune(*arguments):
        launch("finetune", arguments, lambda config, invocation: _Command("finetune")(config, invocation))

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        finetune(*SHORT[:-1], "name=pictures")
        table = tiny_data("text/table")
        deeper = ("model=text/bert_tiny", "model.layers=4", "model.width=16", "model.heads=4", "model.mlp=32")
        finetune("data=text/table", *table, "data.max_length=16", *deeper, *SHORT[:-1], "name=texts")
    return place


PIPELINES = [name for name in options("compression") if not name.startswith("steps/")]
IN_RECIPES = ("prune_int8", "int8_dynamic", "drop_layers_int8", "prune_heads_int8")
"""Pipelines that recipes are made of, which run anyway; make test-slow runs them alone too."""
REPEATED = (*IN_RECIPES, "prune", "bf16")
"""The same, a part of one, and bf16, which is fp16 but for a word."""


@pytest.mark.parametrize(
    "pipeline", [pytest.param(name, marks=pytest.mark.slow) if name in REPEATED else name for name in PIPELINES]
)
def test_every_pipeline_compresses(ptft, parents, pipeline):
    if "openvino" in pipeline and not (find_spec("openvino") and find_spec("nncf")):
        pytest.skip("openvino and nncf are an extra")  # importing them here would let them report
    shutil.copytree(parents, ".", dirs_exist_ok=True)
    steps = steps_of(pipeline)
    of_texts = any(step in ("steps/prune_heads", "steps/drop_layers", "steps/int8_dynamic") for step in steps.values())
    parent = "texts" if of_texts else "pictures"
    ptft("compress", f"run={parent}", f"compression={pipeline}", *short_steps(steps), *UNTIMED, "name=small")
    assert Path("outputs/small/model/artefact.json").exists()
    ptft("evaluate", "run=small", "name=evaluated")


def test_every_pipeline_of_a_recipe_is_in_one_that_is_not_slow():
    quick = "".join(header(name) for name in COMPRESSING if name not in LONG)
    assert all(re.search(rf"override /compression: {name}$", quick, re.MULTILINE) for name in IN_RECIPES)


def test_every_step_is_part_of_a_pipeline():
    used = {step for pipeline in PIPELINES for step in steps_of(pipeline).values()}
    assert used == {name for name in options("compression") if name.startswith("steps/")}


def parent_of(text):
    """Return the recipe that a recipe of compressing goes on from, as its header says."""
    return re.search(r"after +ptft finetune experiment=(\S+)", text)[1]


COMPRESSING = [name for name in options("experiment") if name.startswith("compress/")]
LONG = ("compress/fashion_mnist_search", "compress/fashion_mnist_vgg", "compress/emoji_mobilenetv2")
"""Recipes that judge all of a large data set at every stage, or a deep network; make test-slow runs them."""


@pytest.mark.parametrize(
    "option", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in COMPRESSING]
)
def test_every_recipe_of_compressing_compresses(ptft, option):
    text = header(option)
    parent, pipeline = parent_of(text), re.search(r"override /compression: (\S+)", text)[1]
    ptft("finetune", f"experiment={parent}", *tiny_data(header(parent)), *SHORT[:-1], "name=parent")
    short = [*short_steps(steps_of(pipeline)), "compression.max_drop=null", "compression.ratios=[0.3]"]
    ptft("compress", "run=parent", f"experiment={option}", *short, *UNTIMED, "name=small")
    assert Path("outputs/small/summary.json").exists()


@pytest.mark.parametrize("option", [name for name in options("experiment") if not name.startswith("compress/")])
def test_every_recipe_trains_two_steps(ptft, option):
    text = header(option)
    verb = "pretrain" if "\ncommand: pretrain" in text else "finetune"
    # Looking for neighbours among all examples is as slow as 100 steps.
    few = (
        ["task.neighbour_examples=64"]
        if re.search(r"override /task: vision/(masked|rotation|contrastive)", text)
        else []
    )
    ptft(verb, f"experiment={option}", *tiny_data(text), *SHORT, *few)
    assert Path("outputs/run/summary.json").exists()


@pytest.mark.parametrize("option", options("experiment"))
def test_every_recipe_says_what_it_costs_and_what_it_scores(option):
    text = header(option)
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#")).lower()
    for word in (f"experiment={option}", "cost", "score"):
        assert word in comments, f"the header of {option} does not tell: {word}"
