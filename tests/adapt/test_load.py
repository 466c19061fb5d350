"""Weights come whole or not at all, the head only for the same classes, and no file runs code."""

import os
import pickle
import tarfile
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ptft.adapt.load import load_weights, read_tensors
from ptft.data.data_module import DataSpec
from ptft.errors import CheckpointError
from ptft.model.parts import replace_head
from ptft.model.vision.convnet import ConvNet
from ptft.model.vision.dcgan import DCGAN
from ptft.model.vision.resnet import ResNet


def make(num_classes=10, seed=0, widths=(8, 16)):
    torch.manual_seed(seed)
    spec = DataSpec(kind="image", shape=(1, 8, 8), classes=tuple(map(str, range(num_classes))))
    model = ConvNet(spec, widths=widths)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def agree(model, tensors, prefix=""):
    return {name for name, value in model.state_dict().items() if torch.equal(value, tensors[prefix + name])}


BACKBONE = {name for name in make().state_dict() if not name.startswith("head.")}
HEAD = {"head.weight", "head.bias"}


# --- The head ---------------------------------------------------------------------------------------------------------


def test_the_same_classes_take_the_whole_model():
    source, model = state(make(seed=1)), make()
    report = load_weights(model, source, classes_match=True)
    assert agree(model, source) == BACKBONE | HEAD
    assert report.describe() == "12 of 12 backbone tensors; head taken"


def test_other_classes_of_the_same_number_keep_the_fresh_head():
    source, model = state(make(seed=1)), make()
    report = load_weights(model, source, classes_match=False)
    assert agree(model, source) == BACKBONE | {"head.bias"}  # a bias is 0 in both
    assert report.describe().endswith("head re-initialised, its 10 classes are not known to be the same")


def test_another_number_of_classes_keeps_the_fresh_head():
    source, model = state(make(num_classes=4, seed=1)), make()
    fresh = state(model)
    report = load_weights(model, source, classes_match=True)
    assert torch.equal(model.head.weight, fresh["head.weight"])
    assert report.describe() == "12 of 12 backbone tensors; head re-initialised, 4 -> 10 classes"


def test_a_projection_head_is_left_behind():
    pretrained, model = make(seed=1), make()
    replace_head(pretrained, nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8)))
    report = load_weights(model, state(pretrained), classes_match=True)
    assert report.loaded == 12
    assert report.head == "head re-initialised, the weights hold one of another kind"


def test_weights_without_a_head_are_enough():
    source = {name: value for name, value in state(make(seed=1)).items() if name in BACKBONE}
    report = load_weights(make(), source, classes_match=True)
    assert report.head == "head re-initialised, the weights hold none"


def test_a_model_without_parts_is_loaded_as_a_whole():
    spec = DataSpec(kind="image", shape=(1, 8, 8))
    model = DCGAN(spec)
    report = load_weights(model, state(DCGAN(spec)))
    assert report.describe() == f"{report.total} of {report.total} tensors"


# --- The backbone -----------------------------------------------------------------------------------------------------


def damaged_source():
    source = state(make(seed=1))
    del source["stem.0.weight"]
    source["blocks.0.0.weight"] = torch.zeros(9, 8, 3, 3)
    source["extra.weight"] = torch.zeros(1)
    return source


def test_a_backbone_that_does_not_fit_is_refused_with_every_difference_and_nothing_is_copied():
    model = make()
    fresh = state(model)
    with pytest.raises(CheckpointError) as refused:
        load_weights(model, damaged_source(), classes_match=True)
    message = str(refused.value)
    assert "10 of 12 backbone tensors match" in message
    assert "missing (would stay random): stem.0.weight" in message
    assert "unexpected: extra.weight" in message
    assert "of another shape: blocks.0.0.weight (9, 8, 3, 3) -> (16, 8, 3, 3)" in message
    assert "init_partial=true" in message
    assert agree(model, fresh) == BACKBONE | HEAD


def test_partial_takes_what_fits_and_says_what_did_not():
    source, model = damaged_source(), make()
    report = load_weights(model, source, partial=True, classes_match=True)
    fits = BACKBONE - {"stem.0.weight", "blocks.0.0.weight"}
    assert all(torch.equal(model.state_dict()[name], source[name]) for name in fits)
    assert report.describe() == ("10 of 12 backbone tensors (1 missing, 1 unexpected, 1 of another shape); head taken")


def test_partial_still_refuses_weights_of_which_nothing_fits():
    with pytest.raises(CheckpointError, match="0 of 12 backbone tensors match"):
        load_weights(make(), {"other.weight": torch.zeros(3)}, partial=True)


