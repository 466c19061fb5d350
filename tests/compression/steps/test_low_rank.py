"""Low-rank factorisation, against numpy's singular values."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from ptft.compression.cost import count_parameters
from ptft.compression.steps.low_rank import LowRank, energy_rank, factorised, splittable_layers
from ptft.compression.structure import apply_edits
from ptft.data.data_module import DataSpec
from ptft.errors import ConfigError
from ptft.model.text.bert import bert
from ptft.model.vision.vit import VisionTransformer
from ptft.task.classification import Classification
from tests.compression.workshop import IMAGE_SPEC, TinyWorkshop, image_batch, image_task, resnet, vgg

TEXT_SPEC = DataSpec(
    kind="text", shape=(8,), classes=("a", "b"), inputs=("input_ids", "attention_mask"), vocab_size=30,
    special_tokens={"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4},
)  # fmt: skip


def test_a_layer_becomes_its_truncated_singular_value_decomposition():
    layer = nn.Linear(12, 9).double()
    left, singular, right = np.linalg.svd(layer.weight.detach().numpy(), full_matrices=False)
    for rank in (1, 4, 9):
        pair = factorised(layer, rank)
        product = (pair[1].weight @ pair[0].weight).detach().numpy()
        np.testing.assert_allclose(product, (left[:, :rank] * singular[:rank]) @ right[:rank], atol=1e-12)
        assert torch.equal(pair[1].bias, layer.bias)


@pytest.mark.parametrize("layer, shape", [
    (nn.Linear(12, 9), (5, 12)),
    (nn.Conv2d(5, 8, 3, stride=2, padding=1), (5, 5, 9, 9)),
    (nn.Conv2d(5, 8, 1, bias=False), (5, 5, 9, 9)),
])  # fmt: skip
def test_full_rank_gives_the_same_outputs(layer, shape):
    given = torch.randn(*shape)
    pair = factorised(layer, min(layer.weight.flatten(1).shape))
    torch.testing.assert_close(pair(given), layer(given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("energy", [0.0, 0.3, 0.8, 0.95, 1.0])
def test_the_rank_is_the_lowest_that_keeps_the_energy(energy):
    singular = np.linalg.svd(np.random.default_rng(0).normal(size=(9, 12)), compute_uv=False)
    share = np.cumsum(singular**2) / np.sum(singular**2)
    expected = max(1, int(np.searchsorted(share, energy - 1e-12) + 1))
    assert energy_rank(torch.from_numpy(singular), energy) == expected


@pytest.mark.parametrize("make", [vgg, resnet])
@pytest.mark.parametrize("settings", [{"energy": 0.8}, {"energy": None, "ratio": 0.5}])
def test_it_saves_and_replays_exactly(make, settings):
    task, batch = image_task(make()), image_batch(32)
    workshop = TinyWorkshop(task, batch)
    step = LowRank(recover=None, **settings)
    step.check(task, IMAGE_SPEC)
    edits = step.apply(task, workshop)
    assert edits[0]["kind"] == "low_rank" and len(edits[0]["ranks"]) >= 2
    assert count_parameters(task.model) < count_parameters(workshop.parent.model)
    fresh = make()
    apply_edits(fresh, json.loads(json.dumps(edits)))
    fresh.load_state_dict(task.model.state_dict())
    assert torch.equal(fresh.eval()(batch["image"]), task.model(batch["image"]))
    assert f"-> {count_parameters(task.model):,} parameters" in workshop.said[0]


def test_each_layer_loses_the_ratio():
    task = image_task(vgg())
    step = LowRank(energy=None, ratio=0.4, layers=[r"hidden\.0", r"^blocks\.2"], recover=None)
    (edit,) = step.apply(task, TinyWorkshop(task, image_batch(32)))
    assert set(edit["ranks"]) == {"hidden.0.0", "blocks.2.0", "blocks.2.3"}
    for name, rank in edit["ranks"].items():
        pair = task.model.get_submodule(name)
        full = pair[1].weight.shape[0] * pair[0].weight[0].numel()
        left = sum(layer.weight.numel() for layer in pair)
        assert left <= 0.6 * full < left + pair[1].weight.shape[0] + pair[0].weight[0].numel()
        assert rank == pair[0].weight.shape[0]


def test_no_layer_is_split_where_nothing_is_saved():
    task = image_task(vgg())
    workshop = TinyWorkshop(task, image_batch(32))
    before = {name: value.clone() for name, value in task.state_dict().items()}
    assert LowRank(energy=1.0, recover="3st").apply(task, workshop) == []
    assert "no layer" in workshop.warned[0] and not workshop.recovered
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_it_trains_afterwards():
    task = image_task(vgg())
    workshop = TinyWorkshop(task, image_batch(32))
    LowRank(energy=0.7, recover="3st").apply(task, workshop)
    assert [duration for duration, _, _ in workshop.recovered] == ["3st"]


def test_layers_of_transformers_are_split_and_tied_tables_are_not():
    torch.manual_seed(0)
    network = bert(TEXT_SPEC, layers=1, width=32, heads=2, mlp=64)
    task = Classification(network, TEXT_SPEC).eval()
    found = splittable_layers(network, None)
    assert {name.rpartition(".")[2] for name in found} >= {"query", "key", "value", "dense"}
    batch = {
        "index": torch.arange(6), "input_ids": torch.randint(5, 30, (6, 8)), "label": torch.arange(6) % 2,
        "attention_mask": torch.ones(6, 8, dtype=torch.int64),
    }  # fmt: skip
    step = LowRank(energy=None, ratio=0.5, recover=None)
    step.check(task, TEXT_SPEC)
    edits = step.apply(task, TinyWorkshop(task, batch))
    assert any(name.endswith("query") for name in edits[0]["ranks"])
    fresh = bert(TEXT_SPEC, layers=1, width=32, heads=2, mlp=64)
    apply_edits(fresh, edits)
    fresh.load_state_dict(task.model.state_dict())
    inputs = batch["input_ids"], batch["attention_mask"]
    assert torch.equal(fresh.eval()(*inputs), network(*inputs))

    table, decoder = nn.Embedding(30, 8), nn.Linear(8, 30, bias=False)
    decoder.weight = table.weight
    assert splittable_layers(nn.ModuleDict({"table": table, "decoder": decoder}), None) == {}


def test_what_torchs_attention_reads_directly_is_left_alone():
    network = VisionTransformer(IMAGE_SPEC, patch_size=4, depth=1, heads=2, width=32, mlp=64)
    task = image_task(network)
    step = LowRank(energy=None, ratio=0.5, recover=None)
    step.check(task, IMAGE_SPEC)
    (edit,) = step.apply(task, TinyWorkshop(task, image_batch(16)))
    assert not [name for name in edit["ranks"] if "self_attention" in name]
    assert [name for name in edit["ranks"] if ".mlp." in name]


@pytest.mark.parametrize("settings, words", [
    ({"energy": 0.9, "ratio": 0.5}, "one of them"),
    ({"energy": None}, "one of them"),
    ({"layers": ["nowhere"]}, "finds no layers"),
    ({"layers": ["("]}, "regular expressions"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        LowRank(**settings).check(image_task(vgg()), IMAGE_SPEC)
