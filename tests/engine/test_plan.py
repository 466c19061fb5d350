"""What `auto` becomes, and that finding out leaves no trace."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ptft.data.data_module import BatchPlan
from ptft.engine.plan import Plan, _operations, apply_attention, largest_that_fits, resolve_plan
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


# --- Attention and the layers of text models --------------------------------------------------------------------------


class Attentive(nn.Module):
    """A network with a choice of how attention is worked out."""

    def __init__(self, spec):
        super().__init__()
        self.head = nn.Linear(64, spec.num_classes)
        self.way = "sdpa"

    def forward(self, image):
        return self.head(image.flatten(1))

    def set_attention(self, name):
        self.way = name

    def best_attention(self, device, precision):
        return "eager" if (device, precision) == ("cpu", "fp32") else "sdpa"


def test_attention_follows_the_networks_own_rule_unless_it_is_set(batch):
    spec = digits().spec
    for settings, way in (
        (replace(SETTINGS, precision="fp32"), "eager"),
        (replace(SETTINGS, precision="bf16"), "sdpa"),
        (replace(SETTINGS, precision="bf16", attention="eager"), "eager"),
    ):
        task = Classification(Attentive(spec), spec).train()
        plan = resolve_plan(settings, task, batch, print)
        assert (plan.attention, task.model.way) == (way, way)
        assert f"{way} attention" in plan.describe()
        again = Classification(Attentive(spec), spec)
        apply_attention(again, Plan.from_json(plan.to_json()).attention)
        assert again.model.way == way


def test_a_plan_of_old_and_a_network_without_a_choice_say_nothing_of_attention(batch):
    plan = resolve_plan(SETTINGS, digits_task(digits().spec).train(), batch, print)
    assert plan.attention == "none" and "attention" not in plan.describe()
    saved = plan.to_json()
    del saved["attention"]
    assert Plan.from_json(saved) == plan
    with pytest.raises(ConfigError, match=r"engine\.attention=eager: no network of this run has a choice"):
        resolve_plan(replace(SETTINGS, attention="eager"), digits_task(digits().spec), batch, print)


class Reader(nn.Module):
    """Reads pictures by rows with an LSTM, then with a linear layer that holds its weight as GPT-2's do."""

    def __init__(self, layer):
        super().__init__()
        self.rows = nn.LSTM(8, 6, batch_first=True)
        self.head = layer

    def forward(self, image):
        return self.head(self.rows(image[:, 0])[0][:, -1])


def test_operations_of_lstms_and_of_gpt_2s_linear_layers_are_counted(batch):
    from transformers.pytorch_utils import Conv1D

    task = Classification(Reader(Conv1D(10, 6)), digits().spec).train()
    expected = 2 * 32 * (8 * 4 * 6 * (8 + 6) + 6 * 10)  # 8 rows of 8 pixels, four gates of 6; then 6 -> 10
    assert _operations(task, batch, Precision("fp32", torch.device("cpu"))) == expected
