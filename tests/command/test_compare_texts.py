"""Comparing runs on texts, which are evaluated by length: examples are paired by their numbers."""

import json
from pathlib import Path

from tests import text_folders

SHORT = ("engine.max=2st", "engine.batch_size=8", "model=text/cnn", "model.filters=4")


def test_runs_with_other_tokenizers_and_lengths_are_paired_by_example(ptft):
    path = f"data.path={text_folders.table(Path('texts'))}"
    ptft("finetune", "data=text/table", path, *SHORT, name="words")
    ptft(
        "finetune", "data=text/table", path, *SHORT, "data.tokenizer.kind=character", "data.max_length=40", name="signs"
    )
    ptft("evaluate", "run=words,signs", "name=both")
    rows = Path("outputs/both/predictions.csv").read_text().splitlines()
    alone = {name: Path(f"outputs/{name}/predictions.csv").read_text().splitlines() for name in ("words", "signs")}
    column = rows[0].split(",").index
    for letter, name in (("a", "words"), ("b", "signs")):
        own = [line.split(",")[2] for line in alone[name][1:]]
        assert [line.split(",")[column(f"prediction.{letter}")] for line in rows[1:]] == own
    found = json.loads(Path("outputs/both/summary.json").read_text())["metrics"]
    assert {"test/accuracy.a", "test/accuracy.b", "test/accuracy.b-a"} <= set(found)