def test_a_longer_list_of_differences_is_cut():
    spec = DataSpec(kind="image", shape=(1, 8, 8), classes=("a", "b"))
    with pytest.raises(CheckpointError, match=r"and \d+ more"):
        load_weights(make(), state(ResNet(spec, blocks=(1,), widths=(8,))))


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "model._orig_mod.", "module.model."])
def test_wrappers_around_the_names_are_seen_through(prefix):
    source = {prefix + name: value for name, value in state(make(seed=1)).items()}
    source["projector.weight"] = torch.zeros(2, 2)
    model = make()
    report = load_weights(model, {k: v for k, v in source.items() if k.startswith(prefix)}, classes_match=True)
    assert report.complete and agree(model, source, prefix) == BACKBONE | HEAD


def test_what_stood_around_the_network_is_left_behind():
    source = {"model." + name: value for name, value in state(make(seed=1)).items()}
    source["projector.weight"] = torch.zeros(2, 2)
    assert load_weights(make(), source, classes_match=True).complete


def test_weights_of_a_network_fit_a_wrapped_one():
    model = nn.Module()
    model.model = make()
    source = state(make(seed=1))
    assert load_weights(model, source).complete
    assert torch.equal(model.model.stem[0].weight, source["stem.0.weight"])


def test_half_precision_weights_are_converted():
    source = {name: v.half() if v.is_floating_point() else v for name, v in state(make(seed=1)).items()}
    model = make()
    load_weights(model, source)
    assert model.stem[0].weight.dtype == torch.float32
    assert torch.equal(model.stem[0].weight, source["stem.0.weight"].float())


# --- Files ------------------------------------------------------------------------------------------------------------


class Evil:
    """A pickle that makes a file when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def write_plain(path, payload):
    path.write_bytes(pickle.dumps(payload))


def write_zip(path, payload):
    torch.save(payload, path)


def write_legacy(path, payload):
    torch.save(payload, path, _use_new_zipfile_serialization=False)


def write_zip_by_hand(path, payload):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(payload, protocol=2))
        archive.writestr("archive/version", "3\n")


def write_tar(path, payload):
    inner = path.with_name("pickle")
    inner.write_bytes(pickle.dumps(payload))
    with tarfile.open(path, "w") as archive:
        for member in ("sys_info", "pickle", "storages", "tensors"):
            archive.add(inner, member)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".bin", ".ckpt"])
@pytest.mark.parametrize("write", [write_plain, write_zip, write_legacy, write_zip_by_hand, write_tar])
@pytest.mark.parametrize("where", ["alone", "among tensors"])
def test_a_malicious_pickle_is_refused_and_never_run(tmp_path, suffix, write, where):
    marker, path = tmp_path / "marker", tmp_path / f"model{suffix}"
    payload = Evil(marker) if where == "alone" else {"weight": torch.zeros(2), "evil": Evil(marker)}
    write(path, payload)
    with pytest.raises(CheckpointError) as refused:
        read_tensors(path)
    assert str(path) in str(refused.value) and "weights_only" not in str(refused.value)
    assert not marker.exists()


def test_the_malicious_pickle_would_have_run(tmp_path):
    marker = tmp_path / "marker"
    write_plain(tmp_path / "model.pth", Evil(marker))
    pickle.loads((tmp_path / "model.pth").read_bytes())
    assert marker.exists()


@pytest.mark.parametrize("nested", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_torch_files_give_their_tensors(tmp_path, suffix, nested):
    source = state(make())
    torch.save(source if nested is None else {"epoch": 3, nested: source}, tmp_path / f"model{suffix}")
    tensors = read_tensors(tmp_path / f"model{suffix}")
    assert tensors.keys() == source.keys()
    assert all(torch.equal(tensors[name], source[name]) for name in source)


def test_safetensors_files_give_their_tensors(tmp_path):
    source = state(make())
    save_file(source, tmp_path / "model.safetensors")
    tensors = read_tensors(tmp_path / "model.safetensors")
    assert all(torch.equal(tensors[name], source[name]) for name in source)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}, {"weight": torch.eye(2).to_sparse()}, {}])
def test_torch_files_of_other_things_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="expected tensors by name"):
        read_tensors(tmp_path / "model.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("length", [0, 7, 300])
def test_truncated_files_are_named(tmp_path, suffix, length):
    path = tmp_path / f"model{suffix}"
    source = state(make())
    if suffix == ".pth":
        torch.save(source, path)
    else:
        save_file(source, path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="model"):
        read_tensors(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read_tensors(tmp_path / "nothing.pth")
