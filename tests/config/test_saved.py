"""Commands that start from the config of a run: evaluate, resume, init_from."""

import pytest
import yaml


def test_evaluate_takes_over_how_the_task_was_built(ptft, saved_run):
    folder = saved_run("ft", "model=vision/vgg", "model.widths=[8,8]", "model.depths=[1,1]", "engine.batch_size=32")
    recorder = ptft("evaluate", "run=ft", "split=val", "engine.batch_size=16")
    config = recorder.config
    assert config["model"]["widths"] == [8, 8] and config["engine"]["batch_size"] == 16
    assert config["split"] == "val" and config["checkpoint"] == "best" and config["command"] == "evaluate"
    assert "optimizer" not in config and "resume" not in config
    assert config["name"].startswith("evaluate-")
    assert recorder.invocation.run.samefile(folder)


def test_evaluate_names_the_newest_training_and_paths(ptft, saved_run, here):
    saved_run("old", "engine.seed=1", started="2026-01-01T00:00:00+00:00")
    saved_run("new", "engine.seed=2", started="2026-02-01T00:00:00+00:00")
    later = saved_run("measured", "engine.seed=3", started="2026-03-01T00:00:00+00:00")
    (later / "run.json").write_text('{"id": "x", "command": "evaluate", "started": "2026-03-01"}')
    assert ptft("evaluate", "run=@latest").config["engine"]["seed"] == 2
    assert ptft("evaluate", "run=./outputs/old").config["engine"]["seed"] == 1
    assert ptft("evaluate", f"run={here}/outputs/old").config["engine"]["seed"] == 1


def test_the_name_of_an_evaluation_tells_the_sweep_of_a_job(ptft, saved_run):
    saved_run("sweep/4")
    assert ptft("evaluate", "run=sweep/4").config["name"].startswith("evaluate-sweep-4-")
    assert ptft("evaluate", "run=./outputs/sweep/4").config["name"].startswith("evaluate-4-")


def test_evaluate_on_other_data_replaces_the_whole_group(ptft, saved_run):
    saved_run("ft", data={"_target_": "ptft.data.vision.digits.Digits", "label_fraction": 0.5})
    assert ptft("evaluate", "run=ft").config["data"]["label_fraction"] == 0.5
    assert ptft("evaluate", "run=ft", "data=vision/digits").config["data"]["label_fraction"] == 1.0


def test_a_sweep_over_runs_gives_each_its_own_config(ptft, saved_run):
    saved_run("a", "engine.seed=1")
    saved_run("b", "engine.seed=2")
    recorder = ptft("evaluate", "-m", "run=a,b", "hydra/launcher=basic")
    assert [config["engine"]["seed"] for config, _ in recorder.calls] == [1, 2]
    assert [invocation.run.name for _, invocation in recorder.calls] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate"], ["needs a value", "run=@latest"]),
        (["evaluate", "run=fx"], ["no run called `fx`", "did you mean `ft`?", "newest runs: ft"]),
        (["evaluate", "run=ft", "split=vale"], ["did you mean `val`?"]),
        (["evaluate", "run=ft", "engine.batch_sise=3", "split=x"], ["2 problems", "`engine.batch_size`"]),
        (["evaluate", "run=../ft"], ["../ft does not exist"]),
        (["evaluate", "run=a/../ft"], ["no run called"]),
        (["finetune", "resume=ft", "engine.seed=5"], ["engine.seed", "is `0` in the run", "cannot become `5`"]),
        (["finetune", "resume=ft", "model=vision/vgg"], ["cannot stand beside resume="]),
        (["finetune", "resume=ft", "experiment=x"], ["cannot stand beside resume="]),
        (["finetune", "resume=ft", "optimizer.lr=1", "engine.max=10"], ["2 problems", "`10ep`?", "optimizer.lr"]),
        (["finetune", "resume=ft", "init_from=ft"], ["cannot stand beside resume="]),
        (["pretrain", "resume=ft"], ["was made by finetune", "ptft finetune resume=..."]),
    ],
    ids=lambda value: " ".join(value)[:50],
)  # fmt: skip
def test_what_a_saved_run_does_not_allow_is_told(refused, saved_run, arguments, words):
    saved_run("ft")
    message = refused(*arguments)
    for word in words:
        assert word in message, message


