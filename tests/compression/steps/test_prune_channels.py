"""Structured pruning: how much goes, what never goes, and that what is left computes the same."""

import copy
import json

import pytest
import torch
from torch import nn
from torchvision import models

from ptft.compression.channels import all_trained, channel_groups
from ptft.compression.cost import count_parameters, multiply_adds
from ptft.compression.importance import group_norm, magnitude, taylor
from ptft.compression.steps.prune_channels import PruneChannels
from ptft.compression.structure import apply_edits
from ptft.errors import ConfigError
from ptft.model.vision.convnet import ConvNet
from ptft.model.vision.torchvision import torchvision_classifier
from ptft.model.vision.vit import VisionTransformer
from tests.compression.workshop import IMAGE_SPEC, TinyWorkshop, convnet, image_batch, image_task, resnet, vgg
from tests.task.harness import total_loss

QUICK = {"recover": None, "recover_between": None, "samples": 32, "iterations": 2}
INPUT = torch.zeros(1, 1, 12, 12)


def step(**settings):
    return PruneChannels(**{**QUICK, **settings})


def grouped():
    """A convolutional network with group norm, of two channels a group."""
    torch.manual_seed(0)
    return ConvNet(IMAGE_SPEC, widths=(16, 64, 64), norm="group")


def mobilenet(seed=0):
    """Torchvision's MobileNet-v2 at a quarter of its width; it tells no parts."""
    torch.manual_seed(seed)
    network = models.mobilenet_v2(num_classes=4, width_mult=0.25)
    network.features[0][0] = nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False)
    return network


def resnet18(seed=0):
    torch.manual_seed(seed)
    return torchvision_classifier(IMAGE_SPEC, architecture="resnet18")


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("of, make", [
    *(("multiply_adds", make) for make in (vgg, resnet, convnet, grouped, mobilenet)),
    *(("parameters", make) for make in (vgg, resnet, convnet, grouped)),
])  # fmt: skip
def test_it_reaches_the_ratio_and_replays_exactly(make, of):
    task, batch = image_task(make()), image_batch(32)
    workshop, parent = TinyWorkshop(task, batch), copy.deepcopy(task.model)
    pruning = step(ratio=0.5, of=of)
    pruning.check(task, IMAGE_SPEC)
    (edit,) = pruning.apply(task, workshop)
    measure = count_parameters if of == "parameters" else lambda network: multiply_adds(network, (INPUT,))
    removed = 1 - measure(task.model) / measure(parent)
    # One step of four channels (of 32, a channel a group, with group norm) is much of so small a network.
    assert 0.5 <= removed < (0.52 if make is mobilenet else 0.8)
    assert not workshop.warned
    fresh = make()
    apply_edits(fresh, json.loads(json.dumps([edit])))
    fresh.load_state_dict(task.model.state_dict())
    assert torch.equal(fresh.eval()(batch["image"]), task.model(batch["image"]))
    assert f"{count_parameters(parent):,} -> {count_parameters(task.model):,} parameters" in workshop.said[0]


def test_what_the_plan_expects_is_what_is_counted():
    task, batch = image_task(resnet18()), image_batch(32)
    workshop = TinyWorkshop(task, batch)
    (edit,) = step(ratio=0.7, iterations=1).apply(task, workshop)
    removed = 1 - multiply_adds(task.model, (INPUT,)) / multiply_adds(workshop.parent.model, (INPUT,))
    assert 0.7 <= removed < 0.705
    fresh = resnet18()
    apply_edits(fresh, [edit])
    fresh.load_state_dict(task.model.state_dict())
    assert torch.equal(fresh.eval()(batch["image"]), task.model(batch["image"]))


@pytest.mark.parametrize("make", [vgg, resnet, mobilenet])
def test_no_layer_is_emptied_and_it_says_how_far_it_came(make):
    task = image_task(make())
    workshop = TinyWorkshop(task, image_batch(64))
    step(ratio=0.99, max_per_layer=1.0).apply(task, workshop)
    assert min(module.out_channels for module in convolutions(task.model)) == 4
    assert task.model(INPUT).shape == (1, 4)
    assert len(workshop.warned) == 1 and "not 99.0%" in workshop.warned[0]


@pytest.mark.parametrize("round_to, make", [(8, mobilenet), (3, mobilenet)])
def test_numbers_of_channels_are_multiples(round_to, make):
    task = image_task(make())
    before = [(m.out_channels, m.groups) for m in convolutions(task.model)]
    step(ratio=0.4, round_to=round_to, iterations=1).apply(task, TinyWorkshop(task, image_batch(64)))
    after = [m.out_channels for m in convolutions(task.model)]
    assert all(new == old or new % round_to == 0 for new, (old, _) in zip(after, before, strict=True))
    assert sum(new != old for new, (old, _) in zip(after, before, strict=True)) > 5
    assert all(m.groups in (1, m.out_channels) for m in convolutions(task.model))


def test_no_layer_loses_more_than_its_share():
    task = image_task(vgg())
    step(ratio=0.99, max_per_layer=0.5).apply(task, TinyWorkshop(task, image_batch(64)))
    assert [m.out_channels for m in convolutions(task.model)] == [4, 8, 12, 12]


def test_each_layer_loses_as_large_a_share_with_scope_layer():
    torch.manual_seed(0)
    task = image_task(ConvNet(IMAGE_SPEC, widths=(32, 64, 64)))
    step(ratio=0.75, scope="layer").apply(task, TinyWorkshop(task, image_batch(64)))
    shares = [m.out_channels / old for m, old in zip(convolutions(task.model), (32, 64, 64), strict=True)]
    assert max(shares) - min(shares) <= 4 / 32 and abs(sum(shares) / 3 - 0.5) < 0.1


