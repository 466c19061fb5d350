"""Every mistake on a command line is told, all at once, with the nearest name and where it stands."""

import re

import pytest

from ptft.config.tree import GROUPS, Tree

CASES = [
    # misspelt names
    (["optmizer.lr=1"], ["there is no key `optmizer`", "did you mean `optimizer.lr`?", "(command line)"]),
    (["modle=vision/vgg"], ["there is no key `modle`", "did you mean `model`?"]),
    (["optimizer=adamm"], ["optimizer has no option `adamm`", "`optimizer=adam`", "there are: adam, adamw, sgd"]),
    (["model=vgg"], ["model has no option `vgg`", "`model=vision/vgg`"]),
    (["data=vision/digitts"], ["`data=vision/digits`"]),
    (["engine.batchsize=3"], ["`engine.batch_size`"]),
    (["engine.ema.deacy=0.9"], ["engine.ema.deacy", "did you mean `decay`?"]),
    (["model.drpout=0.1", "model=vision/vgg"], ["there is no key `drpout`", "`model.dropout`"]),
    (["+model.drpout=0.1", "model=vision/vgg"], ["VGG has no setting `drpout`; did you mean `dropout`?"]),
    (["lr=0.1"], ["did you mean `optimizer.lr`?"]),
    (["logger=[tensorbord]"], ["`logger=tensorboard`"]),
    (["engine.device=gpu"], ["takes one of `auto`, `cpu`, `cuda`, `mps`, found `gpu`"]),
    # types and ranges
    (["optimizer.lr=abc"], ["optimizer.lr", "takes a number > 0, found `abc`"]),
    (["optimizer.lr=-1"], ["takes a number > 0, found `-1`"]),
    (["optimizer.lr=nan"], ["takes a finite number"]),
    (["optimizer.lr='0.1'"], ["takes a number > 0, found `0.1` (text: drop the quotes)"]),
    (["optimizer.lr=null"], ["found null"]),
    (["engine.batch_size=0"], ["takes a whole number >= 1, found `0`"]),
    (["engine.batch_size=1.5"], ["takes a whole number >= 1, found `1.5`"]),
    (["engine.batch_size=true"], ["found true"]),
    (["engine.max=10"], ["engine.max", "takes a duration", "did you mean `10ep`?"]),
    (["engine.max=-1ep"], ["takes a duration"]),
    (["engine.max=0ep"], ["takes more than nothing"]),
    (["engine.max=10%"], ["share of the training"]),
    (["schedule.warmup=5"], ["did you mean `5ep`?"]),
    (["model=vision/vgg", "model.widths=[8,0]"], ["model.widths[1]", "whole number >= 1, found `0`"]),
    (["model=vision/vgg", "model.norm=bach"], ["one of `batch`, `group`, `none`", "did you mean `batch`?"]),
    (["overwrite=maybe"], ["true or false"]),
    (["optimizer.phases.model.lr=-1"], ["optimizer.phases.model.lr", "takes a number > 0"]),
    (["engine.early_stopping.patience=0"], ["engine.early_stopping.patience", "whole number >= 1"]),
    (["engine.ema=yes_please"], ["engine.ema", "a mapping with the keys decay, warmup"]),
    (["engine.ema.dcay=0.9"], ["`engine.ema` has no setting `dcay`; did you mean `decay`?"]),
    (["engine.swa.evry=1ep"], ["`engine.swa` has no setting `evry`; did you mean `every`?"]),
    (["engine.swa.start=75"], ["engine.swa.start", "takes a duration", "did you mean `75ep`?"]),
    (["engine.swa.every=0st"], ["engine.swa.every", "takes more than nothing"]),
    (["engine.swa.start=50%", "engine.ema.decay=0.9"], ["cannot stand beside engine.ema"]),
    (["optimizer.layer_decay=0"], ["optimizer.layer_decay", "takes a number > 0 and <= 1"]),
    (["optimizer.phases.model.layer_decay=2"], ["optimizer.phases.model.layer_decay", "takes a number > 0 and <= 1"]),
    (["optimizer.phases.model.head_multiplyer=2"], ["did you mean `head_multiplier`?"]),
    (["adapt=gradual", "adapt.every=often"], ["adapt.every", "takes a duration such as `10ep` or `auto`"]),
    (["adapt=lora", "adapt.targets=all"], ["adapt.targets", "takes `auto` or a list"]),
    (["adapt=lora", "adapt.rank=0"], ["adapt.rank", "takes a whole number >= 1"]),
    (["gate.min=0.9"], ["is required by `gate`: text"]),
    (["objective=[]"], ["takes at least one metric"]),
    (["optimizer.betas=[0.9,1.5]"], ["optimizer.betas[1]", "takes a number >= 0 and < 1, found `1.5`"]),
    (["engine.seed=99999999999999999999"], ["engine.seed", "takes a whole number >= 0 and < "]),
    (["objective=accuracy"], ["takes the form `val/accuracy:max`"]),
    (["objective=[val/loss:min,accuracy]"], ["takes the form `val/accuracy:max`, found `accuracy`"]),
    (["gate.min=0.9"], ["gate.metric", "is required"]),
    (["gate.metric=test/accuracy"], ["needs a bound"]),
    (["gate.metric=accuracy", "gate.min=1"], ["takes a metric such as `test/accuracy`"]),
    # missing, surplus, broken
    (["optimizer.lr=???"], ["needs a value: optimizer.lr=..."]),
    (["+new.key=1"], ["new", "has no such key"]),
    (["+engine.sped=1"], ["engine.sped", "did you mean `seed`?"]),
    (["~optimizer"], ["optimizer", "takes a component"]),
    (["~optimizer.lrr"], ["there is no key `lrr`"]),
    (["+model=vision/vgg"], ["drop the `+`"]),
    (["engine.max=${engine.stop_at}", "engine.stop_at=${engine.max}"], ["in a circle: engine.max -> engine.stop_at"]),
    (["engine.seed=${nothing.here}"], ["engine.seed", "nothing.here"]),
    (["optimizer.lr=${oc.env:HOME}"], ["a config never reads the environment"]),
    (["engine.seed=1,2"], ["-m runs one job for each"]),
    (["engine.seed=[1"], ["cannot be read"]),
    (["engine.seed"], ["is no setting", "write key=value"]),
    (["a=" + "[" * 60 + "]" * 60], ["nested deeper than 32"]),
    (["name=" + "x" * 20_000], ["at most 10,000"]),
    # names and runs
    (["name=../../x"], ["inside output_root"]),
    (["name=/tmp/x"], ["inside output_root"]),
    (["name=a/../../x"], ["inside output_root"]),
    (["name=" + "x" * 300], ["at most 200"]),
    (["name='a\x00b'"], ["control character"]),
    (["name=''"], ["plain name"]),
    (["output_root=''"], ["takes a folder"]),
    (["init_from=nope"], ["no run called `nope` under outputs/"]),
    (["init_from=./nope"], ["./nope does not exist"]),
    (["init_from=@latest"], ["there is no run of pretrain or finetune"]),
    (["resume=nope"], ["no run called `nope`"]),
    (["auto_resume=true"], ["needs name="]),
    # targets
    (["model._target_=os.system"], ["`os.system` may not be built here"]),
    (["model._target_=torch.load"], ["`torch.load` may not be built here"]),
    (["model._target_=builtins.open"], ["`builtins.open` may not be built here"]),
    (["model._target_=ptft.model.vision.vgg.ConfigError"], ["is not defined in", "imported there from `ptft.errors`"]),
    (["+model._args_=[a]"], ["model._args_"]),
    (["+model._partial_=true"], ["model._partial_"]),
    (["+augmentation.x={_target_:os.system}"], ["augmentation.x._target_"]),
    (["+logger.x={_target_:os.system}"], ["logger.x._target_"]),
    (["+engine.x={_target_:os.system}"], ["engine.x"]),
    (["+model.target=os.system"], ["has no setting `target`"]),
    (["+gate={metric:{_target_:os.system}}"], ["gate"]),
    (["optimizer.phases={a:{_target_:os.system}}"], ["optimizer.phases.a._target_"]),
    (["output_root=os.system", "model._target_=${output_root}"], ["`os.system` may not be built here"]),
    # flags
    (["--experimental-rerun", "x.pickle"], ["refused", "pickle"]),
    (["--experimental-r=x.pickle"], ["refused", "pickle"]),
    (["--config-path", "/tmp"], ["refused", "--config-dir"]),
    (["--config-dir", "nowhere"], ["nowhere", "does not exist"]),
    (["--plugin", "os"], ["--plugin os", "package of your own"]),
    (["--no-such-flag"], ["--no-such-flag"]),
]


