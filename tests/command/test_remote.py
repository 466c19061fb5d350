"""Weights named and not given: found in torch's cache, fetched as published, refused with the way out."""

import hashlib
from types import SimpleNamespace

import pytest
import torch

from ptft.command import remote
from ptft.command.published import find_published, published_as
from ptft.command.remote import bring
from ptft.errors import CheckpointError, ConfigError, FetchError
from ptft.runtime.find import Remote, find_weights

NAME = "ResNet18_Weights.IMAGENET1K_V1"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "hub" / "checkpoints"


def test_a_path_stays_what_it_is(tmp_path):
    assert bring(tmp_path, False, print) == tmp_path


def test_a_file_is_fetched_to_torchs_cache_once(cache, monkeypatch):
    content = b"weights"
    entry = type("Entry", (), {"url": f"https://x.example/net-{hashlib.sha256(content).hexdigest()[:8]}.pth"})
    monkeypatch.setattr(remote, "find_published", lambda name: entry)
    fetched = []

    def fetch(url, path, digest, say):
        fetched.append(url)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

    monkeypatch.setattr(remote, "fetch", fetch)
    for _ in range(2):
        path = bring(Remote("torchvision", "Net.V1"), False, print)
        assert path.parent == cache and path.read_bytes() == content
    assert fetched == [entry.url]
    path.write_bytes(b"other")
    with pytest.raises(CheckpointError, match="is damaged"):
        bring(Remote("torchvision", "Net.V1"), False, print)


def test_without_network_the_error_says_where_a_copy_is_looked_for(cache, monkeypatch):
    def fetch(url, path, digest, say):
        raise FetchError(f"cannot fetch {url} (no network)")

    monkeypatch.setattr(remote, "fetch", fetch)
    with pytest.raises(FetchError, match="no network") as refused:
        bring(Remote("torchvision", NAME), False, print)
    assert str(cache / "resnet18-f37072fd.pth") in str(refused.value)
    with pytest.raises(FetchError, match="offline=true forbids"):
        bring(Remote("torchvision", NAME), True, print)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["ResNet19_Weights.IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V9"])
def test_unknown_weights_get_the_nearest_names(name):
    with pytest.raises(ConfigError, match=r"publishes no such weights; did you mean .*ResNet18_Weights\.IMAGENET1K_V1"):
        find_published(name)


def test_a_published_file_is_known_by_its_name():
    assert str(published_as("mobilenet_v2-b0353104.pth")) == "MobileNet_V2_Weights.IMAGENET1K_V1"
    assert published_as("mobilenet_v2-00000000.pth") is None and published_as("model.safetensors") is None


def test_a_name_is_only_named_before_torch_is_there():
    assert find_weights(f"torchvision:{NAME}") == Remote("torchvision", NAME)
    assert str(find_weights("hub:org/name@v1")) == "hub:org/name@v1"
    for wrong in ("torchvision:resnet18", "torchvision:", "hub:a b", "hub:../x"):
        with pytest.raises(ConfigError, match="names no weights; expected a name such as"):
            find_weights(wrong)


def test_a_command_takes_weights_from_the_cache_and_tells_what_differs(ptft, cache, monkeypatch, capsys):
    from torchvision.models import resnet18

    cache.mkdir(parents=True)
    weights = cache / "resnet18-f37072fd.pth"
    state = {k: v for k, v in resnet18().state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, weights)
    monkeypatch.setattr(remote, "files", SimpleNamespace(digest=lambda path: "f37072fd" + "0" * 56))
    short = ("engine.max=1st", "engine.batch_size=4", "engine.evaluation_batches=1", "engine.precision=fp32")
    ptft("finetune", "model=vision/resnet18", "model.stem=imagenet", f"init_from=torchvision:{NAME}", *short)
    said = " ".join(capsys.readouterr().out.split())
    assert "120 of 120 backbone tensors; first convolution adapted, 3 -> 1 channels" in said
    assert "head re-initialised, 1000 -> 10 classes" in said
    assert "trained on pictures of 224x224 pixels" in said and "the data are 8x8" in said
    with pytest.raises(CheckpointError, match="the weights do not fit"):
        ptft("finetune", "model=vision/mobilenet_v2", f"init_from=torchvision:{NAME}", *short)