def test_resume_takes_the_saved_config_and_lets_time_and_logging_change(ptft, saved_run):
    folder = saved_run("ft", "model=vision/vgg", "model.dropout=0.1", "engine.max=2ep")
    recorder = ptft("finetune", "resume=ft", "engine.max=4ep", "logger=[tensorboard]", "data.num_workers=2")
    config = recorder.config
    assert config["model"]["dropout"] == 0.1 and config["engine"]["max"] == "4ep" and "tensorboard" in config["logger"]
    assert config["name"] == "ft" and recorder.invocation.resume.samefile(folder)
    assert recorder.invocation.init_from is None


def test_resume_of_a_run_that_was_itself_initialised_loads_no_weights_again(ptft, saved_run):
    saved_run("ssl", verb="pretrain")
    saved_run("ft", "init_from=ssl")
    invocation = ptft("finetune", "resume=ft").invocation
    assert invocation.init_from is None and invocation.resume.name == "ft"


def test_auto_resume_starts_a_run_then_goes_on_with_it(ptft, refused, saved_run):
    arguments = ["finetune", "auto_resume=true", "name=ft", "engine.seed=3"]
    assert ptft(*arguments).invocation.resume is None
    saved_run("ft", "engine.seed=3", "auto_resume=true")
    assert ptft(*arguments, "engine.max=20ep").invocation.resume.name == "ft"
    assert "cannot become `4`" in refused(*arguments, "engine.seed=4")


def test_init_from_names_runs_and_files(ptft, saved_run, here):
    saved_run("ssl", verb="pretrain")
    (here / "weights.safetensors").write_bytes(b"")
    assert ptft("finetune", "init_from=ssl").invocation.init_from.name == "ssl"
    assert ptft("finetune", "init_from=@latest").invocation.init_from.name == "ssl"
    assert ptft("finetune", "init_from=./weights.safetensors").invocation.init_from.name == "weights.safetensors"


HOSTILE = {
    "hydra": {"hydra": {"callbacks": {"x": {"_target_": "marker.write"}}}},
    "defaults": {"defaults": [{"override /hydra/launcher": "x"}]},
    "target": {"model": {"_target_": "marker.write"}},
    "argument": {"model": {"_target_": "ptft.model.vision.vgg.VGG", "widths": {"_target_": "marker.write"}}},
    "environment": {"output_root": "${oc.env:HOME}"},
    "logger": {"logger": {"x": {"_target_": "marker.write"}}},
    "engine": {"engine": {"_target_": "marker.write"}},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_saved_config_is_trusted_no_more_than_the_command_line(refused, saved_run, here, monkeypatch, name):
    (here / "marker.py").write_text(f"open({str(here / 'made')!r}, 'w')")
    monkeypatch.syspath_prepend(here)
    saved_run("ft", **HOSTILE[name])
    for verb, key in (("evaluate", "run"), ("finetune", "resume")):
        if (verb, name) != ("evaluate", "environment"):  # an evaluation does not take output_root over
            refused(verb, f"{key}=ft")
    assert not (here / "made").exists()


def test_a_bomb_in_a_saved_config_is_refused(refused, saved_run):
    from tests.config.test_yaml_guard import BOMB

    folder = saved_run("ft")
    (folder / "config.yaml").write_text(BOMB)
    assert "more than 10,000 values" in refused("evaluate", "run=ft")
    (folder / "config.yaml").write_text(yaml.safe_dump([1]))
    assert "no mapping" in refused("evaluate", "run=ft")
