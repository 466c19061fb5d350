"""Losses against loops written by hand and closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from ptft.loss.adversarial import fake_sum, real_sum
from ptft.loss.cross_entropy import binary_cross_entropy_sum, cross_entropy_sum
from ptft.loss.distillation import distillation_sum
from ptft.loss.focal import binary_focal_sum, focal_sum
from ptft.loss.nt_xent import nt_xent_sum


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_the_sum_over_examples(smoothing):
    logits, label = torch.randn(7, 5, dtype=torch.float64), torch.randint(5, (7,))
    log_probs = logits.log_softmax(1)
    expected = sum(
        -(1 - smoothing) * log_probs[row, label[row]] - smoothing * log_probs[row].mean() for row in range(7)
    )
    assert float(cross_entropy_sum(logits, label, smoothing)) == pytest.approx(float(expected), abs=1e-12)


def test_losses_are_computed_in_float32_under_autocast():
    logits, label = torch.randn(400, 5, dtype=torch.bfloat16), torch.randint(5, (400,))
    views = torch.randn(40, 2, 6, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cross_entropy_sum(logits, label), cross_entropy_sum(logits.float(), label))
        found = nt_xent_sum(views, 0.2)
        assert real_sum(logits[:, 0]).dtype == fake_sum(logits[:, 0]).dtype == torch.float32
        assert distillation_sum(logits, logits, 2.0).dtype == torch.float32
    assert torch.equal(found, nt_xent_sum(views.float(), 0.2))


def test_nt_xent_equals_a_loop_over_the_anchors():
    views, temperature = torch.randn(6, 2, 4, dtype=torch.float64), 0.3
    flat = [view for pair in views for view in pair]
    expected = 0.0
    for anchor, vector in enumerate(flat):
        similar = [float(F.cosine_similarity(vector, other, dim=0)) / temperature for other in flat]
        others = sum(math.exp(value) for place, value in enumerate(similar) if place != anchor)
        partner = anchor + 1 if anchor % 2 == 0 else anchor - 1
        expected -= math.log(math.exp(similar[partner]) / others)
    assert float(nt_xent_sum(views, temperature)) == pytest.approx(expected, abs=1e-10)


def test_nt_xent_of_indistinguishable_views_is_the_logarithm_of_the_choices():
    assert float(nt_xent_sum(torch.ones(8, 2, 3), 0.2)) == pytest.approx(16 * math.log(15), rel=1e-6)


def test_nt_xent_has_a_finite_gradient():
    views = torch.randn(5, 2, 3, requires_grad=True)
    nt_xent_sum(views, 0.1).backward()
    assert torch.isfinite(views.grad).all() and views.grad.abs().sum() > 0


def test_adversarial_losses_equal_their_definition():
    logits = torch.randn(9, dtype=torch.float64)
    assert float(real_sum(logits)) == pytest.approx(float(-logits.sigmoid().log().sum()), abs=1e-12)
    assert float(fake_sum(logits)) == pytest.approx(float(-(1 - logits.sigmoid()).log().sum()), abs=1e-12)
    assert torch.isfinite(real_sum(torch.tensor([-1e4]))) and torch.isfinite(fake_sum(torch.tensor([1e4])))


def test_distillation_equals_its_definition_and_is_zero_for_equal_logits():
    student, teacher = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    target = (teacher / 3).softmax(1)
    expected = 9 * (target * (target.log() - (student / 3).log_softmax(1))).sum()
    assert float(distillation_sum(student, teacher, 3.0)) == pytest.approx(float(expected), abs=1e-12)
    assert float(distillation_sum(student, student, 3.0)) == pytest.approx(0, abs=1e-12)


def test_the_size_of_the_distillation_gradient_hardly_depends_on_the_temperature():
    student, teacher = torch.randn(64, 10), torch.randn(64, 10)

    def norm(temperature):
        logits = student.clone().requires_grad_()
        distillation_sum(logits, teacher, temperature).backward()
        return float(logits.grad.norm())

    assert 0.5 < norm(4.0) / norm(1.0) < 2


def test_no_gradient_flows_into_the_teacher():
    teacher = torch.randn(3, 4, requires_grad=True)
    assert not distillation_sum(torch.randn(3, 4), teacher, 2.0).requires_grad


def test_the_focal_loss_is_that_of_the_paper():
    logits, label = torch.randn(9, 4, dtype=torch.float64) * 3, torch.randint(4, (9,))
    weight = torch.rand(4, dtype=torch.float64)
    probability = logits.softmax(1)[range(9), label]
    expected = (-weight[label] * (1 - probability) ** 1.7 * probability.log()).sum()
    torch.testing.assert_close(focal_sum(logits, label, 1.7, weight), expected)
    target = torch.randint(2, (9, 4)).double()
    probability = torch.where(target.bool(), logits.sigmoid(), 1 - logits.sigmoid())
    expected = (-(weight * target + 1 - target) * (1 - probability) ** 1.7 * probability.log()).sum()
    torch.testing.assert_close(binary_focal_sum(logits, target, 1.7, weight), expected)


def test_without_focus_the_focal_losses_are_cross_entropies():
    logits, label, weight = torch.randn(9, 4, dtype=torch.float64), torch.randint(4, (9,)), torch.rand(4).double()
    torch.testing.assert_close(focal_sum(logits, label, 0.0, weight), cross_entropy_sum(logits, label, weight=weight))
    target = torch.randint(2, (9, 4))
    found = binary_focal_sum(logits, target, 0.0, weight)
    torch.testing.assert_close(found, binary_cross_entropy_sum(logits, target, weight))


def test_the_focal_loss_of_what_is_surely_right_has_a_finite_slope():
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    slope = torch.autograd.grad(focal_sum(logits, torch.tensor([0, 0]), 0.5), logits)[0]
    assert bool(torch.isfinite(slope).all()) and float(slope[1].abs().sum()) > 1
