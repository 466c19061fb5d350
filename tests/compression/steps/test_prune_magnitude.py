"""Unstructured pruning: the cubic curve, and zeros that survive all that training and saving do."""

import copy
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ptft.compression.cost import count_zeros, sparsity
from ptft.compression.sparsity_schedule import GradualPruning, Masks, cubic, smallest
from ptft.compression.steps.prune_magnitude import PruneMagnitude
from ptft.engine.ema import Ema
from ptft.engine.settings import EmaSettings
from ptft.errors import ConfigError
from tests.compression.workshop import IMAGE_SPEC, TinyWorkshop, image_batch, image_task, vgg
from tests.task.harness import total_loss


def masked(target=0.8, scope="global"):
    """Return a task whose weights are masked, and its masks."""
    task = image_task(vgg())
    masks = Masks(task.model, (), scope)
    masks.put_on()
    masks.tighten(target)
    return task, masks


def zeros_are_the_masks(network, masks):
    """Tell whether the weights that are computed with are 0 where, and only where, they are masked."""
    return all(
        torch.equal(getattr(module, name) != 0, module.parametrizations[name][0].kept)
        for module, name in masks.weights.values()
    )


def test_the_curve_is_the_papers():
    for step, share in ((0, 0), (10, 0), (30, 0.25), (50, 0.5), (90, 1), (200, 1)):
        assert cubic(step, 0.8, 10, 90) == pytest.approx(0.8 + (0 - 0.8) * (1 - share) ** 3)


def test_exactly_so_many_go_even_if_all_are_equal():
    assert smallest(torch.ones(10), 0.3).sum() == 3
    assert smallest(torch.tensor([3.0, 1.0, 2.0, 1.0]), 0.5).tolist() == [False, True, False, True]
    assert not smallest(torch.ones(3), 0.0).any()
    assert smallest(torch.ones(3), 1.0).all()


@pytest.mark.parametrize("make", [
    lambda parameters: torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1),
    lambda parameters: torch.optim.SGD(parameters, lr=1e-2, momentum=0.9, nesterov=True, weight_decay=1e-3),
], ids=["adamw", "sgd"])  # fmt: skip
def test_pruned_weights_stay_zero_after_fifty_steps(make, tmp_path):
    task, batch = image_task(vgg()), image_batch(32)
    optimizer = None
    masks = Masks(task.model, (), "global")
    masks.put_on()
    optimizer = make(task.parameters())
    ema = Ema(task, EmaSettings(decay=0.9), set(task.state_dict()))
    for step in range(50):
        if step == 20:  # momentum is there already
            masks.tighten(0.7)
        task.train()
        optimizer.zero_grad()
        total_loss(task, batch, "model").backward()
        optimizer.step()
        ema.update(step)
    pruned = {name: ~module.parametrizations[own][0].kept for name, (module, own) in masks.weights.items()}
    total = sum(mask.numel() for mask in pruned.values())
    assert zeros_are_the_masks(task.model, masks)
    with ema.applied():
        assert zeros_are_the_masks(task.model, masks)
        averaged = {name: getattr(module, own).detach().clone() for name, (module, own) in masks.weights.items()}
    assert all(torch.equal(value == 0, pruned[name]) for name, value in averaged.items())

    save_file(task.state_dict(), tmp_path / "weights.safetensors")
    other = image_task(vgg(seed=3))
    loaded = Masks(other.model, (), "global")
    loaded.put_on()
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    twin = copy.deepcopy(task).eval()
    logits = task.eval()(batch)["logits"]
    assert torch.equal(other(batch)["logits"], logits) and torch.equal(twin(batch)["logits"], logits)
    masks.take_off()
    loaded.take_off()
    assert torch.equal(task(batch)["logits"], logits)
    for name, parameter in task.model.named_parameters():
        if name in pruned:
            assert type(parameter) is nn.Parameter and torch.equal(parameter == 0, pruned[name])
    assert count_zeros(task.model)[0] == round(0.7 * total)


def test_zeros_only_become_more():
    _, masks = masked(0.5)
    before = [module.parametrizations[name][0].kept.clone() for module, name in masks.weights.values()]
    with torch.no_grad():
        for module, name in masks.weights.values():  # pruned ones grow beneath their mask
            module.parametrizations[name].original[~module.parametrizations[name][0].kept] = 99.0
    for target, sparsity_now in ((0.3, 0.5), (0.5, 0.5), (0.8, 0.8)):
        masks.tighten(target)
        assert masks.sparsity == pytest.approx(sparsity_now, abs=1e-4)
        after = [module.parametrizations[name][0].kept for module, name in masks.weights.values()]
        assert not any((new & ~old).any() for new, old in zip(after, before, strict=True))


def test_each_layer_is_as_sparse_with_scope_layer():
    _, masks = masked(0.6, "layer")
    for module, name in masks.weights.values():
        assert int((getattr(module, name) == 0).sum()) == round(0.6 * getattr(module, name).numel())


