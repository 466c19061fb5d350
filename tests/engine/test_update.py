"""An accumulated step equals one big batch, with unequal counts and several terms; only one place calls backward."""

import math

import pytest
import torch
from torch import nn

from ptft.engine.optimize import PhaseOptimizer
from ptft.engine.update import Update, cut, total_loss
from ptft.engine.window import Window
from ptft.runtime.distributed import World
from ptft.runtime.precision import Precision
from ptft.schedule.constant import Constant
from ptft.schedule.schedule import WarmedUp
from ptft.task.task import StepOutput
from ptft.task.vision.gan import GAN
from tests.task.toys import (
    IGNORED,
    SPEC,
    DistillationToy,
    TinyGAN,
    TokenToy,
    image_batch,
    token_batch,
)

CPU = torch.device("cpu")


def make_update(task, *, micro_batch_size=1000, precision="fp32", lr=0.1, optimizer=torch.optim.SGD, **settings):
    number_type = Precision(precision, CPU)
    scaler = number_type.scaler()
    optimizers = {}
    for phase in task.phases:
        named = task.parameters_of(phase)
        group = {"params": list(named.values()), "names": list(named), "decay": True}
        optimizers[phase] = PhaseOptimizer(
            optimizer([group], lr=lr, fused=True), WarmedUp(Constant(), 0, 100), scaler, **settings
        )
    update = Update(
        task, optimizers, Window(CPU), number_type, seed=3, micro_batch_size=micro_batch_size, world=World()
    )
    task.train()
    return update


def weights(task):
    return {name: tensor.clone() for name, tensor in task.state_dict().items()}


def assert_close(first, second, tolerance=1e-6):
    for name in first:
        assert torch.allclose(first[name].double(), second[name].double(), rtol=0, atol=tolerance), name


@pytest.mark.parametrize("size", [1, 3, 5, 16])
@pytest.mark.parametrize(("make_task", "batch"), [(TokenToy, token_batch(16)), (DistillationToy, image_batch(16))])
def test_an_accumulated_step_equals_one_big_batch(make_task, batch, size):
    results = []
    for micro_batch_size in (16, size):
        torch.manual_seed(0)
        task = make_task()
        make_update(task, micro_batch_size=micro_batch_size)(batch, 0, 100)
        results.append(weights(task))
    assert_close(*results)


def test_unequal_token_counts_are_weighted_by_tokens_not_by_micro_batches():
    """Transformers 34191: lengths 3, 17, 5, 40 averaged a micro-batch at a time give another gradient."""
    torch.manual_seed(0)
    task = TokenToy()
    batch = token_batch(8)
    batch["labels"][:4] = IGNORED  # the first micro-batch counts no token at all
    before = weights(task)
    make_update(task, micro_batch_size=4)(batch, 0, 100)

    reference = TokenToy()
    reference.load_state_dict(before)
    outputs = reference(batch)
    tokens = (batch["labels"] != IGNORED).sum()
    pair = nn.functional.cross_entropy(outputs["pair_logits"], batch["pair"])
    (reference.token_sums(outputs, batch).sum() / tokens + 0.5 * pair).backward()
    for parameter in reference.parameters():
        if parameter.grad is not None:
            parameter.data -= 0.1 * parameter.grad
    assert_close(weights(task), weights(reference))


def test_a_term_that_counts_nothing_adds_nothing():
    value = torch.tensor(0.0, requires_grad=True)
    output = StepOutput({"token": value * 0, "pair": torch.tensor(6.0)}, {"pair": 0.5})
    assert total_loss(output, {"token": 0, "pair": 3}).item() == 1.0
    assert total_loss(output, {"token": torch.tensor(0), "pair": 3}).item() == 1.0


def test_a_sum_of_weights_below_one_is_divided_by_as_it_is():
    for weights in (0.25, torch.tensor(0.25)):
        output = StepOutput({"cross_entropy": torch.tensor(1.0)})
        assert float(total_loss(output, {"cross_entropy": weights})) == 4
        window = Window(torch.device("cpu"))
        window.add_losses(output.sums, {})
        window.add_counts({"cross_entropy": weights})
        assert window.take()["loss"] == 4


def test_one_step_equals_hand_written_sgd_in_double_precision():
    torch.manual_seed(0)
    task = DistillationToy().double()
    batch = image_batch(8)
    batch["image"] = batch["image"].double()
    before = weights(task)
    make_update(task, lr=0.3)(batch, 0, 100)

    reference = DistillationToy().double()
    reference.load_state_dict(before)
    reference.train()
    outputs = reference(batch)
    output = reference.loss(outputs, batch, "model")
    loss = sum(output.coefficients[name] * value / 8 for name, value in output.sums.items())
    gradients = torch.autograd.grad(loss, list(reference.model.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(reference.model.parameters(), gradients, strict=True):
            parameter -= 0.3 * gradient
    assert_close(weights(task), weights(reference), 1e-12)


def test_an_external_teacher_is_neither_trained_nor_moved():
    task = DistillationToy()
    before = weights(task)
    update = make_update(task)
    for step in range(3):
        update(image_batch(8, seed=step), step, 100)
    after = weights(task)
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("teacher."))
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("model."))
    assert not task.teacher.training


