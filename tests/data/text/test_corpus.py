"""Raw text as data: what is set up once and shared, divided by documents, told, and refused."""

import json

import numpy as np
import pytest
import torch

from ptft.data.data_module import BatchPlan, DataSpec
from ptft.data.text import packed_text
from ptft.data.text.corpus import Corpus
from ptft.data.text.tokenizer import TextTokenizer
from ptft.errors import ConfigError, DataError, RowError
from tests.text_samples import chinese, document, write_documents

TOKENIZER = {"vocab_size": 400}


@pytest.fixture
def folder(tmp_path):
    return write_documents(tmp_path / "texts")


def made(folder, **settings):
    settings = {"max_length": 32, "tokenizer": TOKENIZER, "cache_folder": str(folder.parent / "cache"), **settings}
    return Corpus((), path=str(folder), **settings)


def ready(folder, spec=None, **settings):
    data = made(folder, **settings)
    data.setup(spec)
    return data


def every(data, split, batch_size=5, **plan):
    """Return all batches of a split joined."""
    batches = list(data.evaluation_loaders(BatchPlan(batch_size=batch_size, **plan))[split])
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


@pytest.mark.parametrize("layout", ["causal", "masked", "pairs"])
def test_a_folder_becomes_batches_of_blocks(folder, layout):
    data = ready(folder, layout=layout, isolate_documents=layout != "pairs", split={"val": 0.2, "test": 0.2})
    spec = data.spec
    assert (spec.kind, spec.target, spec.shape, spec.classes) == ("text", "tokens", (32,), ())
    assert spec.inputs == ("input_ids", "attention_mask", "token_type_ids") + ("document",) * (layout != "pairs")
    assert TextTokenizer.from_files(spec.files).vocab_size == spec.vocab_size <= 400
    batch = next(data.train_loader(BatchPlan(batch_size=4)))
    assert {name: tuple(batch[name].shape) for name in spec.inputs} == dict.fromkeys(spec.inputs, (4, 32))
    assert {"causal": "num_bytes", "masked": "word_start", "pairs": "next_sentence"}[layout] in batch
    seen = [every(data, split)["index"].tolist() for split in ("train", "val", "test")]
    assert sorted(sum(seen, start=[])) == list(range(sum(map(len, seen)))) and len(seen[0]) == data.num_examples  # noqa: RUF017
    assert data.describe().startswith("corpus: documents 8 train (") and not data.warnings()


def test_the_batch_of_a_step_is_the_same_wherever_one_starts_and_however_ranks_share_it(folder):
    data = ready(folder, layout="causal")
    whole = data.train_loader(BatchPlan(batch_size=6, seed=3))
    steps = [next(whole) for _ in range(20)]
    resumed = next(data.train_loader(BatchPlan(batch_size=6, seed=3, start_step=19)))
    ranks = [
        next(data.train_loader(BatchPlan(batch_size=6, seed=3, start_step=19, rank=rank, world=2, num_workers=2)))
        for rank in (0, 1)
    ]
    for name, values in steps[19].items():
        assert torch.equal(values, resumed[name]) and torch.equal(values, torch.cat([part[name] for part in ranks]))
    epoch = torch.cat([batch["index"] for batch in steps])[: data.num_examples]
    assert sorted(epoch.tolist()) == list(range(data.num_examples))


def test_evaluation_sees_each_block_once_at_any_batch_size_and_over_ranks(folder):
    data = ready(folder, layout="pairs", split={"val": 0.2, "test": 0.2})
    one, many = every(data, "val", 1), every(data, "val", 1000)
    parts = [every(data, "val", 2, rank=rank, world=2) for rank in (0, 1)]
    order = torch.cat([part["index"] for part in parts]).argsort()
    for name in one:
        assert torch.equal(one[name], many[name])
        assert torch.equal(one[name][one["index"].argsort()], torch.cat([part[name] for part in parts])[order])


def test_what_the_task_adds_comes_last_with_draws_of_each_example_in_its_epoch(folder):
    data = ready(folder)

    def transform(batch, draws):
        return batch | {"drawn": draws.uniform(0), "seen": batch["input_ids"][:, 0]}

    batch = next(data.train_loader(BatchPlan(batch_size=4, transform=transform)))
    assert len(set(batch["drawn"].tolist())) == 4
    first, again = (every(data, "val", size, transform=transform) for size in (1, 100))
    assert torch.equal(first["drawn"], again["drawn"])


def test_all_is_made_once_and_shared(folder, monkeypatch):
    first = ready(folder)
    for name in ("take_survey", "build_store", "make_coder"):
        monkeypatch.setattr(packed_text, name, None)
    again = ready(folder)
    assert again.spec == first.spec
    assert torch.equal(every(again, "val")["input_ids"], every(first, "val")["input_ids"])


def test_other_text_and_another_split_are_other_data(folder):
    first = ready(folder).spec.fingerprint
    assert ready(folder, split={"seed": 1}).spec.fingerprint != first
    (folder / "story000.txt").write_text("Another story.", encoding="utf-8")
    assert ready(folder).spec.fingerprint != first


