"""Hydra's grammar and flags through ptft: sweeps, shown configs, the user's own tree and classes."""

import pytest

from ptft.errors import Interrupted, PtftError
from tests.config.conftest import Recorder

HERE = "hydra/launcher=basic"
"""Runs the jobs of a sweep in this process, where what they are told can be seen."""
OWN_FILES = ["sweep.json", "study.sqlite", "trial.json", "trials.csv"]


def left(here):
    """Return the names of files that were left and are not a sweep's own."""
    return [path.name for path in here.rglob("*") if path.is_file() and path.name not in (*OWN_FILES, ".lock")]


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Draw nothing: that takes longer than the sweeps here."""
    monkeypatch.setattr("ptft.config.conduct.write_plots", lambda facts, trials, space: ([], []))


def test_each_value_of_a_sweep_is_a_job_with_its_own_place(ptft, here):
    recorder = ptft("finetune", "-m", HERE, "optimizer.lr=1e-2,1e-3", "engine.seed=0,1", "name=sweep")
    found = [(c["optimizer"]["lr"], c["engine"]["seed"], c["name"], i.job) for c, i in recorder.calls]
    assert found == [
        (0.01, 0, "sweep/0", 0),
        (0.01, 1, "sweep/1", 1),
        (0.001, 0, "sweep/2", 2),
        (0.001, 1, "sweep/3", 3),
    ]
    assert left(here) == []


def test_a_sweep_without_a_name_gets_one_for_all_jobs(ptft):
    names = [config["name"] for config, _ in ptft("finetune", HERE, "engine.seed=range(3)", "--multirun").calls]
    sweep = names[0].partition("/")[0]
    assert names == [f"{sweep}/{job}" for job in range(3)] and sweep.startswith("finetune-vision_digits-")


def test_a_sweep_over_options(ptft):
    recorder = ptft("finetune", "-m", HERE, "optimizer=adam,torch_one", *_tree("optimizer/torch_one", TORCH))
    assert [c["optimizer"]["_target_"] for c, _ in recorder.calls] == ["ptft.optimizer.adam.adam", "torch.optim.RAdam"]


def test_a_sweep_over_names_gives_each_run_its_own(ptft):
    assert [config["name"] for config, _ in ptft("finetune", "-m", "name=a,b").calls] == ["a", "b"]


TORCH = "_target_: torch.optim.RAdam\nlr: 1e-3\n"


def _tree(path, text):
    from pathlib import Path

    file = Path("tree", f"{path}.yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return ["--config-dir", "tree"]


def test_a_sweep_with_one_bad_value_is_refused_before_its_first_job(refused):
    message = refused("finetune", "-m", "engine.seed=0,1", "optimizer.lr=1e-2,-1", "optimizer=adam,sdg")
    assert "found `-1`" in message and "did you mean `optimizer=sgd`" in message


def test_a_failing_job_of_hydras_own_sweeper_does_not_stop_the_others(ptft):
    class Fails(Recorder):
        def __call__(self, config, invocation):
            super().__call__(config, invocation)
            if invocation.job in (1, 3):
                raise PtftError("out of luck") if invocation.job == 1 else RuntimeError("a bug")
            return []

    told, command = [], Fails()
    with pytest.raises(PtftError, match=r"2 jobs of the sweep failed: 1, 3"):
        ptft("finetune", "-m", "hydra/sweeper=basic", "engine.seed=0,1,2,3,4", command=command, tell=told.append)
    assert [invocation.job for _, invocation in command.calls] == [0, 1, 2, 3, 4]
    assert "out of luck" in told[0] and "Traceback" not in told[0] and "engine.seed=1" in told[0]
    assert "Traceback" in told[1] and "a bug" in told[1]


def test_an_interruption_ends_the_whole_sweep(ptft):
    class Stops(Recorder):
        def __call__(self, config, invocation):
            super().__call__(config, invocation)
            raise Interrupted("stopped", 130)

    command = Stops()
    with pytest.raises(Interrupted) as error:
        ptft("finetune", "-m", HERE, "engine.seed=0,1", command=command)
    assert error.value.exit_code == 130 and len(command.calls) == 1


def test_a_failure_of_a_single_run_comes_out_as_it_is(ptft, capsys):
    def fails(config, invocation):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        ptft("finetune", command=fails)
    assert capsys.readouterr().err == ""


def test_the_config_can_be_shown_without_running(ptft, here, capsys):
    assert not ptft("finetune", "--cfg", "job", "engine.seed=3").calls
    assert "seed: 3" in capsys.readouterr().out
    assert not ptft("finetune", "--cfg=job", "--package", "engine", "--resolve").calls
    assert "optimizer" not in capsys.readouterr().out
    assert not ptft("finetune", "engine.seed=3", "--info", "defaults").calls
    assert "vision/digits" in capsys.readouterr().out
    assert list(here.iterdir()) == []


def test_hydras_own_help_is_there(ptft, capsys):
    with pytest.raises(SystemExit) as stop:
        ptft("finetune", "--hydra-help")
    assert stop.value.code == 0 and "--multirun" in capsys.readouterr().out


def test_what_is_shown_is_refused_too_when_it_does_not_compose(refused):
    assert "did you mean `optimizer.lr`?" in refused("finetune", "--cfg", "job", "optmizer.lr=1")


def test_the_users_tree_wins_over_a_built_in_file_and_adds_options(ptft, here):
    tree = _tree("optimizer/adamw", "# Mine\n_target_: ptft.optimizer.adamw.adamw\nlr: 0.5\n")
    _tree("optimizer/mine/slow", "_target_: ptft.optimizer.sgd.sgd\nlr: 0.25\n")
    assert ptft("finetune", *tree).config["optimizer"]["lr"] == 0.5
    assert ptft("finetune", *tree, "optimizer=mine/slow").config["optimizer"]["lr"] == 0.25
    assert ptft("finetune").config["optimizer"]["lr"] == 1e-3
    recorder = ptft("finetune", "--config-dir", str(here / "tree"))
    assert recorder.invocation.config_dir == here / "tree"


def test_the_users_own_root_is_kept_from_writing(ptft, here):
    _tree("quick", "defaults:\n  - finetune\n  - _self_\nengine:\n  max: 1ep\n")
    config = ptft("finetune", "--config-dir", "tree", "--config-name", "quick").config
    assert config["engine"]["max"] == "1ep"
    assert sorted(path.name for path in here.iterdir()) == ["tree"]


def test_the_users_own_class_is_used_with_plugin_and_only_then(ptft, refused, here):
    (here / "my_nets_b").mkdir()
    (here / "my_nets_b" / "__init__.py").write_text("")
    (here / "my_nets_b" / "net.py").write_text("class Net:\n    def __init__(self, spec, *, width: int = 3): ...\n")
    tree = _tree("model/mine", "_target_: my_nets_b.net.Net\nwidth: 3\n")
    assert "--plugin my_nets_b" in refused("finetune", *tree, "model=mine")
    recorder = ptft("finetune", *tree, "--plugin", "my_nets_b", "model=mine")
    assert recorder.config["model"]["width"] == 3 and recorder.invocation.trusted == ("my_nets_b",)
    message = refused("finetune", *tree, "--plugin=my_nets_b", "model=mine", "model.width=wide", "+model.depth=3")
    assert "takes a whole number" in message and "no setting `depth`" in message


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("experiment/x", "# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: os.system\n"),
        ("experiment/x", "# @package hydra.callbacks.x\n_target_: os.system\n"),
        ("experiment/x", "# @package hydra\nrun: {dir: /tmp/x}\n"),
        ("experiment/x", "# @package _global_\nhydra:\n  searchpath: ['file:///']\n"),
        ("experiment/x", "# @package _global_\ndefaults:\n  - override /hydra/launcher: evil\n"),
        ("experiment/x", "# @package _global_\ndefaults:\n  - /model/vision/vgg@hydra.callbacks.x\n"),
        ("experiment/x", "# @package _global_\nplugins: [os]\nplugin: os\n"),
    ],
)
def test_a_config_file_does_not_reach_into_hydra(refused, here, path, text):
    _tree("hydra/launcher/evil", "_target_: os.system\n")
    _tree(path, text)
    refused("finetune", "--config-dir", "tree", "experiment=x")
    refused("finetune", "--config-dir", "tree", "hydra/launcher=evil")


def test_a_bad_file_of_the_user_is_named_with_its_line(refused, here):
    from tests.config.test_yaml_guard import BOMB

    for text, words in ((BOMB, "more than 10,000"), ("a: 1\na: 2\n", "second time"), ("a: [\n", "no valid YAML")):
        tree = _tree("experiment/x", text)
        message = refused("finetune", *tree, "experiment=x", "engine.seed=-1")
        assert words in message and "x.yaml:" in message and "engine.seed" in message
    _tree("experiment/x", "# @package _global_\nx: '" + "y" * 5_000_000 + "'\n")
    assert "at most 1,000,000" in refused("finetune", "--config-dir", "tree", "experiment=x")


def test_hydras_folders_mean_those_of_ptft(ptft, here):
    config = ptft("finetune", "hydra.run.dir=runs/here").config
    assert (config["output_root"], config["name"]) == ("runs", "here")
    recorder = ptft("finetune", "-m", HERE, "engine.seed=0,1", "hydra.sweep.dir=runs/many")
    assert [(c["output_root"], c["name"]) for c, _ in recorder.calls] == [("runs", "many/0"), ("runs", "many/1")]
    recorder = ptft(
        "finetune", "-m", "engine.seed=4,5", "hydra.sweep.dir=runs/more", "hydra.sweep.subdir=s${engine.seed}"
    )
    assert [c["name"] for c, _ in recorder.calls] == ["more/s4", "more/s5"]
    assert left(here) == ["multirun.yaml"]
    assert not (here / "runs" / "here").exists() and not (here / "runs" / "more" / "s4").exists()


def test_launchers_and_sweepers_are_chosen_by_name(ptft):
    recorder = ptft("finetune", "-m", "engine.seed=0,1", "hydra/launcher=basic", "hydra/sweeper=basic",
                    "hydra.sweeper.max_batch_size=1")  # fmt: skip
    assert len(recorder.calls) == 2
