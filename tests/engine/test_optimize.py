"""Learning rates, clipping, penalties and weight decay, each against its closed form."""

import math

import pytest
import torch
from torch import nn

from ptft.engine.optimize import PhaseOptimizer
from ptft.optimizer.adam import adam
from ptft.optimizer.adamw import adamw
from ptft.optimizer.groups import embedding_names, parameter_groups
from ptft.optimizer.sgd import sgd
from ptft.runtime.duration import Clock
from ptft.runtime.precision import Precision
from ptft.schedule.constant import Constant
from ptft.schedule.cosine import Cosine
from ptft.schedule.linear import Linear
from ptft.schedule.plateau import Plateau
from ptft.schedule.schedule import WarmedUp
from ptft.schedule.step import Step

SCALER = Precision("fp32", torch.device("cpu")).scaler()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.linear = nn.Linear(4, 3)
        self.norm = nn.LayerNorm(3)

    def groups(self, **settings):
        return parameter_groups(dict(self.named_parameters()), embedding_names(self), **settings)


def phase_optimizer(net, make=sgd, schedule=None, **settings):
    names = ("clip_norm", "l1")
    extra = {name: settings.pop(name) for name in names if name in settings}
    return PhaseOptimizer(make(net.groups(), **settings), schedule or WarmedUp(Constant(), 0, 10), SCALER, **extra)


@pytest.mark.parametrize("decay_all", [False, True])
def test_every_parameter_is_in_exactly_one_group(decay_all):
    net = Net()
    groups = net.groups(decay_all=decay_all)
    listed = [parameter for group in groups for parameter in group["params"]]
    assert len(listed) == len(set(map(id, listed))) == len(list(net.parameters()))
    assert [name for group in groups if group["decay"] for name in group["names"]] == (
        [name for name, _ in net.named_parameters()] if decay_all else ["linear.weight"]
    )


@pytest.mark.parametrize("make", [sgd, adam, adamw])
def test_with_no_gradient_only_decayed_parameters_move(make):
    net = Net()
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimizer = phase_optimizer(net, make, lr=0.1, weight_decay=0.5)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0)
    moved = {name for name, parameter in net.named_parameters() if not torch.equal(before[name], parameter)}
    assert moved == {"linear.weight"}


@pytest.mark.parametrize(("warmup", "steps"), [(0, 10), (4, 10), (10, 10), (0, 1), (3, 40)])
def test_cosine_with_warm_up_follows_its_formula_at_every_step(warmup, steps):
    schedule = WarmedUp(Cosine(min_factor=0.1), warmup, steps)
    for step in range(steps):
        if step < warmup:
            expected = (step + 1) / warmup
        else:
            progress = (step - warmup) / max(1, steps - 1 - warmup)
            expected = 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2
        assert schedule.factor(step) == pytest.approx(expected, abs=1e-12)


def test_the_line_ends_at_its_least_factor_and_the_constant_never_moves():
    assert [WarmedUp(Linear(min_factor=0.2), 0, 5).factor(step) for step in range(5)] == pytest.approx(
        [1, 0.8, 0.6, 0.4, 0.2]
    )
    assert {WarmedUp(Constant(), 0, 5).factor(step) for step in range(5)} == {1.0}


def test_steps_fall_at_their_milestones():
    schedule = Step(milestones=["50%", "8st"], gamma=0.1)
    schedule.setup(Clock(1, 10, 10))
    assert [round(schedule.factor(0.0, step), 10) for step in range(10)] == [1] * 5 + [0.1] * 3 + [0.01] * 2


def test_the_plateau_falls_after_more_than_its_patience_and_resumes_where_it_was():
    schedule = Plateau(gamma=0.5, patience=1, min_factor=0.2)
    factors = []
    for is_better in (True, False, False, False, False, True, False, False):
        schedule.observe(0.0, is_better)
        factors.append(schedule.factor(0.0, 0))
    assert factors == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2]
    other = Plateau(gamma=0.5, patience=1, min_factor=0.2)
    other.load_state_dict(schedule.state_dict())
    assert other.factor(0.0, 0) == 0.2


