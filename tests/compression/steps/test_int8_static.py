"""Static int8: close to fp32, the same scales whatever validation and test hold, and ruined by ruinous ranges."""

import copy

import numpy as np
import onnx
import pytest
import torch

from ptft.compression.behind import with_network
from ptft.compression.calibration import _least_error, _percentile, find_ranges
from ptft.compression.integers import choose_nodes, reorder
from ptft.compression.steps.int8_static import Int8Static, activations_of, prepared
from ptft.errors import ConfigError
from ptft.model.artefact import ArtefactNetwork
from ptft.runtime.session import OnnxSession
from tests.compression.exports import exported, trained
from tests.compression.workshop import TinyWorkshop


def made(kind, folder, workshop=None, **settings):
    task, batch, artefact = exported(kind)
    folder.mkdir(exist_ok=True)
    step = Int8Static(**settings)
    step.check(task, task.spec)
    return step.apply(task, artefact, folder, workshop or TinyWorkshop(task, batch))


def logits(artefact, kind):
    task, batch = trained(kind)
    with torch.inference_mode():
        return with_network(task, ArtefactNetwork(artefact, 1))(batch)["logits"]


@pytest.mark.parametrize("kind", ["vgg", "bert"])
@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_predictions_stay_and_the_file_shrinks(kind, method, tmp_path):
    task, batch, artefact = exported(kind)
    found = made(kind, tmp_path / "int8", method=method)
    assert found.bytes < 0.45 * artefact.bytes  # of a network so small names and scales are a large part
    with torch.inference_mode():
        expected = task(batch)["logits"]
    assert (expected.argmax(1) == logits(found, kind).argmax(1)).float().mean() > 0.97
    assert onnx.load(found.path).metadata_props[0].key == "weight_bits"


def test_perturbing_validation_data_changes_no_byte(tmp_path):
    task, batch = trained("vgg")
    other = {**batch, "image": batch["image"] * 50 + 3}
    first = made("vgg", tmp_path / "a", TinyWorkshop(task, batch, batch))
    second = made("vgg", tmp_path / "b", TinyWorkshop(task, batch, other))
    third = made("vgg", tmp_path / "c", TinyWorkshop(task, other, batch))
    assert first.files == second.files != third.files


def test_ranges_of_a_hundredth_ruin_the_network(tmp_path):
    task, batch = trained("vgg")
    share = (logits(made("vgg", tmp_path / "a", scale=0.01), "vgg").argmax(1) == batch["label"]).float().mean()
    assert share < 0.6 < (task(batch)["logits"].argmax(1) == batch["label"]).float().mean()


def test_excluded_nodes_stay_fp32(tmp_path):
    found = made("vgg", tmp_path / "a", exclude=["blocks"], method="minmax")
    assert found.bytes > made("vgg", tmp_path / "b", method="minmax").bytes
    operators = [node.op_type for node in onnx.load(found.path).graph.node]
    conv = next(node for node in onnx.load(found.path).graph.node if node.op_type == "Conv")
    weights = {one.name for one in onnx.load(found.path).graph.initializer}
    assert conv.input[1] in weights and "QuantizeLinear" in operators
    with pytest.raises(ConfigError, match="matches no node"):
        made("vgg", tmp_path / "c", exclude=["no such layer"])


def test_the_new_order_of_nodes_changes_no_value(tmp_path):
    _, batch, artefact = exported("vgg")
    model = prepared(artefact.path, tmp_path)
    chosen = choose_nodes(model, ())
    reorder(model, chosen)
    kinds = [node.op_type for node in model.graph.node]
    assert "blocks.0.1/Conv" not in chosen and kinds.index("MaxPool") < kinds.index("LeakyRelu")
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    given = {"image": batch["image"].numpy()}
    (expected,), (found,) = (OnnxSession(path, 1).run(given) for path in (artefact.path, tmp_path / "b.onnx"))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_ranges_are_those_of_a_plain_run_however_few_examples_fit(tmp_path, monkeypatch):
    _, batch, artefact = exported("vgg")
    model = prepared(artefact.path, tmp_path)
    names = activations_of(model, choose_nodes(model, ()))
    rows = {"image": batch["image"].numpy()}
    settings = {"method": "minmax", "percentile": 100.0, "threads": 1}
    whole = find_ranges(model, names, lambda: iter([rows]), tmp_path, **settings)
    monkeypatch.setattr("ptft.compression.calibration.VALUES_AT_ONCE", 10)
    single = find_ranges(model, names, lambda: iter([rows]), tmp_path, **settings)
    assert len(whole) == len(names) > 3
    for name, (low, high) in whole.items():
        assert low <= 0 <= high
        np.testing.assert_allclose(single[name], (low, high), rtol=1e-4, atol=1e-6)


def test_cut_ranges_are_those_of_a_reference():
    values = np.random.default_rng(0).normal(size=100_000)
    whole = (float(values.min()), float(values.max()))
    counts = np.histogram(values, 2048, whole)[0].astype(float)
    np.testing.assert_allclose(_percentile(counts, whole, 0.99), np.quantile(values, [0.01, 0.99]), atol=0.02)
    values = np.append(values, 1000.0)  # one value far out costs more to keep than to cut off
    whole = (float(values.min()), float(values.max()))
    counts = np.histogram(values, 2048, whole)[0].astype(float)
    assert _least_error(counts, whole)[1] <= whole[1]
    assert _percentile(counts, whole, 0.9999)[1] < 10


def test_a_recurrent_network_is_refused():
    task, _ = trained("lstm")
    with pytest.raises(ConfigError, match="steps/int8_dynamic"):
        Int8Static().check(task, task.spec)


def test_the_task_is_left_as_it_was(tmp_path):
    task, _ = trained("vgg")
    before = copy.deepcopy(task.state_dict())
    made("vgg", tmp_path / "a")
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