@pytest.mark.parametrize(("arguments", "words"), CASES, ids=lambda value: " ".join(value)[:60])
def test_a_mistake_is_named_with_what_to_do(refused, arguments, words):
    message = refused("finetune", *arguments)
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    "key",
    ["hydra.searchpath=[file:///]", "+hydra.callbacks.x._target_=os.system", "hydra.job_logging.x=1",
     "hydra.mode=MULTIRUN",
     "hydra/job_logging=default", "hydra.job.chdir=true", "hydra={a:1}", "+hydra/callbacks=x", "hydra.output_subdir=x",
     "hydra.launcher._target_=os.system", "+hydra.sweeper.x={_target_:os.system}", "hydra.job.env_set={A:b}",
     "hydra/launcher@hydra.callbacks.x=basic", "hydra/output=default"],
)  # fmt: skip
def test_hydras_own_settings_are_refused(refused, key):
    assert "of Hydra's own settings" in refused("finetune", key)


def test_two_mistakes_are_told_at_once_and_so_are_six(refused):
    two = refused("finetune", "optmizer.lr=1", "engine.batch_size=0")
    assert "2 problems" in two and "optmizer" in two and "engine.batch_size" in two
    six = refused(
        "finetune", "modle=x", "optimizer=adamm", "engine.max=10", "init_from=nope", "name=../x", "hydra.mode=RUN"
    )
    assert "6 problems" in six, six


