"""The moving average equals one written by hand, buffers included, and evaluating with it leaves live weights alone."""

import copy

import pytest
import torch
from torch import nn

from ptft.engine.ema import Ema
from ptft.engine.settings import EmaSettings
from tests.engine.reference import make


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.parametrize("warmup", [False, True])
def test_the_average_equals_one_written_by_hand(warmup):
    model = net()
    ema = Ema(model, EmaSettings(decay=0.9, warmup=warmup), set(model.state_dict()))
    expected = {name: tensor.clone().double() for name, tensor in model.state_dict().items()}
    for step in range(20):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn(parameter.shape)
        model(torch.randn(8, 3))
        ema.update(step)
        decay = min(0.9, (1 + step) / (10 + step)) if warmup else 0.9
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * tensor.double()
            else:
                expected[name] = tensor.clone().double()
    for name, tensor in ema.average.items():
        assert torch.allclose(tensor.double(), expected[name], atol=1e-5), name


def test_live_weights_are_bit_equal_after_an_evaluation_with_the_average():
    model = net()
    ema = Ema(model, EmaSettings(decay=0.5, warmup=False), set(model.state_dict()))
    with torch.no_grad():
        model[0].weight += 1
    ema.update(0)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="within"), ema.applied():
        assert torch.equal(model[0].weight, ema.average["0.weight"])
        raise RuntimeError("within")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_average_is_what_is_evaluated_and_handed_over(tmp_path):
    engine = make(tmp_path / "run")
    engine.fit()
    with engine.average.applied():
        expected = {name: tensor.clone() for name, tensor in engine.task.state_dict().items()}
    averaged = engine.evaluate("val").metrics
    engine.average = None
    live = engine.evaluate("val").metrics
    engine.task.load_state_dict(expected)
    assert engine.evaluate("val").metrics == averaged != live
