"""Nested state survives as tensors and JSON; what would not come back the same is refused."""

import json
import random

import pytest
import torch

from ptft.engine.state import alias_tied, flatten, unflatten


def there_and_back(state):
    skeleton, tensors = flatten(state)
    return unflatten(json.loads(json.dumps(skeleton)), tensors)


def equal(first, second):
    """Compare nested state; a tuple comes back as a list."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return (
            isinstance(second, dict) and list(first) == list(second) and all(equal(first[k], second[k]) for k in first)
        )
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return type(first) is type(second) and (first == second or first != first)


def made_up(generator, depth=0):
    kinds = ["tensor", "float", "int", "text", "none", "bool"] + ["dict", "integers", "list"] * (depth < 4)
    size = range(generator.randrange(4))
    match generator.choice(kinds):
        case "tensor":
            return torch.rand([generator.randrange(3) for _ in size]).to(
                generator.choice([torch.float64, torch.bfloat16])
            )
        case "float":
            return generator.choice([generator.random(), 1e-300, float("inf"), -0.0, float("nan"), 0.1])
        case "int":
            return generator.randrange(-(2**70), 2**70)
        case "text":
            return generator.choice(["", "a/b", "ü\n", "__tensor__"])
        case "none":
            return None
        case "bool":
            return generator.random() < 0.5
        case "dict":
            return {f"key {number}.x": made_up(generator, depth + 1) for number in size}
        case "integers":
            return {number * 7: made_up(generator, depth + 1) for number in size}
        case _:
            return [made_up(generator, depth + 1) for _ in size]


def test_any_nested_state_comes_back_the_same():
    generator = random.Random(0)
    for _ in range(500):
        state = {"root": made_up(generator)}
        assert equal(state, there_and_back(state))


def test_the_state_of_an_optimizer_comes_back_and_works():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], fused=True)
    weight.grad = torch.ones(3)
    optimizer.step()
    other = torch.nn.Parameter(weight.detach().clone())
    fresh = torch.optim.AdamW([other], fused=True)
    fresh.load_state_dict(there_and_back(optimizer.state_dict()))
    other.grad = torch.ones(3)
    optimizer.step()
    fresh.step()
    assert torch.equal(weight, other)


def test_later_training_does_not_reach_saved_tensors():
    live = torch.zeros(3)
    _, tensors = flatten({"weight": live})
    live += 1
    assert tensors["weight"].sum() == 0


@pytest.mark.parametrize(
    "state",
    [
        {"a/b": torch.ones(1), "a": {"b": torch.zeros(1)}},
        {1: torch.ones(1), "1": torch.zeros(1)},
        {True: 1},
        {(1, 2): 3},
        {"__tensor__": "weight"},
        {"__integers__": {}},
        {"optimizer": object()},
        {"values": {1, 2}},
        {"array": torch.ones(1).numpy()},
    ],
)
def test_state_that_would_come_back_different_is_refused(state):
    with pytest.raises(TypeError, match="state"):
        flatten(state)


def test_tied_tensors_are_kept_once_and_views_apart():
    weight = torch.rand(4, 4)
    tensors = {
        "encoder": weight,
        "decoder": weight,
        "row": weight[0],
        "transposed": weight.T,
        "bits": weight.view(torch.int32),
        "empty": torch.ones(0),
        "also empty": torch.ones(0),
    }
    unique, aliases = alias_tied(tensors)
    assert aliases == {"decoder": "encoder"}
    assert set(unique) == set(tensors) - {"decoder"}
