"""Pruning to given widths: each layer has as many channels as are asked for, the most important ones."""

import copy

import pytest
import torch

from ptft.compression.steps.prune_to_widths import PruneToWidths
from ptft.compression.structure import apply_edits
from ptft.errors import ConfigError
from ptft.model.vision.convnet import ConvNet
from ptft.model.vision.vit import VisionTransformer
from tests.compression.workshop import IMAGE_SPEC, TinyWorkshop, image_batch, image_task, resnet, vgg

INPUT = torch.zeros(1, 1, 12, 12)


def grouped():
    """A convolutional network with group norm, of one channel a group at first."""
    torch.manual_seed(0)
    return ConvNet(IMAGE_SPEC, widths=(16, 64, 64), norm="group")


def transformer():
    return VisionTransformer(IMAGE_SPEC, width=8, depth=1, heads=2, patch_size=4, mlp=8)


def step(widths, **settings):
    quick = {"recover": None, "recover_between": None, "samples": 32, "iterations": 2}
    return PruneToWidths(widths=widths, **{**quick, **settings})


def width_of(task, name):
    return task.model.get_submodule(name).out_channels


def test_named_layers_get_their_widths_and_the_others_keep_theirs():
    task = image_task(vgg())
    workshop, parent = TinyWorkshop(task, image_batch(64)), copy.deepcopy(task.model)
    edits = step({"blocks.1.0": 5, "blocks.2.0": 24}, iterations=3).apply(task, workshop)
    widths = [width_of(task, name) for name in ("blocks.0.0", "blocks.1.0", "blocks.2.0", "blocks.2.3")]
    assert widths == [8, 5, 24, 24] and not workshop.warned
    apply_edits(parent, edits)
    assert parent.get_submodule("blocks.1.0").out_channels == 5


def test_each_round_leaves_the_same_share():
    task, sizes = image_task(vgg()), []
    workshop = TinyWorkshop(task, image_batch(64))
    workshop.recover = lambda *_, **__: sizes.append(width_of(task, "blocks.1.0"))
    step({"blocks.1.0": 4}, recover_between="1st", recover="1st").apply(task, workshop)
    assert sizes == [8, 4]


def test_channels_of_zeros_go_first_and_change_no_logits():
    task, batch = image_task(vgg()), image_batch(16)
    layer = task.model.get_submodule("blocks.0.0")
    with torch.no_grad():
        norm = task.model.get_submodule("blocks.0.1")
        for tensor in (layer.weight, norm.weight, norm.bias):
            tensor[[1, 4, 6]] = 0
    before = task.model.eval()(batch["image"])
    step({"blocks.0.0": 5}, iterations=1).apply(task, TinyWorkshop(task, image_batch(64)))
    assert width_of(task, "blocks.0.0") == 5
    torch.testing.assert_close(task.model.eval()(batch["image"]), before)


def test_any_layer_that_writes_the_channels_of_a_group_names_it():
    task = image_task(resnet())
    step({"layer3.0.conv2": 9}).apply(task, TinyWorkshop(task, image_batch(64)))
    assert width_of(task, "layer3.0.downsample.0") == 9
    assert task.model(INPUT).shape == (1, 4)


@pytest.mark.parametrize("make, widths, told", [
    (vgg, {}, "has no widths"),
    (vgg, {"blocks.0.0": 0}, "1 or more"),
    (vgg, {"blocks.0.7": 8}, "names blocks.0.7, and the layers whose channels can go are blocks.0.0, blocks.1.0"),
    (vgg, {"blocks.0.0": 9}, "the layer has 8 channels; expected no more"),
    (grouped, {"stem.0": 9}, "a multiple of 16"),
    (resnet, {"layer3.0.conv2": 9, "layer3.0.downsample.0": 8}, "hang together; give one"),
    (transformer, {"x": 8}, "such as prune_heads"),
])  # fmt: skip
def test_what_cannot_be_is_refused(make, widths, told):
    with pytest.raises(ConfigError, match=told):
        step(widths).check(image_task(make()), IMAGE_SPEC)
