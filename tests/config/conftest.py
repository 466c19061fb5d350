"""A command line with a command that only records what it is given."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from ptft.config.door import Door
from ptft.config.hydra_app import launch
from ptft.config.tree import Tree, builtin_tree, use_tree
from ptft.errors import ConfigError
from ptft.sweep.trial import Measured


@dataclass
class Recorder:
    """Stands in for a verb: keeps each job's config and invocation."""

    calls: list[tuple[dict[str, Any], Any]] = field(default_factory=list)
    result: Any = (Measured("val/accuracy", "max", 0.5),)

    def __call__(self, config, invocation):
        self.calls.append((config, invocation))
        return self.result

    @property
    def config(self):
        return self.calls[-1][0]

    @property
    def invocation(self):
        return self.calls[-1][1]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quiet_logging():
    """Put logging back as it was: `--info` makes Hydra log everything to the stream of its time."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def undrawn(monkeypatch):
    """Draw nothing at the end of a sweep: that takes longer than a small sweep itself."""
    monkeypatch.setattr("ptft.config.conduct.write_plots", lambda facts, trials, space: ([], []))


@pytest.fixture
def ptft(here, quiet_logging):
    """Run a command line in an empty folder; returns the recorder of its jobs."""

    def run(verb, *arguments, command=None, tell=print):
        recorder = command or Recorder()
        launch(verb, arguments, recorder, tell)
        return recorder

    return run


@pytest.fixture
def door(here):
    """Check a command line as it is checked before anything runs; returns the checked job."""

    def check(verb, *arguments):
        tree = Tree()
        use_tree(tree)
        GlobalHydra.instance().clear()
        with initialize_config_dir(version_base="1.3", config_dir=str(builtin_tree()), job_name="ptft"):
            return Door(verb, verb, tree).check(arguments)

    return check


@pytest.fixture
def refused(ptft, here):
    """Run a command line that must be refused; returns its message, after checking that nothing was left behind."""

    def run(verb, *arguments):
        before = sorted(here.rglob("*"))
        recorder = Recorder()
        with pytest.raises(ConfigError) as error:
            ptft(verb, *arguments, command=recorder)
        assert not recorder.calls
        assert sorted(here.rglob("*")) == before, "a refused command leaves nothing behind"
        return str(error.value)

    return run


@pytest.fixture
def saved_run(ptft, here):
    """Make a run directory as a training leaves it: run.json and config.yaml."""

    def make(name, *arguments, verb="finetune", started="2026-01-01T00:00:00+00:00", **changes):
        config = ptft(verb, *arguments, f"name={name}", "output_root=outputs").config
        config = {**config, **changes}
        folder = here / "outputs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"id": name, "command": verb, "started": started}))
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        return folder

    return make