def test_the_learning_rate_of_each_step_is_the_schedule_s():
    net = Net()
    optimizer = phase_optimizer(net, lr=0.5, schedule=WarmedUp(Linear(), 2, 6), momentum=0.0, weight_decay=0.0)
    rates = []
    for step in range(6):
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        before = net.linear.bias.detach().clone()
        optimizer.step(step)
        rates.append((before - net.linear.bias)[0].item())
    assert rates == pytest.approx([0.25, 0.5, 0.5, 1 / 3, 1 / 6, 0], abs=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_clipping_bounds_the_norm_and_reports_the_one_before(scale):
    net = Net()
    optimizer = phase_optimizer(net, lr=1.0, momentum=0.0, weight_decay=0.0, clip_norm=0.5)
    for parameter in net.parameters():
        parameter.grad = scale * torch.randn(parameter.shape)
    norm = math.sqrt(sum(float(p.grad.double().pow(2).sum()) for p in net.parameters()))
    optimizer.step(0)
    clipped = math.sqrt(sum(float(p.grad.double().pow(2).sum()) for p in net.parameters()))
    assert float(optimizer.last_norm) == pytest.approx(norm, rel=1e-5)
    assert clipped == pytest.approx(min(norm, 0.5), rel=1e-4) and clipped <= 0.5 + 1e-6


def test_the_l1_penalty_adds_the_sign_of_decayed_weights_only():
    net = Net()
    optimizer = phase_optimizer(net, lr=1.0, momentum=0.0, weight_decay=0.0, l1=0.01)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0)
    assert torch.allclose(net.linear.weight, before["linear.weight"] - 0.01 * before["linear.weight"].sign())
    assert torch.equal(net.norm.weight, before["norm.weight"]) and torch.equal(net.linear.bias, before["linear.bias"])


@pytest.mark.parametrize(
    ("make", "reference", "settings"),
    [
        (sgd, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        (adam, torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.1}),
        (adamw, torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.1}),
    ],
)
def test_the_fused_forms_equal_torch_s_plain_ones(make, reference, settings):
    torch.manual_seed(0)
    first, second = Net(), Net()
    second.load_state_dict(first.state_dict())
    mine, groups = phase_optimizer(first, make, **settings), second.groups()
    theirs = reference(
        [{k: v for k, v in group.items() if k in ("params", "weight_decay")} for group in groups], **settings
    )
    for step in range(5):
        for one, two in zip(first.parameters(), second.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(step + one.numel()))
            two.grad = one.grad.clone()
        mine.step(step)
        theirs.step()
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-6)


def test_moments_come_back_by_name_whatever_the_order():
    first, second = Net(), Net()
    optimizer = phase_optimizer(first, adamw, lr=0.1)
    for parameter in first.parameters():
        parameter.grad = torch.randn(parameter.shape)
    optimizer.step(0)
    turned = dict(reversed(list(second.named_parameters())))
    groups = parameter_groups(turned, embedding_names(second))
    other = PhaseOptimizer(adamw(groups, lr=0.1), WarmedUp(Constant(), 0, 10), SCALER)
    other.load_state_dict(optimizer.state_dict())
    for name, moments in optimizer.state_dict()["moments"].items():
        assert torch.equal(moments["exp_avg"], other.state_dict()["moments"][name]["exp_avg"])
    with pytest.raises(KeyError, match="differ"):
        other.load_state_dict({**optimizer.state_dict(), "moments": {"gone": {}}})


@pytest.mark.parametrize("make", [sgd, adam, adamw])
def test_moments_come_back_in_the_layout_of_their_parameter(make):
    """Fused optimizers read weights and moments by position in memory."""

    def build():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(4, 3, 3), nn.Conv2d(3, 2, 1)).to(memory_format=torch.channels_last)

    def optimizer_of(net):
        groups = parameter_groups(dict(net.named_parameters()), set())
        return PhaseOptimizer(make(groups, lr=0.1), WarmedUp(Constant(), 0, 10), SCALER)

    def step(net, optimizer, number):
        net.zero_grad()
        net(torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(number))).square().mean().backward()
        optimizer.step(number)

    whole, resumed = build(), build()
    first = optimizer_of(whole)
    for number in range(3):
        step(whole, first, number)
    resumed.load_state_dict(whole.state_dict())
    second = optimizer_of(resumed)
    moments = first.state_dict()["moments"]
    saved = {name: {k: v.clone().contiguous() for k, v in moment.items()} for name, moment in moments.items()}
    second.load_state_dict({**first.state_dict(), "moments": saved})
    for number in range(3, 6):
        step(whole, first, number)
        step(resumed, second, number)
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_parameter_may_join_later_and_momentum_makes_the_same_first_step():
    late, alone = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))
    early = nn.Parameter(torch.ones(2, 2))
    both = parameter_groups({"early": early, "late": late}, set())
    reference = torch.optim.SGD([alone], lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    optimizer = PhaseOptimizer(sgd(both, lr=0.1), WarmedUp(Constant(), 0, 10), SCALER)
    for number in range(6):
        early.grad = torch.full((2, 2), 0.5)
        late.grad, alone.grad = (torch.full((3, 3), 0.3) if number >= 3 else None for _ in range(2))
        before = late.detach().clone()
        optimizer.step(number)
        if number < 3:
            assert torch.equal(late, before)
        reference.step()
    assert torch.allclose(late, alone, atol=1e-6)
