"""Heads and neurons go where they matter least, forward still works, and a fresh network can be built alike."""

import copy
import json

import pytest
import torch

from ptft.compression.attention_layers import cut, find_groups, grow, torch_attentions
from ptft.compression.head_importance import magnitude, taylor
from ptft.compression.self_attention import replace_attention
from ptft.compression.steps.prune_heads import PruneHeads, best_of_all
from ptft.compression.structure import apply_edits
from ptft.errors import ConfigError
from ptft.model.vision.convnet import ConvNet
from tests.compression.transformers_samples import (
    FAMILIES,
    PICTURES,
    logits_of,
    picture_batch,
    text_batch,
    text_network,
    text_spec,
    text_task,
    vit,
    vit_task,
)
from tests.compression.workshop import TinyWorkshop
from tests.task.harness import total_loss


def groups_of(network, kind="heads"):
    return [group for group in find_groups(network) if group.kind == kind]


def silence(network, group, units):
    """Make the projection out of some units zero."""
    axis = next(axis for axis in group.axes if axis.tensor == f"{group.leaving}.weight")
    rows = torch.cat([torch.arange(unit * group.size, (unit + 1) * group.size) for unit in units])
    with torch.no_grad():
        network.get_parameter(axis.tensor).index_fill_(axis.dim, rows, 0.0)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
def test_silent_heads_and_neurons_go_first_and_no_logit_changes(tmp_path, family, attention):
    network = text_network(tmp_path / "m", family)
    network.set_attention(attention)
    for number, group in enumerate(groups_of(network)):
        silence(network, group, [number + 1])
    for group in groups_of(network, "feed_forward"):
        silence(network, group, range(3, 11))
    task, batch = text_task(network, family), text_batch()
    fresh, expected = copy.deepcopy(task), logits_of(task, batch)
    workshop = TinyWorkshop(task, batch)
    step = PruneHeads(recover=None)
    step.check(task, text_spec(family))
    edits = json.loads(json.dumps(step.apply(task, workshop)))
    torch.testing.assert_close(logits_of(task, batch), expected, atol=1e-5, rtol=1e-5)
    assert [group.count for group in find_groups(network)] == [3, 24, 3, 24]
    name = {"DistilBert": "hidden_dim", "GPT2": "n_inner"}.get(family, "intermediate_size")
    assert edits[-1]["config"] == {name: 24} and getattr(network.model.config, name) == 24
    assert workshop.said == ["pruned 2 layers of 4 heads and 32 neurons to 2 layers of 3 heads and 24 neurons"]
    assert not workshop.recovered
    apply_edits(fresh.model, edits)
    fresh.load_state_dict(task.state_dict())
    assert torch.equal(logits_of(fresh, batch), logits_of(task, batch))
    assert vars(fresh.model.model.config)[name] == 24


def test_silent_heads_of_a_vision_transformer_go_first():
    network = vit()
    plain, batch = copy.deepcopy(network), picture_batch()
    replace_attention(network, torch_attentions(network))
    torch.testing.assert_close(network(batch["image"]), plain(batch["image"]), atol=1e-5, rtol=1e-5)
    for group in groups_of(network):
        silence(network, group, [2])
    for name in torch_attentions(plain):
        plain.get_submodule(name).out_proj.load_state_dict(network.get_submodule(name).out_proj.state_dict())
    task = vit_task(plain)
    fresh, expected = copy.deepcopy(task), logits_of(task, batch)
    step = PruneHeads(feed_forward=0.0, recover=None)
    step.check(task, PICTURES)
    assert torch_attentions(task.model), "a check changes nothing"
    edits = json.loads(json.dumps(step.apply(task, TinyWorkshop(task, batch))))
    assert [edit["kind"] for edit in edits] == ["attention", "shapes"]
    assert [group.count for group in find_groups(task.model)] == [3, 32] * 3
    torch.testing.assert_close(logits_of(task, batch), expected, atol=1e-5, rtol=1e-5)
    apply_edits(fresh.model, edits)
    fresh.load_state_dict(task.state_dict())
    assert torch.equal(logits_of(fresh, batch), logits_of(task, batch))


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "GPT2"])
def test_cutting_equals_weights_of_zero_and_growing_undoes_it(tmp_path, family):
    network = text_network(tmp_path / "m", family)
    zeroed, batch = copy.deepcopy(network), text_batch()
    for group in find_groups(network):
        keep = [unit for unit in range(group.count) if unit % 3]
        silence(zeroed, group, [unit for unit in range(group.count) if unit not in keep])
        cut(network, group, keep)
    expected = logits_of(text_task(zeroed, family), batch)
    shapes = {name: value.shape for name, value in zeroed.state_dict().items()}
    torch.testing.assert_close(logits_of(text_task(network, family), batch), expected, atol=1e-5, rtol=1e-5)
    for group in find_groups(network):
        grow(network, group, 4 if group.kind == "heads" else 32)
    torch.testing.assert_close(logits_of(text_task(network, family), batch), expected, atol=1e-5, rtol=1e-5)
    assert {name: value.shape for name, value in network.state_dict().items()} == shapes


