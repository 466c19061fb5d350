"""What `auto` becomes, and that finding out leaves no trace."""

from dataclasses import replace

import pytest
import torch

from ptft.data.data_module import BatchPlan
from ptft.engine.plan import Plan, _operations, largest_that_fits, resolve_plan
from ptft.engine.settings import EngineSettings
from ptft.errors import ConfigError, PtftError
from ptft.model.vision.convnet import ConvNet
from ptft.model.vision.resnet import ResNet
from ptft.runtime import device as devices
from ptft.runtime.precision import Precision
from ptft.task.classification import Classification
from tests.engine.reference import digits, digits_task
from tests.task.toys import DistillationToy, image_batch

SETTINGS = EngineSettings(batch_size=32, device="cpu")


@pytest.fixture
def batch():
    return next(iter(digits().train_loader(BatchPlan(batch_size=32))))


def test_probing_leaves_the_task_as_it_was(batch, monkeypatch):
    monkeypatch.setattr(devices, "has_fast_bfloat16", lambda device: True)
    task = digits_task(digits().spec).train()
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    plan = resolve_plan(SETTINGS, task, batch, lambda text: None)
    assert plan.precision in ("fp32", "bf16")
    assert all(torch.equal(before[name], tensor) for name, tensor in task.state_dict().items())
    assert all(parameter.grad is None for parameter in task.parameters())


def test_without_hardware_for_it_auto_stays_at_fp32(batch, monkeypatch):
    monkeypatch.setattr(devices, "has_fast_bfloat16", lambda device: False)
    assert resolve_plan(SETTINGS, digits_task(digits().spec), batch, print).precision == "fp32"


def test_auto_counts_the_work_and_so_is_the_same_in_every_run(batch, monkeypatch):
    """fp32 for a small MLP, bf16 for convolutions on a full batch, whatever else the machine is doing."""
    monkeypatch.setattr(devices, "has_fast_bfloat16", lambda device: True)
    spec = digits().spec
    small, large = digits_task(spec), Classification(ConvNet(spec, widths=(64, 64, 64)), spec)
    assert resolve_plan(SETTINGS, small.train(), batch, print).precision == "fp32"
    assert resolve_plan(SETTINGS, large.train(), batch, print).precision == "bf16"


def test_operations_are_counted_as_on_paper(batch):
    task = digits_task(digits().spec).train()  # 64 -> 32 -> 10
    assert _operations(task, batch, Precision("fp32", torch.device("cpu"))) == 2 * 32 * (64 * 32 + 32 * 10)


def test_what_is_set_is_kept(batch):
    settings = replace(SETTINGS, precision="bf16", memory_format="contiguous", micro_batch_size=8)
    plan = resolve_plan(settings, digits_task(digits().spec), batch, lambda text: None)
    assert (plan.precision, plan.memory_format, plan.micro_batch_size) == ("bf16", "contiguous", 8)
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(("limit", "expected"), [(100, 64), (64, 64), (63, 32), (5, 4), (1, 1)])
def test_the_micro_batch_halves_until_it_fits(limit, expected):
    def attempt(size):
        if size > limit:
            raise torch.OutOfMemoryError("no room")

    assert largest_that_fits(attempt, 64) == expected


def test_one_example_that_does_not_fit_is_said_plainly():
    def attempt(size):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(PtftError, match="one example does not fit"):
        largest_that_fits(attempt, 8)


def test_splitting_warns_where_batch_norm_sees_the_difference(batch):
    said = []
    resolve_plan(replace(SETTINGS, micro_batch_size=8), digits_task(digits().spec).train(), batch, said.append)
    assert len(said) == 1 and "batch norm" in said[0]


def test_a_loss_over_the_whole_batch_is_not_cut():
    task = DistillationToy()
    task.splittable = False
    with pytest.raises(ConfigError, match="compares the examples of a batch"):
        resolve_plan(replace(SETTINGS, batch_size=16, micro_batch_size=4), task, image_batch(16), lambda text: None)


def test_a_device_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="no such device"):
        devices.choose_device("cuda")
    assert devices.choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("sizes", [{"batch_size": 1}, {"batch_size": 32, "micro_batch_size": 31}])
def test_one_example_alone_is_refused_where_batch_norm_needs_more(batch, sizes):
    spec = digits().spec
    settings = replace(SETTINGS, **sizes)
    with pytest.raises(ConfigError, match=f"batch_size={sizes['batch_size']} .* one example"):
        resolve_plan(settings, Classification(ResNet(spec, widths=(4, 4, 4, 4)), spec).train(), batch, print)
    assert resolve_plan(settings, Classification(ConvNet(spec), spec).train(), batch, print).micro_batch_size
