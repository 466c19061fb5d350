"""Which targets may be built, and that nothing of the others is ever imported (faults.md S02)."""

import sys

import pytest

from ptft.config.resolve import check_component, find_component, find_plugin, instantiate
from ptft.errors import ConfigError

HOSTILE = [
    "os.system", "posix.system", "logging.os.system", "builtins.open", "builtins.eval", "pathlib.Path.write_text",
    "numpy.load", "torch.load", "torch.hub.load", "torch.utils.cpp_extension.load", "shutil.copyfile", "shutil.rmtree",
    "hydra.utils.get_method", "hydra.utils.instantiate", "hydra._internal.target_policy._policy.discard",
    "functools.partial", "subprocess.run", "importlib.import_module", "pickle.loads", "marker.write",
    "ptft.model.vision.vgg.ConfigError", "ptft.model.vision.vgg.nn", "ptft.model.vision.vgg.Literal",
    "ptft.model.vision.vgg.nn.Module", "ptft.model.vision.vgg.VGG.forward", "ptft.model.vision.vgg.__builtins__",
    "ptft.model.vision", "ptft.model", "ptft.model..os.system", "ptft.cli.main", "ptft.runtime.files.remove",
    "ptft.data.vision.digits.Digits", "ptft.model.vision.missing.Net", "ptft.model.../marker.write",
    " ptft.model.vision.vgg.VGG", "ptft.model.vision.vgg.VGG ", "ptft.model.vision.vgg.VGG\n",
    "ptft.model.vision.vgg.ＶGG",
    "рtft.model.vision.vgg.VGG", "ptft.model.vision.vgg:VGG", "ptft/model/vision/vgg.VGG", "", "VGG", "torch.optim.SGD",
    "torch.nn.Linear", None, 3, ["os.system"], {"_target_": "os.system"},
]  # fmt: skip


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A module that leaves a file when it is imported, and another when it is called."""
    (tmp_path / "marker.py").write_text(
        f"open({str(tmp_path / 'imported')!r}, 'w')\ndef write(*a, **k):\n    open({str(tmp_path / 'called')!r}, 'w')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("marker", None)
    assert not (tmp_path / "imported").exists() and not (tmp_path / "called").exists()


@pytest.mark.parametrize("target", HOSTILE, ids=repr)
def test_a_hostile_target_is_refused_before_any_import(marker, target):
    before = set(sys.modules)
    node = {"_target_": target, "_args_": ["touch marker"]}
    with pytest.raises(ConfigError):
        find_component("model", target)
    assert check_component("model", "model", node)
    with pytest.raises(ConfigError):
        instantiate(node, group="model")
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    "target",
    [
        "torch.optim.lr_scheduler.StepLR",
        "torch.optim.Optimizer",
        "torch.optim.adam.adam",
        "torch.optim.Tensor",
        "torch.load",
        "torch.optim.swa_utils.AveragedModel",
    ],
)
def test_of_torch_only_optimizers_may_be_named(target):
    with pytest.raises(ConfigError):
        find_component("optimizer", target)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adam", "RMSprop", "RAdam", "Adagrad", "NAdam"])
def test_every_optimizer_of_torch_may_be_named_and_its_settings_are_known(name):
    record = find_component("optimizer", f"torch.optim.{name}").record
    names = {f.name for f in record.fields}
    assert {"lr", "weight_decay"} <= names and "params" not in names


def test_an_optimizer_of_torch_is_built_with_converted_settings():
    import torch

    node = {"_target_": "torch.optim.AdamW", "lr": 1, "betas": [0.8, 0.9], "l1": 0.0, "decay_all": False, "phases": {}}
    made = instantiate(node, [torch.zeros(1, requires_grad=True)], group="optimizer")
    assert isinstance(made, torch.optim.AdamW) and made.defaults["lr"] == 1.0 and made.defaults["betas"] == (0.8, 0.9)


def test_settings_beside_the_arguments_are_checked_and_not_handed_on():
    node = {"_target_": "ptft.optimizer.sgd.sgd", "l1": -1, "phases": {"generator": {"lr": 0, "lrr": 1}}}
    keys = [key for key, _ in check_component("optimizer", "optimizer", node)]
    assert keys == ["optimizer.l1", "optimizer.phases.generator.lr", "optimizer.phases.generator.lrr"]
    assert check_component("schedule", "schedule", {"_target_": "ptft.schedule.cosine.Cosine", "warmup": "10"})
    instantiate({"_target_": "ptft.schedule.cosine.Cosine", "warmup": "1ep"}, group="schedule")


def test_a_misspelt_argument_gets_its_nearest_name():
    node = {"_target_": "ptft.model.vision.vgg.VGG", "dropuot": 0.5}
    assert check_component("model", "model", node) == [
        ("model.dropuot", "VGG has no setting `dropuot`; did you mean `dropout`?")
    ]


def test_a_plugin_is_trusted_only_when_named(tmp_path, monkeypatch):
    (tmp_path / "my_parts_a").mkdir()
    (tmp_path / "my_parts_a" / "__init__.py").write_text("")
    (tmp_path / "my_parts_a" / "nets.py").write_text(
        "from os import system\nclass Net:\n    def __init__(self, spec, width: int = 3):\n        self.width = width\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "my_parts_a.nets.Net", "width": 5}
    with pytest.raises(ConfigError, match="--plugin my_parts_a"):
        instantiate(node, None, group="model")
    assert instantiate(node, None, group="model", trusted=["my_parts_a"]).width == 5
    assert "takes a whole number" in check_component("model", "model", {**node, "width": "a"}, ["my_parts_a"])[0][1]
    with pytest.raises(ConfigError, match="imported there from `os`"):
        find_component("model", "my_parts_a.nets.system", ["my_parts_a"])
    assert find_plugin("my_parts_a") is None


@pytest.mark.parametrize("package", ["os", "subprocess", "torch", "ptft", "ptft.cli", "no_such_package", "../x", "a b"])
def test_only_a_package_of_ones_own_can_be_trusted(package):
    assert find_plugin(package)