def test_the_file_and_line_of_a_mistake_are_named(refused, here):
    (here / "my" / "experiment").mkdir(parents=True)
    (here / "my" / "optimizer").mkdir()
    (here / "my" / "experiment" / "bad.yaml").write_text("# @package _global_\n# Mine\nengine:\n  batch_size: 0\n")
    (here / "my" / "optimizer" / "mine.yaml").write_text("_target_: ptft.optimizer.sgd.sgd\nlrr: 1\nlr: 0.1\n")
    message = refused("finetune", "--config-dir", "my", "experiment=bad", "optimizer=mine", "engine.seed=-1")
    assert "engine.batch_size  (my/experiment/bad.yaml:4)" in message
    assert "optimizer.lrr  (my/optimizer/mine.yaml:2)" in message
    assert "engine.seed  (command line)" in message


def test_an_experiment_names_its_verb(refused, here):
    (here / "my" / "experiment").mkdir(parents=True)
    (here / "my" / "experiment" / "mine.yaml").write_text("# @package _global_\ncommand: finetune\n")
    message = refused("pretrain", "--config-dir=my", "experiment=mine")
    assert "type: ptft finetune experiment=mine" in message


def test_the_config_is_complete_plain_and_named(ptft):
    recorder = ptft(
        "finetune", "name=7", "engine.ema.decay=0.5", "schedule.warmup=5%", "optimizer.phases.model.lr=1e-4"
    )
    config = recorder.config
    assert config["command"] == "finetune" and config["name"] == "7" and config["output_root"] == "outputs"
    assert config["engine"]["ema"] == {"decay": 0.5} and config["schedule"]["warmup"] == "5%"
    assert config["optimizer"]["phases"] == {"model": {"lr": 1e-4}}
    assert config["augmentation"] == {} and config["logger"] == {} and config["experiment"] is None
    invocation = recorder.invocation
    assert invocation.argv[:3] == ("ptft", "finetune", "name=7") and invocation.job is None
    assert invocation.choices["model"] == "vision/convnet" and invocation.hydra["run"]["dir"] == "."


