"""What a verb starts from follows the data."""

from pathlib import Path

import pytest

from ptft.config.defaults import DEFAULTS, defaults_for

CONFIGS = Path(__file__).parents[2] / "configs"


def test_data_of_text_bring_a_network_that_reads_text():
    assert defaults_for("finetune", ["data=text/table", "data.path=a.csv"]) == ["model=text/cnn"]
    assert "augmentation=none" in defaults_for("pretrain", ["data=text/corpus"])


def test_what_is_typed_wins():
    assert defaults_for("finetune", ["data=text/table", "model=text/lstm"]) == []
    assert defaults_for("pretrain", ["data=text/corpus", "model=text/bert_tiny", "task=text/pretraining"]) == [
        "augmentation=none"
    ]


@pytest.mark.parametrize("whole", ["experiment=text/spam_minilm", "resume=a", "run=a"])
def test_a_recipe_and_a_run_bring_their_own(whole):
    assert defaults_for("finetune", ["data=text/table", whole]) == []


def test_pictures_need_nothing_and_a_sweep_over_data_agrees_or_does_not():
    assert defaults_for("finetune", []) == []
    assert defaults_for("finetune", ["data=vision/image_folder"]) == []
    assert defaults_for("finetune", ["data=text/table,vision/digits"]) == []
    assert defaults_for("finetune", ["data=text/table,text/folder"]) == ["model=text/cnn"]


def test_every_option_that_stands_in_exists():
    for verb, table in DEFAULTS.items():
        assert (CONFIGS / f"{verb}.yaml").is_file()
        for beginning, options in table.items():
            assert list((CONFIGS / "data").glob(f"{beginning}*"))
            for text in options:
                group, _, option = text.partition("=")
                assert (CONFIGS / group / f"{option}.yaml").is_file()
