"""The config tree tells everything: each YAML lists every key its component takes, settings with their defaults."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from ptft.config.keys import CompressionKeys, EvaluationKeys, PredictionKeys, SweepSettings, TrainingKeys
from ptft.config.resolve import MAPPINGS, NESTED, SUPPLIED, find_component, reserved
from ptft.config.tree import GROUPS, builtin_tree
from ptft.engine.settings import EngineSettings

COMPONENTS = [
    path for group in SUPPLIED for path in sorted((builtin_tree() / group / NESTED.get(group, "")).rglob("*.yaml"))
]


CHOSEN = ("experiment", "sweep")
"""Keys that options of groups fill."""


def read(path):
    return yaml.safe_load(path.read_text()) or {}


def test_the_engine_s_yaml_holds_its_settings_with_their_defaults():
    assert read(builtin_tree() / "engine/default.yaml") == dataclasses.asdict(EngineSettings())


def test_the_sweep_s_yaml_holds_its_settings_with_their_defaults():
    assert read(builtin_tree() / "sweep/default.yaml") == dataclasses.asdict(SweepSettings())


@pytest.mark.parametrize(("verb", "keys"), [("pretrain", TrainingKeys), ("finetune", TrainingKeys)])
def test_the_roots_hold_the_top_level_keys_with_their_defaults(verb, keys):
    root = read(builtin_tree() / f"{verb}.yaml")
    groups = {name for entry in root.pop("defaults") if isinstance(entry, dict) for name in entry}
    assert groups == set(GROUPS) - {"compression"}
    told = {field.name: field.default for field in dataclasses.fields(keys) if field.name not in CHOSEN}
    assert root == told


def test_the_root_of_evaluate_holds_its_keys():
    root = read(builtin_tree() / "evaluate.yaml")
    root.pop("defaults")
    fields = {field.name: field.default for field in dataclasses.fields(EvaluationKeys) if field.name not in CHOSEN}
    assert root.pop("run") == "???"
    fields.pop("run")
    fields["evaluate"] = dataclasses.asdict(fields["evaluate"])
    assert root == fields


def test_the_root_of_predict_holds_its_keys():
    root = read(builtin_tree() / "predict.yaml")
    root.pop("defaults")
    fields = {field.name: field.default for field in dataclasses.fields(PredictionKeys) if field.name not in CHOSEN}
    assert root.pop("run") == "???"
    fields.pop("run")
    assert root == fields


def test_the_root_of_compress_holds_its_keys():
    root = read(builtin_tree() / "compress.yaml")
    root.pop("defaults")
    fields = {field.name: field.default for field in dataclasses.fields(CompressionKeys) if field.name not in CHOSEN}
    assert root.pop("run") == "???"
    fields.pop("run")
    fields["compression"] = dataclasses.asdict(fields["compression"])
    assert fields["compression"].pop("steps") == {}  # a pipeline brings them
    assert root == fields


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: str(path.relative_to(builtin_tree())))
def test_a_component_s_yaml_lists_every_argument(path):
    group = path.relative_to(builtin_tree()).parts[0]
    node = read(path)
    for component in node.values() if group in MAPPINGS else [node]:
        record = find_component(group, component["_target_"]).record
        own = {field.name for field in record.fields}
        common = {field.name for field in reserved(group).fields}
        assert own <= set(component) - {"_target_"} <= own | common, Path(path).name
