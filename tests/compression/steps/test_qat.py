import copy

import pytest
import torch
from torch import nn

from ptft.compression import onnx_file
from ptft.compression.behind import with_network
from ptft.compression.export import export_onnx
from ptft.compression.fake_quantise import rounded_layers
from ptft.compression.ranges import fake_quantise
from ptft.compression.steps.int8_static import Int8Static
from ptft.compression.steps.qat import Qat
from ptft.errors import ConfigError
from ptft.model.artefact import ArtefactNetwork, read_artefact
from tests.compression.workshop import IMAGE_SPEC, TinyWorkshop, image_batch, image_task, vgg
from tests.task.harness import total_loss

pytest.importorskip("onnxruntime")


class Keeping(TinyWorkshop):
    """Keeps the task that was trained."""

    def recover(self, task, duration, hooks=(), *, part="recover"):
        super().recover(task, duration, hooks, part=part)
        self.trained = task


class Attending(nn.Module):
    """Rows of pixels as tokens: linear layers over three axes, and one over two."""

    def __init__(self):
        super().__init__()
        self.rows, self.mixer = nn.Linear(12, 96), nn.Linear(96, 96)
        self.hidden, self.head = nn.Linear(96, 64), nn.Linear(64, 4)

    def forward(self, image):
        tokens = torch.tanh(self.rows(image[:, 0]))
        tokens = tokens + torch.nn.functional.gelu(self.mixer(tokens))
        return self.head(torch.relu(self.hidden(tokens.mean(1))))


@pytest.fixture(scope="module", params=["vgg", "linear"])
def trained(request, tmp_path_factory):
    torch.manual_seed(0)
    task = image_task(vgg() if request.param == "vgg" else Attending())
    before = copy.deepcopy(task.state_dict())
    workshop = Keeping(task, image_batch())
    folder = tmp_path_factory.mktemp("qat")
    artefact = Qat(duration="10st", samples=64).apply(task, None, folder, workshop)
    return task, before, workshop, artefact


def test_the_task_stays_as_it_was(trained):
    task, before, _, _ = trained
    assert task.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_integers_in_the_file_are_the_rounded_weights(trained):
    _, _, workshop, artefact = trained
    found = [integer for integer in stored(artefact).values() if integer.ndim > 1]
    layers = rounded_layers(workshop.trained.model)
    assert len(found) == len(layers) > 1
    for layer in layers.values():
        weight = layer.rounded_weight().detach()
        scale = weight.abs().flatten(1).amax(1) / layer.levels
        expected = (weight / scale.view(-1, *[1] * (weight.ndim - 1))).round().to(torch.int8)
        expected = expected.T if expected.ndim == 2 else expected
        assert any(torch.equal(expected, integer) for integer in found)


def test_no_float_weight_of_a_rounded_layer_is_left(trained):
    _, _, workshop, artefact = trained
    sizes = {layer.weight.numel() for layer in rounded_layers(workshop.trained.model).values()}
    model = onnx_file.load(artefact.path)
    assert not sizes & {numel(one) for one in model.graph.initializer if one.data_type == 1}
    assert artefact.precision == "int8"


def test_the_artefact_gives_what_the_rounded_network_gave_in_training(trained):
    task, _, workshop, artefact = trained
    batch = workshop.train
    with torch.inference_mode():
        expected, found = workshop.trained(batch)["logits"], ArtefactNetwork(artefact, threads=1)(batch["image"])
        scale = expected.abs().max()
        assert (found - expected).abs().max() < 0.02 * scale
        assert (found - expected).abs().mean() < 0.1 * (task(batch)["logits"] - expected).abs().mean()


def test_training_through_rounding_wins_back_what_few_levels_lose():
    task, batch = image_task(vgg()), image_batch()
    workshop = TinyWorkshop(task, batch)
    workshop.recover(task, "120st")
    rounded = copy.deepcopy(task)
    fake_quantise(rounded, lambda: workshop.batches(64), levels=1)  # three values a weight
    with torch.no_grad():
        whole, ruined = float(total_loss(task, batch, "model")), float(total_loss(rounded, batch, "model"))
    workshop.recover(rounded, "120st")
    with torch.no_grad():
        mended = float(total_loss(rounded, batch, "model"))
    assert whole < ruined and mended < (whole + ruined) / 2


def test_a_network_with_nothing_to_quantise_is_refused():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(144, 4))

        def forward(self, image):
            return image.flatten(1) @ self.weight

    with pytest.raises(ConfigError, match="no convolution and no linear layer"):
        Qat().check(image_task(Bare()), IMAGE_SPEC)
    with pytest.raises(ConfigError, match="leaves no layer"):
        Qat(exclude=["."]).check(image_task(vgg()), IMAGE_SPEC)
    Qat(exclude=["head"]).check(image_task(vgg()), IMAGE_SPEC)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    task = image_task(vgg())
    TinyWorkshop(task, image_batch(64)).recover(task, "60st")
    return task, export_onnx(task, image_batch(64), tmp_path_factory.mktemp("fp32"))


@pytest.mark.parametrize("allowed", [None, 1.0, 0.0])
def test_int8_trains_when_the_gate_would_not_be_met_and_keeps_the_better(learned, tmp_path, allowed):
    task, exported = learned
    (tmp_path / "work").mkdir()
    (tmp_path / "int8").mkdir()
    workshop = Keeping(task, image_batch(64), folder=tmp_path / "work", allowed=allowed)
    # Cutting all activations off at a hundredth ruins what training on ranges of its own does not.
    step = Int8Static(samples=32, method="minmax", scale=0.01, qat="10st")
    artefact = step.apply(task, exported, tmp_path / "int8", workshop)
    value = workshop.evaluate(with_network(task, ArtefactNetwork(artefact, threads=1)))
    assert read_artefact(tmp_path / "int8") == artefact
    assert [part for _, _, part in workshop.recovered] == (["qat"] if allowed == 0.0 else [])
    assert (workshop.drop(value) < 0.1) == (allowed == 0.0)


def stored(artefact):
    """The int8 tensors of an artefact by name."""
    import onnx

    graph = onnx_file.load(artefact.path).graph
    return {
        one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy())
        for one in graph.initializer
        if one.data_type == onnx.TensorProto.INT8
    }


def numel(initializer):
    return torch.Size(initializer.dims).numel()
