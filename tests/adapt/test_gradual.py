"""Gradual unfreezing: from the top down, at the steps it says, and what is frozen stands still to the bit."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from ptft.adapt.gradual import Gradual, Unfreezing
from ptft.engine.optimize import PhaseOptimizer
from ptft.errors import ConfigError
from ptft.model.parts import belongs
from ptft.model.vision.convnet import ConvNet
from ptft.model.vision.dcgan import DCGAN
from ptft.model.vision.mlp import MLP
from ptft.model.vision.resnet import ResNet
from ptft.model.vision.vgg import VGG
from ptft.optimizer.adam import adam
from ptft.optimizer.adamw import adamw
from ptft.optimizer.groups import parameter_groups
from ptft.optimizer.sgd import sgd
from ptft.runtime.duration import Clock
from ptft.runtime.precision import Precision
from ptft.schedule.constant import Constant
from ptft.schedule.schedule import WarmedUp
from tests.adapt.test_adapt import SPEC, Holder, make

CLOCK = Clock(batch_size=10, num_examples=105, max_steps=60)  # 10.5 steps an epoch


def hook_of(model, **settings) -> Unfreezing:
    adapt = Gradual(**settings)
    adapt.apply(model)
    (hook,) = adapt.hooks(model, CLOCK)
    return hook


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def under(model, *prefixes):
    return {name for name, _ in model.named_parameters() if any(belongs(name, prefix) for prefix in prefixes)}


@pytest.mark.parametrize(
    ("settings", "due"),
    [
        ({}, [10, 20, 30]),  # two blocks and the stem, done by half of 60 steps
        ({"every": "10%"}, [6, 12, 18]),
        ({"every": "1ep"}, [11, 21, 32]),
        ({"every": "7st", "blocks": 1}, [7, 14]),
        ({"blocks": 2}, [30]),
    ],
)
def test_the_steps_are_those_of_the_settings(settings, due):
    hook = hook_of(make(ResNet), **settings)
    assert hook.due == due
    assert [hook.next_due(step) for step in (0, due[0] - 1, due[0], due[-1])] == [
        due[0],
        due[0],
        due[1] if len(due) > 1 else math.inf,
        math.inf,
    ]


def test_the_head_trains_first_then_blocks_from_the_top_the_stem_last():
    model = make(ResNet)
    hook = hook_of(model, every="5st")
    order = [("fc",), ("fc", "layer2"), ("fc", "layer2", "layer1"), ("fc", "layer2", "layer1", "conv1", "bn1")]
    for number, prefixes in enumerate(order):
        for step in (5 * number, 5 * number + 4):
            hook.apply(step)
            assert trained(model) == under(model, *prefixes)


def test_what_holds_at_a_step_does_not_depend_on_how_it_was_reached():
    walked, jumped = make(ResNet), make(ResNet)
    first, second = hook_of(walked, every="5st"), hook_of(jumped, every="5st")
    for step in range(12):
        first.apply(step)
    second.apply(11)

    def state(model):
        marks = {name for name, module in model.named_modules() if getattr(module, "frozen", False)}
        return trained(model), marks, {name for name, module in model.named_modules() if module.training}

    assert state(walked) == state(jumped)
    second.apply(3)
    assert trained(jumped) == under(jumped, "fc")


@pytest.mark.parametrize("network", [ConvNet, VGG, ResNet, MLP])
@pytest.mark.parametrize("optimizer", [sgd, adam, adamw])
def test_neither_decay_nor_momentum_nor_statistics_move_what_is_frozen(network, optimizer):
    model = make(network)
    task = Holder(model)
    hook = hook_of(model, every="3st")
    groups = parameter_groups(dict(model.named_parameters()), set())
    assert {name for group in groups for name in group["names"]} == {name for name, _ in model.named_parameters()}
    scaler = Precision("fp32", torch.device("cpu")).scaler()
    stepper = PhaseOptimizer(
        optimizer(groups, lr=0.05, weight_decay=0.1), WarmedUp(Constant(), 0, 60), scaler, clip_norm=1.0, l1=1e-3
    )
    task.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(3 * (len(hook.due) + 1)):
        hook.apply(step)
        task.eval()
        task.train()  # an evaluation in between
        frozen = [prefix for layer in hook.layers[hook.num_unfrozen(step) :] for prefix in layer]
        stepper.zero_grad()
        cross_entropy(model(torch.randn(16, 1, 8, 8)), torch.arange(16) % 5).backward()
        stepper.step(step)
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert moved == {name for name in before if not any(belongs(name, prefix) for prefix in frozen)}
    assert not frozen


def test_a_parameter_frozen_by_the_model_itself_stays_so():
    model = make(ConvNet)
    model.stem[0].weight.requires_grad_(False)
    hook_of(model, every="1st").apply(50)
    assert not model.stem[0].weight.requires_grad and len(trained(model)) == len(list(model.parameters())) - 1


def test_the_line_says_when_and_what_never_is():
    assert hook_of(make(ResNet)).describe() == ("gradual unfreezing: the first of 3 layers at step 10, the last at 30")
    assert hook_of(make(ResNet), every="25st").describe() == (
        "gradual unfreezing: the first of 3 layers at step 25, the last at 50; 1 stay frozen to the end"
    )
    assert hook_of(make(ResNet), every="60st").describe() == (
        "gradual unfreezing: 3 of 3 layers stay frozen to the end"
    )


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match=r"adapt.every=0ep takes more than nothing"):
        Gradual(every="0ep")
    with pytest.raises(ConfigError, match=r"adapt.blocks=3, but ResNet has 2 blocks; use 0 to 2"):
        Gradual(blocks=3).apply(make(ResNet))
    with pytest.raises(ConfigError, match="adapt=gradual needs a model that tells"):
        Gradual().apply(DCGAN(SPEC))