def test_taylor_is_the_slope_of_the_loss_of_each_example(tmp_path):
    """By central differences of a head's output projection, example by example."""
    task = text_task(text_network(tmp_path / "m")).double()
    batch, step = text_batch(3), 1e-4
    groups = groups_of(task.model)
    scores = taylor(task, groups, [batch])
    for group, score in zip(groups, scores, strict=True):
        weight = task.model.get_parameter(f"{group.leaving}.weight")
        for head in range(group.count):
            columns, slopes = slice(head * group.size, (head + 1) * group.size), []
            for row in range(3):
                example, losses = {name: value[row : row + 1] for name, value in batch.items()}, []
                for sign in (1, -1):
                    old = weight.detach().clone()
                    with torch.no_grad():
                        weight[:, columns] *= 1 + sign * step
                        losses.append(float(total_loss(task, example, "model")))
                        weight.copy_(old)
                slopes.append(abs(losses[0] - losses[1]) / (2 * step))
            assert float(score[head]) == pytest.approx(sum(slopes) / 3, rel=1e-4, abs=1e-9)
    in_pieces = taylor(task, groups, [{name: value[:1] for name, value in batch.items()},
                                      {name: value[1:] for name, value in batch.items()}])  # fmt: skip
    torch.testing.assert_close(in_pieces, scores)
    assert all(parameter.grad is None for parameter in task.parameters())


@pytest.mark.parametrize("family", ["Bert", "GPT2"])
def test_magnitude_is_the_norm_of_what_goes(tmp_path, family):
    network = text_network(tmp_path / "m", family)
    group = groups_of(network)[1]
    before = sum(float(p.detach().double().square().sum()) for p in network.parameters())
    score = magnitude(network, [group])[0]
    cut(network, group, [0, 1, 3])
    after = sum(float(p.detach().double().square().sum()) for p in network.parameters())
    assert float(score[2]) ** 2 == pytest.approx(before - after, rel=1e-6)


def test_where_all_layers_compete_none_loses_its_last_head():
    scores = [torch.tensor([5.0, 1.0, 1.0, 1.0]), torch.tensor([0.03, 0.01, 0.02, 0.03])]
    assert best_of_all(scores, 4) == [[0], [0, 2, 3]]  # divided by their norms: 0.94 0.19 ..., 0.63 0.21 0.42 0.63
    assert best_of_all(scores, 5) == [[0], [0, 1, 2, 3]]
    assert best_of_all(scores, 1) == [[0], [0]]


@pytest.mark.parametrize("importance", ["taylor", "magnitude"])
def test_heads_of_unequal_number_are_cut_by_turns_and_replayed(tmp_path, importance):
    """With training in between, over all layers at once."""
    network = text_network(tmp_path / "m", layers=3)
    task, batch = text_task(network), text_batch()
    fresh, workshop = copy.deepcopy(task), TinyWorkshop(task, batch)
    step = PruneHeads(heads=0.5, feed_forward=0.6, importance=importance, scope="global", iterations=2, recover="3st",
                      recover_between="2st", samples=20)  # fmt: skip
    edits = json.loads(json.dumps(step.apply(task, workshop)))
    assert sum(group.count for group in groups_of(network)) == 6 and min(g.count for g in groups_of(network)) >= 1
    assert {group.count for group in groups_of(network, "feed_forward")} == {16}  # of 12.8, in eights
    assert [(duration, part) for duration, _, part in workshop.recovered] == [("2st", "between1"), ("3st", "recover")]
    apply_edits(fresh.model, edits)
    fresh.load_state_dict(task.state_dict())
    assert torch.equal(logits_of(fresh, batch), logits_of(task, batch))


def test_a_layer_keeps_its_last_head_and_few_neurons(tmp_path):
    task = text_task(text_network(tmp_path / "m"))
    PruneHeads(heads=1.0, feed_forward=1.0, recover=None).apply(task, TinyWorkshop(task, text_batch()))
    assert [group.count for group in find_groups(task.model)] == [1, 8, 1, 8]
    assert logits_of(task, text_batch()).isfinite().all()


def test_what_cannot_be_pruned_is_refused(tmp_path):
    task = text_task(text_network(tmp_path / "m"))
    with pytest.raises(ConfigError, match=r"removes nothing of 2 layers of 4 heads and 32 neurons; raise one"):
        PruneHeads(heads=0.05, feed_forward=0.0).check(task, text_spec())
    task.model.model.config.model_type = "albert"
    with pytest.raises(ConfigError, match="the heads of `albert` cannot be told apart; pruning them is known for bert"):
        PruneHeads().check(task, text_spec())
    with pytest.raises(ConfigError, match=r"ConvNet: its block .* holds no attention"):
        PruneHeads().check(vit_task(ConvNet(PICTURES)), PICTURES)
