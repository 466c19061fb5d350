"""A compressed network, written in the library's form, loads in transformers and gives the same logits there."""

import copy

import pytest
import torch
from torch import nn

from ptft.compression.attention_layers import find_groups
from ptft.compression.library_form import is_pair, library_network, product
from ptft.compression.steps.drop_layers import DropLayers
from ptft.compression.steps.prune_heads import PruneHeads
from ptft.compression.steps.trim_vocabulary import TrimVocabulary
from ptft.compression.structure import replace_module, split_layer
from ptft.compression.vocabulary import TrimmedEmbedding, find_embedding
from tests.compression.transformers_samples import logits_of, text_batch, text_network, text_spec, text_task
from tests.compression.workshop import TinyWorkshop


def theirs(folder, batch, family):
    """The logits of the library's own model of a folder, all of whose weights were found."""
    from transformers import AutoModelForSequenceClassification

    model, found = AutoModelForSequenceClassification.from_pretrained(str(folder), output_loading_info=True)
    assert not any(found.values()), found
    with torch.no_grad():
        return model.eval()(batch["input_ids"], attention_mask=batch["attention_mask"]).logits, model


def compress(task, family, batch):
    """Fewer layers, heads, neurons and tokens."""
    workshop = TinyWorkshop(task, batch)
    workshop.spec = text_spec(family)
    for step in (
        DropLayers(keep=2, recover=None),
        PruneHeads(heads=0.4, scope="global", recover=None),
        TrimVocabulary(),
    ):
        step.check(task, workshop.spec)
        step.apply(task, workshop)


def factorise(network, name, rank):
    """Put two layers of a lower rank in the place of one, at random."""
    pair = split_layer(network.get_submodule(name), rank)
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.normal_(std=0.3)
    replace_module(network, name, pair)


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "GPT2", "Roberta", "Electra"])
def test_what_was_compressed_loads_in_transformers_with_the_same_logits(tmp_path, family):
    network = text_network(tmp_path / "m", family, layers=3)
    task, batch = text_task(network, family), text_batch(highest=30)
    compress(task, family, batch)
    names = {"Bert": ("attention.self.value", "output.dense"), "DistilBert": ("attention.q_lin", "ffn.lin1")}
    for name in names.get(family, ()):
        factorise(network, f"{network.parts().blocks[0][0]}.{name}", 6)
    batch["input_ids"][:, 1] = 35  # dropped
    expected, before = logits_of(task, batch), copy.deepcopy(network.state_dict())
    whole = library_network(network)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    assert isinstance(find_embedding(network)[1], TrimmedEmbedding)
    torch.testing.assert_close(logits_of(text_task(whole, family), batch), expected, atol=1e-5, rtol=1e-5)
    whole.write_pretrained(tmp_path / "out", ("one", "two", "three"))
    logits, model = theirs(tmp_path / "out", batch, family)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert model.config.num_hidden_layers == 2 and model.get_input_embeddings().weight.shape[0] == 40
    counts = [group.count for group in find_groups(whole)]
    assert counts == [4, 24, 4, 24]


def test_two_layers_in_a_row_are_multiplied_back():
    for layer, features in (
        (nn.Linear(6, 5), torch.randn(3, 6)),
        (nn.Linear(6, 5, bias=False), torch.randn(3, 6)),
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), torch.randn(2, 3, 8, 8)),
    ):
        pair = split_layer(layer, 2)
        assert is_pair(pair)
        torch.testing.assert_close(product(pair)(features), pair(features), atol=1e-5, rtol=1e-5)
    assert not is_pair(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))
    assert not is_pair(nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU()))


def test_a_network_that_is_not_compressed_comes_back_as_it_is(tmp_path):
    network = text_network(tmp_path / "m")
    whole = library_network(network)
    assert whole is not network
    assert {name: value.tolist() for name, value in whole.state_dict().items()} == {
        name: value.tolist() for name, value in network.state_dict().items()
    }