def test_a_run_brings_its_tokenizer_and_its_words(tmp_path):
    (tmp_path / "zh").mkdir()
    for number in range(12):
        text = "\n".join(chinese(12 * number + line) for line in range(12))
        (tmp_path / "zh" / f"{number}.txt").write_text(text, encoding="utf-8")
    first = ready(tmp_path / "zh")
    assert "words.json" in first.spec.files
    other = write_documents(tmp_path / "other")
    spec = DataSpec.from_json(json.loads(json.dumps(first.spec.to_json())), first.spec.files.__getitem__)
    later = ready(other, spec)
    assert later.spec.files == first.spec.files and later.spec.fingerprint != first.spec.fingerprint
    weights = tmp_path / "run" / "model"
    weights.mkdir(parents=True)
    for name, text in first.spec.files.items():
        (weights / name).write_text(text, encoding="utf-8")
    start = made(other)
    start.start_from(tmp_path / "run")
    start.setup()
    assert start.spec.files == first.spec.files
    start.start_from(tmp_path)
    start.setup()
    assert "comes with no tokenizer" in start.warnings()[0]
    with pytest.raises(DataError, match=r"data\.max_length=32, now it is 16"):
        ready(other, spec, max_length=16)


def test_copies_are_removed_before_the_documents_are_divided_and_told(folder):
    (folder / "copy.txt").write_text(document(3), encoding="utf-8")
    data = ready(folder)
    assert data.warnings() == ("removed 1 exact copy of other documents (7.7%)",)
    assert not ready(folder, deduplicate=False).warnings()


def test_one_file_is_enough_and_is_cut_in_order(tmp_path):
    write_documents(tmp_path, 1, 200)
    data = ready(tmp_path / "story000.txt", layout="causal", tokenizer={"kind": "character"})
    assert "there is one document only" in data.warnings()[0]
    tokenizer = TextTokenizer.from_files(data.spec.files)
    parts = []
    for split in ("train", "val", "test"):
        batch = every(data, split)
        rows = batch["labels"][batch["index"].argsort()]
        parts.append(tokenizer.decode(rows[rows != -100].tolist()))
    assert "".join(parts) == document(0, 200).rstrip("\n")
    assert abs(len(parts[0]) / sum(map(len, parts)) - 0.8) < 0.05


def test_lines_paragraphs_and_rows_are_documents_where_asked_for(tmp_path):
    write_documents(tmp_path, 2, 30)
    assert sum(ready(tmp_path, documents="line")._survey.counts) < 62  # the same short sentence comes again
    rows = [{"id": number, "body": document(number)} for number in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert ready(tmp_path / "rows.jsonl", text="body")._survey.counts == (16, 2, 2)


def test_fewer_blocks_are_a_part_of_all(folder):
    whole, some = ready(folder), ready(folder, label_fraction=0.3)
    assert some.num_examples == round(0.3 * whole.num_examples)
    assert set(every(some, "train")["index"].tolist()) < set(every(whole, "train")["index"].tolist())
    assert every(some, "val")["index"].tolist() == every(whole, "val")["index"].tolist()


def test_files_that_cannot_be_read_are_left_out_and_listed_where_that_is_allowed(folder):
    (folder / "bad.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"bad\.txt, line 1: .*on_bad_sample=skip"):
        ready(folder)
    data = ready(folder, on_bad_sample="skip", max_bad=0.2)
    assert [row["file"] for row in data.rejected()] == ["bad.txt"] and "left out 1 " in data.warnings()[0]
    with pytest.raises(DataError, match=r"bad\.txt, line 1"):
        ready(folder)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"max_length": 2}, r"max_length=2 leaves no room for text with data\.layout=masked; give at least 3"),
        ({"layout": "pairs", "isolate_documents": True}, "leave one of them out"),
        ({"encoding": "utf-88"}, "no such encoding"),
        ({"label_fraction": 0.0}, "above 0 and at most 1"),
        ({"text": "body", "documents": "line"}, "leave one of them out"),
        ({"tokenizer": {"size": 3}}, r"data\.tokenizer takes kind"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(folder, settings, hint):
    with pytest.raises(ConfigError, match=hint):
        made(folder, **settings)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"files": "*.md"}, r"no file called \*\.md"),
        ({"layout": "pairs"}, "val holds one document"),
        ({"tokenizer": {"path": "/nowhere"}}, "there is no such folder"),
    ],
)
def test_data_that_do_not_fit_are_told(folder, settings, hint):
    with pytest.raises(DataError, match=hint):
        ready(folder, **settings)


def test_a_missing_path_and_tables_without_a_column_are_told(tmp_path):
    with pytest.raises(DataError, match=r"data\.path is not given"):
        Corpus(()).setup()
    (tmp_path / "a.csv").write_text("text\nfour\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.csv is a table: name the column"):
        ready(tmp_path / "a.csv")


def test_rows_are_read_for_prediction(folder):
    trained = ready(folder, layout="causal", isolate_documents=True)
    data = made(folder, layout="causal", isolate_documents=True)
    data.restore(trained.spec)
    rows = [{"text": "The king"}, {"text": "The dog sees a river. " * 20}, {"text": ""}]
    batch = data.batch_of(rows, torch.device("cpu"))
    assert set(trained.spec.inputs) <= set(batch) and batch["index"].tolist() == [0, 1, 2]
    tokens = [row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    assert data.num_truncated == 0
    assert tokens == [data._coder.tokenizer.pieces([row["text"]])[0].ids for row in rows]
    with pytest.raises(RowError):
        data.batch_of([{"words": "x"}], torch.device("cpu"))
    pairs = made(folder, layout="pairs")
    pairs.restore(ready(folder, layout="pairs", split={"val": 0.2, "test": 0.2}).spec)
    batch = pairs.batch_of([{"text": "The king", "text_pair": "Why not?"}, {"text": "So be it."}], torch.device("cpu"))
    pairs.batch_of([{"text": "The dog sees a river. " * 20}], torch.device("cpu"))
    assert pairs.num_truncated == 1
    assert batch["token_type_ids"].sum(1).tolist()[0] > 1 and np.all(batch["input_ids"][:, 0].numpy() == 2)