def test_global_pruning_removes_the_smallest_of_all():
    task = image_task(vgg())
    weights = torch.cat([p.detach().abs().flatten() for p in task.parameters() if p.ndim >= 2])
    masks = Masks(task.model, (), "global")
    masks.put_on()
    masks.tighten(0.6)
    left = torch.cat([getattr(module, name).detach().abs().flatten() for module, name in masks.weights.values()])
    assert left[left > 0].min() >= weights.sort().values[round(0.6 * len(weights)) - 1]


def test_the_hook_is_due_at_its_period_and_at_the_end():
    hook = GradualPruning(None, target=0.8, begin=5, end=27, every=10)
    due, step = [], -1
    while (step := hook.next_due(step)) < math.inf:
        due.append(step)
    assert due == [5, 15, 25, 27]
    assert "80%" in hook.describe() and "27" in hook.describe()


def test_a_resumed_training_changes_no_mask_until_it_is_due():
    _, masks = masked(0.0)
    hook = GradualPruning(masks, target=0.8, begin=0, end=40, every=10)
    hook.apply(0)
    assert masks.sparsity == 0
    hook.apply(10)
    kept = [module.parametrizations[name][0].kept.clone() for module, name in masks.weights.values()]
    for step in (10, 13, 19, 41):  # where a checkpoint may lie
        hook.apply(step)
        now = [module.parametrizations[name][0].kept for module, name in masks.weights.values()]
        assert all(torch.equal(a, b) for a, b in zip(now, kept, strict=True))
    hook.apply(20)
    assert masks.sparsity == pytest.approx(cubic(20, 0.8, 0, 40), abs=1e-4)


@pytest.mark.parametrize(
    "settings", [{}, {"scope": "layer", "begin": 0.2, "end": 1.0}, {"exclude": ["head", "^blocks.0"]}]
)
def test_the_step_leaves_plain_weights_of_the_sparsity(settings):
    task, batch = image_task(vgg()), image_batch(64)
    workshop = TinyWorkshop(task, batch)
    names, classes = list(task.state_dict()), [type(module) for module in task.modules()]
    step = PruneMagnitude(sparsity=0.7, duration="20st", update_every=4, **settings)
    step.check(task, IMAGE_SPEC)
    assert step.apply(task, workshop) == []
    assert list(task.state_dict()) == names and [type(module) for module in task.modules()] == classes
    weights = {name: p for name, p in task.model.named_parameters() if p.ndim >= 2}
    excluded = {name for name in weights if name.startswith(("head", "blocks.0"))} if "exclude" in settings else set()
    zeros = sum(int((p == 0).sum()) for name, p in weights.items() if name not in excluded)
    size = sum(p.numel() for name, p in weights.items() if name not in excluded)
    assert abs(zeros - 0.7 * size) <= len(weights)
    assert all((weights[name] != 0).all() for name in excluded)
    assert f"{sparsity(task.model):.1%}" in workshop.said[0] and "no speed" in workshop.said[0]
    assert all((p != 0).any() for name, p in task.named_parameters() if p.ndim < 2 and "1.weight" in name)
    assert [part for _, _, part in workshop.recovered] == ["sparsify", "settle"][: 1 if settings.get("end") == 1 else 2]


def test_weights_of_an_earlier_step_are_pruned_all_the_same():
    """What is recovered may be the best of all steps, from before the sparsity was reached."""
    task = image_task(vgg())
    workshop = TinyWorkshop(task, image_batch(64))
    train = workshop.recover

    def recover_best(task, duration, hooks=(), *, part="recover", keep="best"):
        kept = copy.deepcopy(task.state_dict())
        train(task, duration, hooks, part=part)
        if part == "sparsify":
            task.load_state_dict(kept)

    workshop.recover = recover_best
    PruneMagnitude(sparsity=0.75, duration="8st", update_every=2).apply(task, workshop)
    assert sparsity(task.model) == pytest.approx(0.75, abs=1e-3)


def test_shared_weights_and_recurrent_layers_stay():
    network = nn.ModuleDict({"table": nn.Embedding(30, 8), "lstm": nn.LSTM(8, 8), "out": nn.Linear(8, 30)})
    network["out"].weight = network["table"].weight
    network["free"] = nn.Linear(8, 4)
    assert list(Masks(network, (), "global").weights) == ["free.weight"]


def test_attention_is_pruned_too():
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    masks = Masks(attention, (), "layer")
    masks.put_on()
    masks.tighten(0.5)
    given = torch.randn(2, 5, 8)
    before = attention(given, given, given)[0]
    masks.take_off()
    assert int((attention.in_proj_weight == 0).sum()) == 96 and int((attention.out_proj.weight == 0).sum()) == 32
    torch.testing.assert_close(attention(given, given, given)[0], before)


@pytest.mark.parametrize("settings, words", [
    ({"sparsity": 1.0}, "leaves no weight"),
    ({"begin": 0.8, "end": 0.5}, "must lie before"),
    ({"exclude": ["."]}, "has no weights"),
    ({"exclude": ["("]}, "regular expressions"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        PruneMagnitude(**settings).check(image_task(vgg()), IMAGE_SPEC)
