"""The shape of the house, as tests: floors, mirrored folders, one loop, nothing that runs what a file says."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ptft"
FILES = sorted(PACKAGE.rglob("*.py"))
YAMLS = sorted((ROOT / "configs").rglob("*.yaml"))
FLOORS = {
    "errors": 0,
    "types": 0,
    "runtime": 1,
    "model": 2,
    "adapt": 2,
    "data": 2,
    "augmentation": 2,
    "metric": 2,
    "loss": 2,
    "optimizer": 2,
    "schedule": 2,
    "logger": 2,
    "task": 3,
    "engine": 4,
    "sweep": 5,
    "config": 6,
    "compression": 6,
    "command": 7,
    "cli": 8,
    "__main__": 9,
}
SIBLINGS_ALLOWED = {("adapt", "model")}  # parts and weights of a model are what an adaptation works on
PARTS = ("optimizer", "ptft.model.parts")  # learning rates by depth


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def folder(module):
    return module.split(".")[1] if module.count(".") else ""


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_go_down_only(path):
    here = folder(module_of(path))
    for name in imports(path):
        if not name.startswith("ptft.") or not here:
            continue
        there = folder(name)
        if there == here or (here, there) in SIBLINGS_ALLOWED or (here, name) == PARTS:
            continue
        assert FLOORS[there] < FLOORS[here], f"{here} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"


def test_no_two_modules_import_each_other():
    graph = {module_of(path): {name for name in imports(path) if name.startswith("ptft.")} for path in FILES}

    def reaches(start, goal, seen):
        return any(
            name == goal or (name not in seen and reaches(name, goal, seen | {name})) for name in graph.get(start, ())
        )

    assert [name for name in graph if reaches(name, name, set())] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=module_of)
def test_package_files_stay_empty(path):
    assert path.read_text() == ""


def targets(node):
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(ROOT / "configs")))
def test_each_yaml_targets_the_mirrored_folder_and_says_what_it_is(path):
    text = path.read_text()
    parts = path.relative_to(ROOT / "configs").parts
    assert re.match(r"# \S", text), "the first line says in a comment what this is"
    for target in targets(yaml.safe_load(text)):
        assert target.startswith(".".join(("ptft", *parts[:-1])) + "."), target


def calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_one_place_calls_backward():
    found = [module_of(path) for path in FILES for name, _ in calls(path) if name.endswith(".backward")]
    assert found == ["ptft.engine.update"]


FORBIDDEN = re.compile(
    r"(pickle\.loads?|eval|exec|yaml\.(load|unsafe_load|full_load)|hydra\.utils\.instantiate|torch\.hub\.load|os\.system)"
)


@pytest.mark.parametrize("path", [*FILES, *sorted((ROOT / "hydra_plugins").rglob("*.py"))], ids=module_of)
def test_nothing_runs_what_a_file_says(path):
    for name, node in calls(path):
        assert not FORBIDDEN.fullmatch(name), f"{path}:{node.lineno} calls {name}"
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert keywords.get("trust_remote_code", "False") == "False"
        assert keywords.get("shell", "False") == "False"
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", f"{path}:{node.lineno}"


def test_the_engine_names_no_task_model_or_data_set():
    words = {path.stem for group in ("task", "model", "data") for path in (PACKAGE / group).rglob("*.py")}
    words -= {"task", "spec", "data_module", "split", "parts", "layers", "__init__"}
    words -= {"rows", "batches", "table", "attention"}  # everyday words, of what every task and model may have
    for path in (PACKAGE / "engine").glob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not {name.lower() for name in names} & words
        assert not [name for name in imports(path) if name.startswith(("ptft.model", "ptft.task.vision"))]


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_and_functions_fit_a_reader(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= 60, f"{node.name} is longer than a screen"
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert len([argument for argument in arguments if argument.arg != "self"]) <= 10, (
                f"{node.name} takes too much"
            )


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "__init__.py"], ids=module_of)
def test_every_public_thing_has_a_docstring_whose_first_line_is_a_sentence(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the file says what it is"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            if any("overload" in ast.unparse(decorator) for decorator in node.decorator_list):
                continue
            nested = any(
                node in ast.walk(other)
                for other in ast.walk(tree)
                if isinstance(other, ast.FunctionDef) and other is not node
            )
            if nested:
                continue
            docstring = ast.get_docstring(node) or ""
            assert docstring.partition("\n")[0].endswith((".", ":", "?")), f"{path}: {node.name}"
