"""Learning rates by depth follow their closed form, and the groups stay exact."""

import pytest
import torch
from torch import nn

from ptft.data.data_module import DataSpec
from ptft.engine.optimize import PhaseOptimizer
from ptft.errors import ConfigError
from ptft.model.vision.convnet import ConvNet
from ptft.model.vision.resnet import ResNet
from ptft.model.vision.vit import VisionTransformer
from ptft.optimizer.adamw import adamw
from ptft.optimizer.groups import embedding_names, parameter_groups
from ptft.optimizer.layers import lr_scales
from ptft.optimizer.sgd import sgd
from ptft.runtime.precision import Precision
from ptft.schedule.linear import Linear
from ptft.schedule.schedule import WarmedUp
from ptft.task.classification import Classification

SCALER = Precision("fp32", torch.device("cpu")).scaler()
SPEC = DataSpec(kind="image", shape=(1, 8, 8), classes=tuple("abcde"))


def task_of(network=ResNet):
    torch.manual_seed(0)
    return Classification(ResNet(SPEC, blocks=(1, 1), widths=(8, 16)) if network is ResNet else network(SPEC), SPEC)


def scales_of(task, layer_decay=1.0, head_multiplier=1.0):
    return lr_scales(
        task.model,
        task.parameters_of("model"),
        prefix="model.",
        layer_decay=layer_decay,
        head_multiplier=head_multiplier,
    )


def test_each_part_learns_at_its_share_of_the_one_above():
    scales = scales_of(task_of(), layer_decay=0.5, head_multiplier=10)
    expected = {"conv1": 0.5**3, "bn1": 0.5**3, "layer1": 0.5**2, "layer2": 0.5, "fc": 10.0}
    assert scales == {name: expected[name.split(".")[1]] for name in scales}
    assert set(scales) == set(task_of().parameters_of("model"))


def test_off_is_no_scale_at_all_and_needs_no_parts():
    task = Classification(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), SPEC)
    assert scales_of(task) == {}
    for settings in ({"layer_decay": 0.9}, {"head_multiplier": 2.0}):
        with pytest.raises(ConfigError, match=r"Sequential has no parts\(\): leave both at 1.0"):
            scales_of(task, **settings)


def test_what_a_task_adds_around_the_network_counts_as_the_head():
    task = task_of()
    task.projector = nn.Linear(4, 4)
    scales = scales_of(task, layer_decay=0.5, head_multiplier=3)
    assert scales["projector.weight"] == scales["model.fc.weight"] == 3


@pytest.mark.parametrize("decay_all", [False, True])
def test_every_parameter_is_in_exactly_one_group_with_its_decay_and_its_rate(decay_all):
    task = task_of()
    parameters, scales = task.parameters_of("model"), scales_of(task, 0.7, 5)
    groups = parameter_groups(parameters, embedding_names(task), decay_all=decay_all, scales=scales)
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(parameters) and len(set(names)) == len(names)
    for group in groups:
        assert [id(parameters[name]) for name in group["names"]] == [id(value) for value in group["params"]]
        assert {scales[name] for name in group["names"]} == {group["lr_scale"]}
        assert {decay_all or parameters[name].ndim >= 2 for name in group["names"]} == {group["decay"]}
        assert group.get("weight_decay", None) == (None if group["decay"] else 0.0)
    assert [group["lr_scale"] for group in groups] == sorted((g["lr_scale"] for g in groups), reverse=True)


@pytest.mark.parametrize("make", [sgd, adamw])
def test_each_group_steps_at_its_share_of_the_scheduled_rate(make):
    task = task_of(ConvNet)
    scales = scales_of(task, 0.5, 4)
    groups = parameter_groups(task.parameters_of("model"), embedding_names(task), scales=scales)
    optimizer = PhaseOptimizer(make(groups, lr=0.1), WarmedUp(Linear(), 2, 6), SCALER)
    factors = [0.5, 1, 1, 2 / 3, 1 / 3, 0]
    for step, factor in enumerate(factors):
        for parameter in task.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step(step)
        for group in optimizer.optimizer.param_groups:
            assert group["lr"] == pytest.approx(0.1 * factor * scales[group["names"][0]])
        assert optimizer.lr == pytest.approx(0.1 * factor * 4)  # the highest is what is logged


def test_a_plain_step_moves_each_part_by_its_own_rate():
    task = task_of()
    scales = scales_of(task, 0.5, 4)
    groups = parameter_groups(task.parameters_of("model"), embedding_names(task), scales=scales)
    optimizer = PhaseOptimizer(sgd(groups, lr=0.1, momentum=0.0, weight_decay=0.0), WarmedUp(Linear(), 0, 2), SCALER)
    before = {name: value.detach().clone() for name, value in task.parameters_of("model").items()}
    for parameter in task.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(0)
    for name, parameter in task.parameters_of("model").items():
        assert torch.allclose(before[name] - parameter, torch.full_like(parameter, 0.1 * scales[name]), atol=1e-6), name


def test_tokens_and_positions_of_a_vision_transformer_are_not_decayed():
    spec = DataSpec(kind="image", shape=(1, 8, 8), classes=("a", "b"))
    model = VisionTransformer(spec, patch_size=4, depth=1, heads=1, width=8, mlp=8)
    names = embedding_names(model)
    assert names == {"class_token", "encoder.pos_embedding"}
    groups = parameter_groups(dict(model.named_parameters()), names)
    assert {name for group in groups if group["decay"] for name in group["names"]} == {
        name for name, value in model.named_parameters() if value.ndim >= 2 and name not in names
    }