def test_each_phase_updates_its_own_network_only():
    torch.manual_seed(0)
    task = GAN(TinyGAN(), SPEC)
    update = make_update(task)
    batch = image_batch(8)
    generator_before = weights(task.generator)
    discriminator_before = weights(task.discriminator)
    update.optimizers["generator"].step = lambda step: None
    update(batch, 0, 100)
    assert_close(generator_before, weights(task.generator), 0.0)
    assert any(not torch.equal(discriminator_before[n], t) for n, t in weights(task.discriminator).items())


def test_dropout_is_a_function_of_seed_step_and_micro_batch_alone():
    def outputs(disturb):
        torch.manual_seed(0)
        task = DistillationToy()
        task.model.block = nn.Sequential(task.model.block, nn.Dropout(0.5))
        update = make_update(task, micro_batch_size=4)
        if disturb:
            torch.rand(17)
        update(image_batch(8), 5, 100)
        return weights(task)

    assert_close(outputs(False), outputs(True), 0.0)


@pytest.mark.parametrize("on_device", [False, True])
def test_a_gradient_that_is_not_finite_leaves_weights_and_moments_untouched(on_device):
    """Accelerators skip the update inside the fused optimizer, without a synchronisation; the CPU's can do so too."""
    torch.manual_seed(0)
    task = DistillationToy()
    update = make_update(task, optimizer=torch.optim.AdamW)
    optimizer = update.optimizers["model"]
    if on_device:
        optimizer._flags_on_device, optimizer._apply = True, optimizer._step_on_device
    update(image_batch(8), 0, 100)
    before = weights(task)
    moments = [{k: v.clone() for k, v in s.items()} for s in update.optimizers["model"].optimizer.state.values()]
    bad = image_batch(8, seed=1)
    bad["image"][3, 0, 0, 0] = math.nan
    update(bad, 1, 100)
    assert_close(before, weights(task), 0.0)
    for old, new in zip(moments, update.optimizers["model"].optimizer.state.values(), strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)
    assert update.optimizers["model"].take_nonfinite() == [False, True]


def test_fp16_scales_and_skips_an_overflow_without_calling_it_a_fault():
    torch.manual_seed(0)
    task = DistillationToy()
    update = make_update(task, precision="fp16")
    before = weights(task)
    update(image_batch(8), 0, 100)
    scale = update.scaler.get_scale()
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(task).items())
    bad = image_batch(8)
    bad["image"] *= 1e30
    before = weights(task)
    update(bad, 1, 100)
    assert_close(before, weights(task), 0.0)
    assert update.scaler.get_scale() < scale
    assert update.optimizers["model"].take_nonfinite() == [False]
    for step in range(2, 20):
        update(bad, step, 100)
    assert update.optimizers["model"].take_nonfinite() == [True], "a run that overflows in every step has diverged"


@pytest.mark.parametrize("total", [1, 4, 5, 7])
def test_cutting_keeps_every_example_once_and_in_order(total):
    batch = {"index": torch.arange(total), "nested": {"x": torch.arange(total) * 2}, "pair": (torch.arange(total),)}
    parts = cut(batch, 2)
    assert torch.cat([part["index"] for part in parts]).tolist() == list(range(total))
    assert torch.cat([part["nested"]["x"] for part in parts]).tolist() == [2 * i for i in range(total)]
    assert all(len(part["pair"][0]) == len(part["index"]) for part in parts)


def test_cutting_takes_along_what_mixing_augmentations_add():
    batch = image_batch(10) | {"partner_label": torch.arange(10), "label_share": torch.linspace(0, 1, 10)}
    parts = cut(batch, 4)
    for name in ("partner_label", "label_share"):
        assert torch.equal(torch.cat([part[name] for part in parts]), batch[name])


def test_the_window_gives_exact_means_over_unequal_batches():
    window = Window(CPU)
    for value, count in ((2.0, 1), (30.0, 10), (4.0, 5)):
        window.add_losses({"a": torch.tensor(value), "b": torch.tensor(1.0)}, {"b": 0.5})
        window.add_counts({"a": count, "b": 2})
        window.add_scalars({"x": torch.tensor(value)})
    values = window.take()
    assert values == pytest.approx({"a": 36 / 16, "b": 0.5, "loss": 36 / 16 + 0.25, "x": 12.0})
    assert window.take() == {"loss": 0}


def test_the_window_weighs_each_step_with_its_own_coefficient():
    window = Window(CPU)
    for coefficient in (1.0, 0.0):  # an annealed term
        window.add_losses({"a": torch.tensor(4.0)}, {"a": coefficient})
        window.add_counts({"a": 1})
    assert window.take() == {"loss": 2.0}
