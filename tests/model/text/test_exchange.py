"""What is saved loads in transformers with the same logits, and what transformers saved loads here, heads told."""

import json

import pytest
import torch

from ptft.adapt.load import load_weights
from ptft.errors import CheckpointError, ConfigError
from ptft.model.text.transformers import TransformersText
from tests.model.text.models import VOCAB, WHOLE, batch, build, spec_of, tensors
from tests.tiny_models import text_folder

AUTO = {"classes": "SequenceClassification", "tags": "TokenClassification", "span": "QuestionAnswering",
        "masked": "MaskedLM", "causal": "CausalLM", "pretraining": "PreTraining"}  # fmt: skip
LABELS = ("one", "two", "three")


def theirs(output, folder, given, family="Bert"):
    """The logits of the library's own model of a folder."""
    import transformers

    model, found = getattr(transformers, f"AutoModelFor{AUTO[output]}").from_pretrained(
        str(folder), output_loading_info=True
    )
    assert not any(found.values()), found
    tokens, mask, types = given
    with torch.no_grad():
        outputs = model.eval()(tokens, attention_mask=mask, **({"token_type_ids": types} if family == "Bert" else {}))
    if output == "span":
        return [torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)], model.config
    if output == "pretraining":
        return [outputs.prediction_logits, outputs.seq_relationship_logits], model.config
    return [outputs.logits], model.config


def loaded(network, folder, **options):
    return load_weights(network, network.read_pretrained(folder), **options)


@pytest.mark.parametrize(
    ("name", "output"),
    [*(("text/bert_mini", output) for output in WHOLE), *(("text/gpt_nano", o) for o in ("classes", "tags", "causal"))],
)
def test_what_is_saved_loads_in_transformers_with_the_same_logits(tmp_path, name, output):
    network = build(name, spec_of(output)).eval()
    network.write_pretrained(tmp_path, LABELS if output in ("classes", "tags") else ())
    with torch.no_grad():
        expected = tensors(network(*batch()))
    logits, config = theirs(output, tmp_path, batch(), "Bert" if "bert" in name else "GPT2")
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    assert config.pad_token_id == 0
    if output in ("classes", "tags"):
        assert config.id2label == dict(enumerate(LABELS))
    if output == "classes":
        assert config.problem_type == "single_label_classification"
    again = build(name, spec_of(output), seed=1).eval()
    report = loaded(again, tmp_path, classes_match=True)
    assert report.complete and report.head.startswith("head ")
    with torch.no_grad():
        torch.testing.assert_close(tensors(again(*batch())), expected)


@pytest.mark.parametrize("target", ["labels", "value"])
def test_the_kind_of_problem_is_told(tmp_path, target):
    network = build("text/bert_mini", spec_of(target=target)).eval()
    network.write_pretrained(tmp_path, LABELS if target == "labels" else ())
    _, config = theirs("classes", tmp_path, batch())
    assert config.problem_type == {"labels": "multi_label_classification", "value": "regression"}[target]
    assert config.num_labels == {"labels": 3, "value": 1}[target]


@pytest.mark.parametrize("family", ["Bert", "Roberta", "DistilBert", "GPT2"])
def test_what_transformers_saved_is_loaded_whole(tmp_path, family):
    output, kind = ("causal", "LMHeadModel") if family == "GPT2" else ("masked", "ForMaskedLM")
    folder = text_folder(tmp_path, family, kind)
    special = {"pad": 1 if family == "Roberta" else 0}
    network = TransformersText(spec_of(output, special_tokens=special), name=str(folder)).eval()
    report = loaded(network, folder)
    assert report.complete and not report.changes
    given = batch()
    logits, _ = theirs(output, folder, given, family)
    with torch.no_grad():
        torch.testing.assert_close([network(*given)], logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["Bert", "Roberta", "DistilBert", "GPT2"])
def test_a_base_model_without_head_is_loaded_whole_and_the_fresh_head_told(tmp_path, family):
    folder = text_folder(tmp_path, family)  # as sentence-transformers saves: no prefix before the names
    network = TransformersText(spec_of("classes"), name=str(folder))
    report = loaded(network, folder)
    assert report.complete and report.head == "head re-initialised, the weights hold none"
    told = {
        "DistilBert": ("model.pre_classifier begun anew, the weights hold none",),
        "Roberta": ("left out, as the model has no use for it: model.pooler.dense",),
    }
    assert report.changes == told.get(family, ())


DONORS = [
    ("ForPreTraining", "classes", "head re-initialised, the weights hold one of another kind", ()),
    ("ForPreTraining", "masked", "head taken", ("pooler",)),
    ("ForMaskedLM", "pretraining", "head taken, but for", ("pooler begun anew, the weights hold none",)),
    ("ForMaskedLM", "classes", "another kind", ("pooler begun anew",)),
    ("ForMaskedLM", "tags", "another kind", ()),
    ("ForSequenceClassification", "masked", "another kind", ("left out, as the model has no use for it",)),
    ("ForQuestionAnswering", "span", "head taken", ()),
]


@pytest.mark.parametrize(("kind", "output", "head", "changes"), DONORS)
def test_heads_of_other_kinds_are_dropped_and_told(tmp_path, kind, output, head, changes):
    folder = text_folder(tmp_path, "Bert", kind)
    network = build("text/transformers", spec_of(output), name=str(folder))
    report = loaded(network, folder)
    assert report.complete and report.loaded == report.total
    assert head in report.head
    assert len(report.changes) == len(changes) and all(
        c in told for c, told in zip(changes, report.changes, strict=True)
    )


