import pytest
import torch

from ptft.compression.export import export_onnx
from ptft.compression.steps.openvino import OpenVino
from ptft.errors import ConfigError
from ptft.model.artefact import ArtefactNetwork, read_artefact
from ptft.runtime.openvino_session import import_nncf, import_openvino
from tests.compression.workshop import IMAGE_SPEC, TinyWorkshop, image_batch, image_task, vgg


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    try:
        import_openvino()
        import_nncf()
    except ConfigError as error:
        pytest.skip(str(error))
    task = image_task(vgg())
    workshop = TinyWorkshop(task, image_batch())
    workshop.recover(task, "60st")
    return task, workshop, export_onnx(task, workshop.train, tmp_path_factory.mktemp("fp32"))


def logits(artefact, workshop):
    with torch.inference_mode():
        return ArtefactNetwork(artefact, threads=1)(workshop.train["image"])


def test_fp32_gives_what_torch_gives(exported, tmp_path):
    task, workshop, onnx = exported
    step = OpenVino(precision="fp32")
    step.check(task, IMAGE_SPEC)
    artefact = step.apply(task, onnx, tmp_path, workshop)
    assert read_artefact(tmp_path) == artefact and set(artefact.files) == {"model.xml", "model.bin"}
    with torch.inference_mode():
        expected = task(workshop.train)["logits"]
    torch.testing.assert_close(logits(artefact, workshop), expected, rtol=1e-4, atol=1e-4)


def test_bf16_is_asked_for_in_the_file_and_said_where_it_is_missing(exported, tmp_path):
    from ptft.runtime.openvino_session import has_bf16

    task, workshop, onnx = exported
    workshop.warned.clear()
    artefact = OpenVino(precision="bf16").apply(task, onnx, tmp_path, workshop)
    assert "bf16" in artefact.path.read_text() and artefact.precision == "bf16"
    assert bool(workshop.warned) is not has_bf16(import_openvino().Core())
    with torch.inference_mode():
        expected = task(workshop.train)["logits"]
    difference = (logits(artefact, workshop) - expected).abs().max()
    assert difference < 0.05 * expected.abs().max()


def test_int8_weights_are_bytes_and_keep_the_predictions(exported, tmp_path):
    task, workshop, onnx = exported
    (tmp_path / "a").mkdir()
    artefact = OpenVino(precision="int8", samples=24).apply(task, onnx, tmp_path / "a", workshop)
    assert (artefact.folder / "model.bin").stat().st_size < onnx.bytes / 2
    with torch.inference_mode():
        expected = task(workshop.train)["logits"]
    agreement = (logits(artefact, workshop).argmax(1) == expected.argmax(1)).float().mean()
    assert agreement > 0.9


def test_what_validation_holds_changes_no_byte(exported, tmp_path):
    task, workshop, onnx = exported
    found = []
    for number, factor in enumerate((1, 50)):
        val = {**image_batch(32, seed=1), "image": factor * image_batch(32, seed=1)["image"]}
        folder = tmp_path / str(number)
        folder.mkdir()
        OpenVino(samples=8).apply(task, onnx, folder, TinyWorkshop(task, workshop.train, val))
        found.append((folder / "model.bin").read_bytes())
    assert found[0] == found[1]