@pytest.mark.parametrize("importance", ["taylor", "magnitude", "group_norm"])
def test_channels_of_zeros_go_first_and_change_no_logits(importance):
    task, batch = image_task(vgg()), image_batch(64)
    zeros = {"blocks.0": [0, 2, 3, 6], "blocks.1": [1, 2, 4, 8, 9, 11, 12, 15]}
    with torch.no_grad():
        for name, channels in zeros.items():
            convolution, norm = task.model.get_submodule(name)[0], task.model.get_submodule(name)[1]
            convolution.weight[channels] = 0
            norm.weight[channels] = 0
            norm.bias[channels] = 0
        for reader, channels in (
            (task.model.blocks[1][0], zeros["blocks.0"]),
            (task.model.blocks[2][0], zeros["blocks.1"]),
        ):
            reader.weight[:, channels] = 0
    before = task.model(batch["image"])
    step(ratio=0.2, importance=importance, iterations=1).apply(task, TinyWorkshop(task, batch))
    assert any(len(m.weight) < old for m, old in zip(convolutions(task.model), (8, 16, 24, 24), strict=True))
    torch.testing.assert_close(task.model(batch["image"]), before, rtol=1e-5, atol=1e-6)


def test_taylor_is_the_squared_sum_of_gradient_times_weight_over_what_reads_a_channel():
    task, batch = image_task(vgg()), image_batch(64)
    pieces = [{name: value[start : start + 32] for name, value in batch.items()} for start in (0, 32)]
    with all_trained(task.model):
        groups = channel_groups(task.model, (INPUT,))
        found = dict(zip((group.name for group in groups), taylor(task, pieces, groups), strict=True))
    expected = torch.zeros(8, dtype=torch.float64)
    weight = task.model.blocks[1][0].weight  # the only layer that reads the first one's channels
    for piece in pieces:
        (gradient,) = torch.autograd.grad(total_loss(task, piece, "model"), [weight])
        expected += (gradient * weight).double().sum((0, 2, 3)).square() / 2
    torch.testing.assert_close(found["blocks.0.0"], expected)
    assert all(parameter.grad is None for parameter in task.parameters())


def test_taylor_tells_the_first_order_change_of_the_loss():
    task, batch = image_task(vgg()).double(), image_batch(32)
    batch["image"] = batch["image"].double()
    with all_trained(task.model):
        groups = channel_groups(task.model, (INPUT.double(),))
        found = dict(zip((group.name for group in groups), taylor(task, [batch], groups), strict=True))
    before, share = total_loss(task, batch, "model"), 1e-6
    with torch.no_grad():
        task.model.blocks[2][0].weight[:, 5] *= 1 - share  # the reader of the second block's channels
    change = float((total_loss(task, batch, "model") - before).detach()) / share
    assert change**2 == pytest.approx(float(found["blocks.1.0"][5]), rel=1e-3)


def test_magnitudes_are_sums_over_filters_and_over_everything():
    network = vgg().eval()
    with all_trained(network):
        groups = channel_groups(network, (INPUT,))
        place = [group.name for group in groups].index("blocks.0.0")
        filters, everything = magnitude(groups)[place], group_norm(groups)[place]
    writer, norm, reader = network.blocks[0][0].weight, network.blocks[0][1].weight, network.blocks[1][0].weight
    torch.testing.assert_close(filters, writer.abs().sum((1, 2, 3)).double())
    expected = writer.square().sum((1, 2, 3)) + norm.square() + reader.square().sum((0, 2, 3))
    torch.testing.assert_close(everything, expected.double())


def test_it_trains_between_rounds_and_after_the_last():
    task = image_task(convnet())
    workshop = TinyWorkshop(task, image_batch(64))
    PruneChannels(ratio=0.4, recover="6st", recover_between="2st", samples=32).apply(task, workshop)
    assert [(duration, part) for duration, _, part in workshop.recovered] == [
        ("2st", "round1"), ("2st", "round2"), ("6st", "recover")
    ]  # fmt: skip


def test_twice_the_same_is_the_same_to_the_bit():
    results = []
    for _ in range(2):
        task = image_task(resnet())
        edits = step(ratio=0.5).apply(task, TinyWorkshop(task, image_batch(64)))
        results.append((edits, task.state_dict()))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(value, results[1][1][name]) for name, value in results[0][1].items())


def test_frozen_layers_are_pruned_and_stay_frozen():
    task = image_task(vgg())
    task.model.blocks[1].requires_grad_(False)
    step(ratio=0.7).apply(task, TinyWorkshop(task, image_batch(64)))
    frozen = {name for name, parameter in task.model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"blocks.1.0.weight", "blocks.1.1.weight", "blocks.1.1.bias"}
    assert task.model.blocks[1][0].out_channels < 16


def test_checking_changes_nothing():
    task = image_task(vgg())
    before = {name: value.clone() for name, value in task.state_dict().items()}
    step().check(task, IMAGE_SPEC)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_vision_transformers_are_sent_to_heads():
    network = VisionTransformer(IMAGE_SPEC, patch_size=4, depth=1, heads=2, width=8, mlp=16)
    with pytest.raises(ConfigError, match="prune_heads"):
        step().check(image_task(network), IMAGE_SPEC)