def test_the_head_of_the_same_classes_is_taken_only_if_they_are_known_to_be(tmp_path):
    folder = text_folder(tmp_path, "Bert", "ForSequenceClassification", num_labels=3)
    network = TransformersText(spec_of("classes"), name=str(folder))
    assert loaded(network, folder).head.endswith("not known to be the same")
    assert loaded(network, folder, classes_match=True).head == "head taken"
    other = TransformersText(spec_of("classes", num_classes=5), name=str(folder))
    assert loaded(other, folder).head == "head re-initialised, 3 -> 5 classes"


def test_tied_weights_are_saved_once_and_loaded_everywhere(tmp_path):
    from safetensors import safe_open

    for name, output, tied in (
        ("text/bert_mini", "masked", "cls.predictions.decoder.weight"),
        ("text/gpt_nano", "causal", "lm_head.weight"),
    ):
        network = build(name, spec_of(output))
        network.write_pretrained(tmp_path / output, ())
        with safe_open(tmp_path / output / "model.safetensors", "pt") as file:
            assert tied not in file.keys()  # noqa: SIM118 - a file, not a dict
        again = build(name, spec_of(output), seed=1)
        loaded(again, tmp_path / output)
        embedding = again.model.get_input_embeddings().weight
        assert again.model.get_output_embeddings().weight is embedding
        assert torch.equal(embedding, network.model.get_input_embeddings().weight)


def test_a_checkpoint_of_a_run_gives_its_backbone_to_another_task(tmp_path):
    """Names as a task saves them, `model.` before the network's own, with the head of pre-training."""
    donor, network = build("text/bert_mini", spec_of("pretraining")), build("text/bert_mini", spec_of("tags"), seed=1)
    report = load_weights(network, {f"model.{name}": value for name, value in donor.state_dict().items()})
    assert report.complete and "another kind" in report.head and "pooler" in report.describe()
    assert torch.equal(
        network.model.bert.embeddings.word_embeddings.weight, donor.model.bert.embeddings.word_embeddings.weight
    )


def test_longer_tables_of_positions_are_cut_and_shorter_ones_refused(tmp_path):
    folder = text_folder(tmp_path, max_position_embeddings=64)
    fields = {"layers": 2, "width": 16, "heads": 2, "mlp": 32}
    short = build("text/bert_mini", spec_of("masked", shape=(20,)), **fields)
    report = loaded(short, folder)
    assert report.complete and "position_embeddings.weight resized, 64x16 -> 20x16" in report.describe()
    long = build("text/bert_mini", spec_of("masked", shape=(80,)), **fields)
    with pytest.raises(CheckpointError, match=r"positions for 64 tokens, the model for 80; set data\.max_length=64"):
        loaded(long, folder)
    with pytest.raises(ConfigError, match=r"positions for 64 tokens, but data\.max_length=80"):
        TransformersText(spec_of("masked", shape=(80,)), name=str(folder))


def test_roberta_counts_its_positions_from_behind_its_padding(tmp_path):
    folder = text_folder(tmp_path, "Roberta")  # a table of 66, of which 64 are tokens'
    special = {"pad": 1}
    assert TransformersText(spec_of("masked", special_tokens=special), name=str(folder)).max_tokens == 64
    with pytest.raises(ConfigError, match="positions for 64 tokens"):
        TransformersText(spec_of("masked", shape=(65,), special_tokens=special), name=str(folder))


def test_another_vocabulary_is_refused_and_both_sizes_named(tmp_path):
    folder = text_folder(tmp_path, vocab_size=30)
    network = build("text/bert_mini", spec_of("masked"))
    with pytest.raises(CheckpointError, match=r"know 30 tokens, the tokenizer of the data 40.*data\.tokenizer\.path"):
        loaded(network, folder)
    for vocab_size in (20, 40):
        with pytest.raises(ConfigError, match=rf"knows 30 tokens, the tokenizer of the data {vocab_size}.*holds none"):
            TransformersText(spec_of("masked", vocab_size=vocab_size), name=str(folder))
    (folder / "tokenizer.json").write_text("{}")
    assert TransformersText(spec_of("masked", vocab_size=20), name=str(folder)).model.config.vocab_size == 30
    with pytest.raises(ConfigError, match=r"knows 30 tokens, the tokenizer of the data 40; use the tokenizer"):
        TransformersText(spec_of("masked"), name=str(folder))
    anew = TransformersText(spec_of("masked"), name=str(folder), pretrained=False)
    assert anew.pretrained is None and anew.model.get_input_embeddings().num_embeddings == 40
    assert loaded(network, folder, partial=True).mismatched
    recurrent = build("text/lstm", spec_of())
    smaller = build("text/lstm", spec_of(vocab_size=30))
    with pytest.raises(CheckpointError, match="know 30 tokens, the tokenizer of the data 40"):
        load_weights(recurrent, smaller.state_dict())
    assert VOCAB == 40


def test_the_folder_is_told_before_the_data_are_read(tmp_path):
    folder = text_folder(tmp_path / "run" / "model")
    assert TransformersText.weights_folder({"name": str(folder)}) == folder
    assert TransformersText.weights_folder({"name": str(tmp_path / "run")}) == folder
    with pytest.raises(ConfigError, match=r"there is no .*config\.json"):
        TransformersText.weights_folder({"name": str(tmp_path)})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "vit"}, "no text model"),
        ({"model_type": "nothing"}, "cannot read"),
        ({"model_type": "t5", "vocab_size": 40}, "no head|an encoder with a decoder"),
        ({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}, "cannot read"),
    ],
)
def test_what_is_no_model_for_the_task_is_refused_and_no_code_is_run(tmp_path, config, words):
    marker = tmp_path / "marker"
    (tmp_path / "mine.py").write_text(f"open({str(marker)!r}, 'w')")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=words):
        TransformersText(spec_of("masked"), name=str(tmp_path))
    assert not marker.exists()
