"""Weight averaging over moments equals the plain mean, starts when it says, and resumes to the bit."""

import math

import pytest
import torch
from torch import nn

from ptft.command.source import read_source
from ptft.engine.settings import SwaSettings
from ptft.engine.swa import Swa
from ptft.engine.weights import least_bytes, load_for_evaluation, own_tensors
from ptft.runtime.duration import Clock
from tests.engine.reference import digest, losses, make, resume, stop_after

SWA = {"ema": None, "swa": SwaSettings(start="50%", every="6st")}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def never(text):
    raise AssertionError(text)


@pytest.mark.parametrize(
    ("start", "every", "moments"),
    [
        ("75%", "1ep", [30, 40]),  # 10 steps an epoch
        ("50%", "6st", [24, 30, 36]),
        ("20st", "10st", [20, 30, 40]),
        ("0st", "13st", [13, 26, 39]),
    ],
)
def test_the_average_is_the_plain_mean_of_the_weights_and_statistics_at_its_moments(start, every, moments):
    model = net()
    swa = Swa(model, SwaSettings(start=start, every=every), set(model.state_dict()), Clock(10, 100, 40), never)
    seen = []
    for step in range(40):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn(parameter.shape)
        model(torch.randn(8, 3))
        swa.update(step)
        assert swa.started == (step + 1 >= moments[0])
        if step + 1 in moments:
            seen.append({name: tensor.clone().double() for name, tensor in model.state_dict().items()})
    assert swa.count == len(moments)
    for name, tensor in swa.average.items():
        values = torch.stack([weights[name] for weights in seen])
        expected = values.mean(0) if tensor.is_floating_point() else values[-1]
        assert torch.allclose(tensor.double(), expected, atol=1e-5), name


def test_live_weights_are_evaluated_before_the_first_moment():
    model = net()
    swa = Swa(model, SwaSettings(), set(model.state_dict()), Clock(10, 100, 40), never)
    with torch.no_grad():
        model[0].weight += 1
    live = model[0].weight.detach().clone()
    with swa.applied():
        assert torch.equal(model[0].weight, live)
    assert swa.state_dict() == {}


def test_a_training_without_a_moment_is_told_so():
    told = []
    Swa(net(), SwaSettings(every="50st"), set(), Clock(10, 100, 40), told.append)
    assert "first moment is step 50, the training ends at 40" in told[0]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    engine = make(tmp_path_factory.mktemp("swa") / "run", **SWA)
    engine.fit()
    return digest(engine), losses(engine)


@pytest.mark.parametrize("step", [5, 23, 24, 25, 33])
def test_resume_equals_uninterrupted_before_between_and_at_moments(tmp_path, uninterrupted, step):
    stop_after(make(tmp_path / "run", **SWA), step)
    engine = resume(tmp_path / "run", **SWA)
    engine.fit()
    assert (digest(engine), losses(engine)) == uninterrupted


def test_the_count_is_part_of_the_state(tmp_path, uninterrupted):
    stop_after(make(tmp_path / "run", **SWA), 33)
    engine = resume(tmp_path / "run", **SWA)
    engine.average.count = 1
    engine.fit()
    assert digest(engine) != uninterrupted[0]


def test_averaging_changes_no_training_bit(tmp_path, uninterrupted):
    plain, averaging = make(tmp_path / "plain", ema=None), make(tmp_path / "run", **SWA)
    plain.fit()
    averaging.fit()
    for name, tensor in plain.task.state_dict().items():
        assert torch.equal(tensor, averaging.task.state_dict()[name]), name


def test_the_mean_is_what_is_evaluated_saved_and_handed_over(tmp_path):
    engine = make(tmp_path / "run", **SWA)
    engine.fit()
    metrics = engine.evaluate("val").metrics
    mean = {name: tensor.clone() for name, tensor in engine.average.average.items()}
    checkpoint = engine.store.load(40)
    engine.average = None
    live = engine.evaluate("val").metrics
    load_for_evaluation(engine.task, checkpoint)
    assert engine.evaluate("val").metrics == metrics != live
    tensors, _ = read_source(engine.store.path(40))
    assert all(torch.equal(tensors[name], mean[name]) for name in mean)


def test_the_space_of_the_mean_is_counted(tmp_path):
    engine = make(tmp_path / "run", **SWA)
    alone = least_bytes(engine.task, engine.optimizers.values(), averaged=False)
    both = least_bytes(engine.task, engine.optimizers.values(), averaged=True)
    assert both - alone == math.fsum(tensor.nbytes for tensor in own_tensors(engine.task).values())
