"""README.md and the other documents: commands that are right, files that are all there, numbers that were measured."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from ptft.config.hydra_app import launch
from ptft.sweep.trial import Measured
from tests.documents import ROOT, commands_shown, files_shown, write_files

README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS = commands_shown("README.md")
RECIPES = {
    str(path.relative_to(ROOT / "configs/experiment").with_suffix("")): path.read_text()
    for path in sorted((ROOT / "configs/experiment").rglob("*.yaml"))
}


def section(title):
    """Return the text under a heading of the README."""
    return re.split(r"^## ", README, flags=re.MULTILINE)[1:][titles().index(title)]


def titles():
    return re.findall(r"^## (.*)$", README, re.MULTILINE)


# --- Commands ---


@pytest.fixture
def story(tmp_path, monkeypatch):
    """Tell one command after the other: what a command would leave behind is there for those that follow."""
    write_files(files_shown("README.md"), tmp_path, str)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("ptft.config.conduct.write_plots", lambda facts, trials, space: ([], []))

    Path("photos").mkdir()
    for name in ("new.csv", "letters.txt"):
        Path(name).write_text("text\nfine\n")

    def command(config, invocation):
        if invocation.verb == "predict":
            return  # it leaves no run
        folder = Path(config["output_root"], config["name"])
        if invocation.resume is None:
            folder.mkdir(parents=True)
        record = {"id": config["name"], "name": config["name"], "command": invocation.verb, "started": "2026-01-01"}
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        return [Measured("val/accuracy", "max", 0.5)]

    def tell(words):
        if "-m" in words:  # two trials tell as much as forty
            words = [*(word for word in words if not word.startswith("sweep.trials=")), "sweep.trials=2"]
        if words[1] == "list":
            from ptft.command.listing import list_options

            assert list_options(*words[2:])
        else:
            launch(words[1], words[2:], command)

    return tell


def test_every_command_of_the_readme_is_accepted_in_the_order_told(story, capfd):
    from ptft.errors import ConfigError

    assert len(COMMANDS) > 10
    for words in COMMANDS:
        if "optimizer.lr=-1" in words:  # shown as a mistake, with its message
            with pytest.raises(ConfigError) as refused:
                story(words)
            assert str(refused.value) in README
        else:
            story(words)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_command_of_a_recipe_stands_in_the_table_and_in_its_header(recipe):
    assert f"experiment={recipe}" in section("Recipes")
    verb = yaml.safe_load(RECIPES[recipe])["command"]
    assert f"ptft {verb} experiment={recipe}" in RECIPES[recipe]


def test_the_commands_in_the_table_of_recipes_are_accepted_in_the_order_told(story):
    for text in re.findall(r"`(ptft [^`]*)`", section("Recipes")):
        story(text.split())


def test_every_score_in_the_table_of_recipes_is_the_one_in_the_header():
    rows = [line for line in section("Recipes").splitlines() if "experiment=" in line]
    assert len(rows) == len(RECIPES)
    for row in rows:
        recipe = re.search(r"experiment=([\w/]+)", row)[1]
        header = "\n".join(line for line in RECIPES[recipe].splitlines() if line.startswith("#"))
        for number in re.findall(r"\d+\.\d+", row.split("|")[-2]):
            assert number in header, f"{recipe}: {number} was not measured, says its header"


def test_the_overrides_in_the_table_are_accepted(story):
    table = section("Config").split("| write | to |")[1]
    rows = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)[1:]
    settings = [text.replace("'", "") for row in rows for text in re.findall(r"`([^`]+)`", row)]
    assert len(settings) > 8
    start = ["ptft", "finetune", "augmentation=vision/crop_flip"]
    story([*start, *(word for text in settings for word in text.split() if "model" not in word), "name=all"])
    story([*start, *(text for text in settings if text.startswith("model")), "model.hidden=[8]", "name=model"])


def test_the_model_of_the_readme_trains_and_is_evaluated(tmp_path, ptft):
    write_files(files_shown("README.md"), tmp_path, str)
    short = ("engine.max=2st", "engine.batch_size=8", "engine.evaluation_batches=1", "engine.precision=fp32")
    for words in COMMANDS:
        if "--plugin" in words:
            ptft(*words[1:], *(short if words[1] != "evaluate" else ("name=seen",)))
    assert Path("outputs/seen/predictions.csv").is_file()
    assert yaml.safe_load(Path("outputs/two/config.yaml").read_text())["model"]["width"] == 64


# --- Files ---


def test_every_file_of_the_package_stands_in_the_file_map_once():
    stack, found = [], []
    for line in section("File map").split("```text\n")[1].split("```")[0].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name, _, purpose = line.strip().partition(" ")
        stack = [*stack[:depth], name.rstrip("/")]
        if name.endswith(".py"):
            found.append("/".join(stack))
            assert purpose.strip(), f"{name}: its purpose is missing"
    folders = ("ptft", "hydra_plugins", "benchmarks")
    there = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py"]
    assert sorted(found) == sorted(str(path.relative_to(ROOT)) for path in there)


def test_every_group_of_the_config_tree_is_told():
    for folder in (ROOT / "configs").iterdir():
        assert folder.name in section("Config")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target, anchor in re.findall(r"\]\(([^)#:]*)(#[\w-]+)?\)", document.read_text()):
        place = (document.parent / target).resolve() if target else document
        assert place.exists(), f"{document.name} links to {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", place.read_text(), re.MULTILINE)
            assert anchor[1:] in [re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_names_a_place_of_one_machine(document):
    assert not re.search(r"(?<![\w.~])/(work|home|root|tmp|Users|mnt|opt)/", document.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_that_is_named_exists(document):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:`|^ {4})make ([a-z-]+)", document.read_text(), re.MULTILINE):
        assert target in targets


def test_every_decision_is_listed():
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (ROOT / "docs/decisions/README.md").read_text())
    assert listed == sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))


def test_the_exit_codes_are_those_of_the_code():
    from ptft import errors

    told = [
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", section("Exit codes"), re.M) for code in row.split(",")
    ]
    codes = (errors.DONE, errors.FAILED, errors.USAGE, errors.GATE, errors.INTERRUPTED, errors.TERMINATED)
    assert told == list(codes)
