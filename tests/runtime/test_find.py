"""Runs found by name, as @latest and by path."""

import json

import pytest

from ptft.errors import ConfigError
from ptft.runtime.find import find_run, find_weights, list_runs


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, command, started in (
        ("first", "pretrain", "2026-01-01"),
        ("sweep/0", "finetune", "2026-01-03"),
        ("second", "finetune", "2026-01-02"),
        ("measured", "evaluate", "2026-01-09"),
    ):
        folder = tmp_path / "outputs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"id": name, "command": command, "started": started}))
    (tmp_path / "outputs" / "broken").mkdir()
    (tmp_path / "outputs" / "broken" / "run.json").write_text("{")
    return tmp_path / "outputs"


def test_a_name_a_job_of_a_sweep_and_a_path_are_found(root):
    assert find_run("first", root) == root / "first"
    assert find_run("sweep/0", root) == root / "sweep" / "0"
    assert find_run("./outputs/second", root).samefile(root / "second")
    assert find_run(str(root / "second"), root) == root / "second"


def test_latest_is_the_newest_run_that_holds_a_model(root):
    assert find_run("@latest", root) == root / "sweep" / "0"
    assert [run.name for run in list_runs(root)] == ["measured", "0", "second", "first"]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("frist", ["did you mean `first`?", "newest runs: sweep/0, second, first"]),
        ("./nowhere", ["./nowhere does not exist"]),
        ("./outputs", ["holds no run.json"]),
        ("outputs", ["the folder ./outputs exists: write ./outputs"]),
        ("old/w.pth", ["no file ./old/w.pth", "as ./old/w.pth or /folder/w.pth"]),
        ("../outputs/first/../first", ["does not exist"]),
        ("a/../../outputs/first", ["no run called"]),
        ("", ["no usable name"]),
        ("a\0b", ["no usable name"]),
    ],
)
def test_what_is_not_found_is_told_with_what_there_is(root, reference, words):
    with pytest.raises(ConfigError) as error:
        find_run(reference, root)
    for word in words:
        assert word in str(error.value)


def test_without_any_run_that_is_said(tmp_path):
    for reference in ("x", "@latest"):
        with pytest.raises(ConfigError, match="no run"):
            find_run(reference, tmp_path)


def test_weights_may_be_any_path_that_exists(root, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"")
    assert find_weights("./w.safetensors", root).name == "w.safetensors"
    assert find_weights("first", root) == root / "first"
    with pytest.raises(ConfigError):
        find_weights("./missing.safetensors", root)