DOUBTFUL = ("compression", "engine", "experiment", "sweep")
"""Groups whose options tests/test_recipes.py runs with settings of its own, or not at all; it runs all others as they
are, through the same door, so that make test-slow is enough for them."""
SHIPPED = [
    pytest.param(group, option, marks=() if group in DOUBTFUL else pytest.mark.slow)
    for group in GROUPS
    for option in Tree().options(group)
]


@pytest.mark.parametrize(("group", "option"), SHIPPED, ids=lambda value: value)
def test_every_shipped_option_passes_the_door(door, saved_run, group, option):
    text = Tree().options(group)[option].read_text()
    recipe = re.search(r"^command: (\w+)", text, re.MULTILINE)
    verb = recipe[1] if recipe else "compress" if group == "compression" else "finetune"
    needed = [f"{group}.{key}=x" for key in re.findall(r"^(\w+): \?\?\?", text, re.MULTILINE) if group != "compression"]
    if "steps/prune_to_widths@" in text:
        needed.append("compression.steps.prune.widths={first: 8}")
    chosen = f"{group}={option}"
    if verb == "compress":
        saved_run("ft")
        needed.append("run=ft")
    if option.startswith("steps/"):
        chosen = f"+compression/steps@compression.steps.one={option.removeprefix('steps/')}"
        needed += ["compression.steps.one.widths={first: 8}"] if option == "steps/prune_to_widths" else []
    checked = door(verb, chosen, *needed)
    assert checked.choices[group] == option or "one" in checked.config["compression"]["steps"]


def test_the_first_line_of_every_shipped_option_tells_what_it_is():
    for group in GROUPS:
        for option, path in Tree().options(group).items():
            lines = path.read_text().splitlines()
            first = lines[1 if lines[0].startswith("# @package") else 0]
            assert first.startswith("# ") and len(first) > 10, option


def test_a_run_without_a_name_gets_one(ptft):
    name = ptft("finetune").config["name"]
    assert name.startswith("finetune-vision_digits-") and len(name.rsplit("-", 1)[1]) == 4


def test_a_taken_name_is_refused_with_the_three_ways_on(refused, ptft, saved_run):
    saved_run("taken")
    message = refused("finetune", "name=taken")
    assert "resume=taken" in message and "overwrite=true" in message and "another name=" in message
    assert ptft("finetune", "name=taken", "overwrite=true").config["name"] == "taken"


def test_a_step_is_taken_out_with_null(ptft):
    config = ptft("pretrain", "augmentation.noise=null").config
    assert "noise" not in config["augmentation"] and "affine" in config["augmentation"]


def test_a_number_written_with_an_exponent_is_a_number_everywhere(ptft, here):
    (here / "my" / "optimizer").mkdir(parents=True)
    (here / "my" / "optimizer" / "mine.yaml").write_text("_target_: torch.optim.AdamW\nlr: 1e-3\n")
    config = ptft("finetune", "--config-dir", "my", "optimizer=mine", "optimizer.lr=2e-4").config
    assert config["optimizer"]["lr"] == 2e-4
    assert ptft("finetune", "--config-dir", "my", "optimizer=mine").config["optimizer"]["lr"] == 1e-3
    assert config["optimizer"]["phases"] == {} and config["optimizer"]["l1"] == 0.0
