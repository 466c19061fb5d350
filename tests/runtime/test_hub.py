"""Models of the hub: the cache first, no network when it is forbidden, nothing but configs and safetensors."""

import json

import pytest

from ptft.errors import ConfigError, FetchError
from ptft.runtime import hub
from ptft.runtime.hub import snapshot


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache as the hub's client keeps it, with one model."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--org--name" / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    (tmp_path / "models--org--name" / "refs").mkdir()
    (tmp_path / "models--org--name" / "refs" / "main").write_text("a" * 40)
    return folder


def unreachable(repository, revision):
    raise OSError("Name or service not known")


def test_what_is_in_the_cache_needs_no_network(cache, monkeypatch):
    monkeypatch.setattr(hub, "_commit", unreachable)
    assert snapshot("org/name", weights=False) == cache
    (cache / "model.safetensors").write_bytes(b"")
    assert snapshot("org/name", weights=True) == cache
    assert snapshot("org/name@main", weights=True, offline=True) == cache


def test_without_network_the_error_says_where_was_looked(cache, monkeypatch):
    monkeypatch.setattr(hub, "_commit", unreachable)
    for name in ("org/name", "org/other"):
        with pytest.raises(FetchError, match="Name or service not known") as refused:
            snapshot(name, weights=True)  # of org/name only the config is here
        assert str(cache.parents[2]) in str(refused.value) and "./folder" in str(refused.value)


@pytest.mark.parametrize("how", ["setting", "variable"])
def test_a_forbidden_network_is_not_tried(cache, monkeypatch, how):
    if how == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FetchError, match="forbids that"):
        snapshot("org/other", weights=True, offline=how == "setting")


def test_a_model_without_safetensors_is_refused(cache, monkeypatch):
    import huggingface_hub

    asked = []

    def download(repository, revision=None, allow_patterns=None, local_files_only=False):
        asked.append(allow_patterns)
        return str(cache)

    monkeypatch.setattr(hub, "_commit", lambda repository, revision: "a" * 40)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(FetchError, match=r"no weights as model\.safetensors"):
        snapshot("org/name", weights=True)
    assert not [pattern for pattern in asked[-1] if not pattern.endswith((".json", ".safetensors", ".txt"))]


@pytest.mark.parametrize("name", ["", "a b", "../x", "org/name/more", "org/..", "@main"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ConfigError, match="takes the name of a model on the hub"):
        snapshot(name, weights=True)
