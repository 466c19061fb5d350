"""Initial weights, from wherever they lie: what is read is what the run would be evaluated with."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ptft.adapt.load import load_weights
from ptft.command.report import write_model
from ptft.command.source import read_source
from ptft.data.data_module import DataSpec
from ptft.engine.checkpoint import CheckpointStore
from ptft.engine.run_dir import RunDirectory
from ptft.errors import CheckpointError
from ptft.task.classification import Classification

SPEC = DataSpec(kind="image", shape=(1, 2, 2), classes=("a", "b"), mean=(0.0,), std=(1.0,))


class Tied(nn.Module):
    """Two layers with the same weights."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight


@pytest.fixture
def run(tmp_path):
    with RunDirectory.create(tmp_path / "run", overwrite=False, facts={"command": "finetune", "versions": {}}) as run:
        yield run


def test_tied_weights_come_back_under_all_of_their_names(run):
    network = Tied()
    write_model(run, Classification(network, SPEC), {"model": {}, "task": {}})
    for path in (run.path, run.path / "model", run.path / "model" / "model.safetensors"):
        tensors, labels = read_source(path)
        fresh = Tied()
        assert load_weights(fresh, tensors).describe() == "2 of 2 tensors"
        assert torch.equal(fresh.first.weight, network.first.weight)
        assert labels == ("a", "b")


def test_a_checkpoint_gives_its_average_and_is_checked(run):
    store = CheckpointStore(run.checkpoints, run.id)
    run.checkpoints.mkdir()
    store.save(3, {"model.weight": torch.zeros(2)}, {"ema": {"model.weight": torch.ones(2)}})
    tensors, _ = read_source(store.path(3))
    assert tensors["model.weight"].tolist() == [1.0, 1.0]
    with (store.path(3) / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(CheckpointError, match="damaged"):
        read_source(store.path(3))


def test_weights_in_parts_are_put_together_and_stay_in_their_folder(tmp_path):
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for name, file in names.items():
        save_file({name: torch.ones(2)}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}}))
    tensors, labels = read_source(tmp_path)
    assert tensors.keys() == names.keys() and labels == ("cat", "dog")
    for wrong in ({"a": "../model.safetensors"}, {"c": names["a"]}, ["a"]):
        index.write_text(json.dumps({"weight_map": wrong}))
        with pytest.raises(CheckpointError, match="is damaged"):
            read_source(tmp_path)
