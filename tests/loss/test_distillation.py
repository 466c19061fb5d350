"""Losses of distillation: exactly nothing where student and teacher agree, else their written-out definitions."""

import pytest
import torch

from ptft.loss.distillation import (
    binary_distillation_sum,
    distillation_sum,
    relation_heads,
    relation_sum,
    state_distance_sum,
)


def agreeing(loss, *shape, dtype=torch.float32):
    """Return the loss of equal values, and its gradient."""
    values = (3 * torch.randn(*shape, dtype=dtype)).requires_grad_()
    total = loss(values, values.detach().clone())
    total.backward()
    return float(total.detach()), float(values.grad.abs().max())


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0, 7.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equal_logits_cost_exactly_nothing_and_have_no_gradient(temperature, dtype):
    for loss in (distillation_sum, binary_distillation_sum):
        assert agreeing(lambda a, b, loss=loss: loss(a, b, temperature), 64, 30, dtype=dtype) == (0.0, 0.0)


def test_equal_states_and_relations_cost_exactly_nothing_and_have_no_gradient():
    real = torch.arange(7) < torch.tensor([[7], [3], [1]])
    related = real[:, :, None] & real[:, None]
    assert agreeing(lambda a, b: state_distance_sum(a, b, real), 3, 7, 8) == (0.0, 0.0)
    assert agreeing(lambda a, b: relation_sum(a, b, related, 2), 3, 7, 8) == (0.0, 0.0)


@pytest.mark.parametrize("loss", [distillation_sum, binary_distillation_sum])
def test_the_gradient_at_temperature_4_is_within_a_factor_of_two_of_that_at_1(loss):
    for seed in range(10):
        torch.manual_seed(seed)
        student, teacher = torch.randn(64, 10), torch.randn(64, 10)

        def norm(temperature, student=student, teacher=teacher):
            logits = student.clone().requires_grad_()
            loss(logits, teacher, temperature).backward()
            return float(logits.grad.norm())

        assert 0.5 < norm(4.0) / norm(1.0) < 2


def test_the_binary_divergence_equals_its_definition():
    student, teacher = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    p, q = (teacher / 3).sigmoid(), (student / 3).sigmoid()
    expected = 9 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum()
    torch.testing.assert_close(binary_distillation_sum(student, teacher, 3.0), expected)


def test_what_is_not_allowed_takes_no_part():
    student, teacher = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)
    allowed = torch.tensor([[True, False, True, True, False, True]])
    kept = allowed[0].nonzero()[:, 0]
    student.requires_grad_()
    loss = distillation_sum(student, teacher, 2.0, allowed)
    torch.testing.assert_close(loss, distillation_sum(student[:, kept], teacher[:, kept], 2.0))
    loss.backward()
    assert torch.isfinite(student.grad).all() and not student.grad[:, ~allowed[0]].any()


def test_states_of_one_width_are_apart_by_the_squared_distance_of_their_directions():
    student, teacher = torch.randn(2, 5, 4, dtype=torch.float64), torch.randn(2, 5, 4, dtype=torch.float64)
    lengths = (5, 2)
    real = torch.arange(5) < torch.tensor(lengths)[:, None]
    cosine = torch.nn.functional.cosine_similarity(student, teacher, dim=-1)
    expected = sum((2 - 2 * cosine[row, :length]).mean() for row, length in enumerate(lengths))
    torch.testing.assert_close(state_distance_sum(student, teacher, real), expected)


def test_states_of_other_widths_are_apart_by_how_alike_their_tokens_are():
    student, teacher = torch.randn(2, 5, 4, dtype=torch.float64), torch.randn(2, 5, 9, dtype=torch.float64)
    lengths = (5, 2)
    expected = 0.0
    for row, length in enumerate(lengths):
        pairs = [
            torch.nn.functional.cosine_similarity(states[row, :length, None], states[row, None, :length], dim=-1)
            for states in (student, teacher)
        ]
        expected += (pairs[0] - pairs[1]).square().mean()
    real = torch.arange(5) < torch.tensor(lengths)[:, None]
    torch.testing.assert_close(state_distance_sum(student, teacher, real), expected)
    turned = teacher @ torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64))[0]  # no turn of the space matters
    torch.testing.assert_close(state_distance_sum(student, turned, real), expected)


def test_relations_equal_those_written_out_head_by_head():
    student, teacher = torch.randn(2, 5, 4, dtype=torch.float64), torch.randn(2, 5, 6, dtype=torch.float64)
    lengths, heads = (5, 2), 2
    expected = 0.0
    for row, length in enumerate(lengths):
        for head in range(heads):
            own, known = (
                vectors[row, :length, head * width : (head + 1) * width]
                for vectors, width in ((student, 2), (teacher, 3))
            )
            q, p = ((one @ one.T / one.shape[1] ** 0.5).softmax(-1) for one in (own, known))
            expected += (p * (p / q).log()).sum(-1).mean() / heads
    real = torch.arange(5) < torch.tensor(lengths)[:, None]
    related = real[:, :, None] & real[:, None]
    torch.testing.assert_close(relation_sum(student, teacher, related, heads), expected)


def test_relation_heads_divide_both_widths():
    assert relation_heads(384, 384) == 12
    assert relation_heads(320, 768) == 8
    assert relation_heads(7, 12) == 1
