"""Adapters of LoRA runs: peft puts them on the plain model, and it computes what the run's own network does."""

import json

import pytest
import torch

from ptft.adapt.load import load_weights
from ptft.adapt.lora import Lora
from ptft.data.data_module import DataSpec
from ptft.model.text.transformers import TransformersText
from ptft.model.vision.transformers import TransformersClassifier
from tests.model.text.models import VOCAB, batch, spec_of, tensors
from tests.tiny_models import text_folder, transformers_folder

AUTO = {"classes": "SequenceClassification", "tags": "TokenClassification", "span": "QuestionAnswering",
        "masked": "MaskedLM", "causal": "CausalLM"}  # fmt: skip


def adapted(network, folder, given):
    """Give a network trained updates, write them, and return its outputs and what merging them leaves of these."""
    load_weights(network, network.read_pretrained(network.pretrained))
    adapt = Lora(rank=2, alpha=4.0)
    adapt.structure(network)
    adapt.apply(network)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
        outputs = network.eval()(*given)
        line = adapt.write(network, folder, str(network.pretrained))
        adapt.merge(network)
        return outputs, network(*given), line


@pytest.mark.parametrize(
    ("family", "output"),
    [("Bert", "classes"), ("Bert", "tags"), ("Bert", "masked"), ("GPT2", "causal"), ("GPT2", "classes"),
     ("Roberta", "span"), ("DistilBert", "classes")],
)  # fmt: skip
def test_peft_puts_the_adapter_of_a_text_model_on_its_base(tmp_path, family, output):
    import transformers
    from peft import PeftModel

    folder = text_folder(tmp_path / "base", family, vocab_size=VOCAB)
    special = {"pad": 1 if family == "Roberta" else 0}
    network = TransformersText(spec_of(output, special_tokens=special), name=str(folder))
    outputs, merged, line = adapted(network, tmp_path / "adapter", batch())
    assert "adapter for peft" in line
    torch.testing.assert_close(merged, outputs, atol=1e-5, rtol=1e-4)
    base = getattr(transformers, f"AutoModelFor{AUTO[output]}").from_pretrained(
        str(folder), **({"num_labels": 3} if output in ("classes", "tags") else {})
    )
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    tokens, mask, types = batch()
    types = {"token_type_ids": types} if family == "Bert" else {}
    with torch.no_grad():
        theirs = loaded(input_ids=tokens, attention_mask=mask, **types)
    logits = torch.stack([theirs.start_logits, theirs.end_logits], -1) if output == "span" else theirs.logits
    torch.testing.assert_close(logits, tensors(outputs)[0], atol=1e-5, rtol=1e-4)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(folder) and config["r"] == 2


def test_the_adapter_of_an_image_classifier_goes_onto_its_base(tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForImageClassification

    folder, image = transformers_folder(tmp_path / "base"), torch.rand(2, 3, 32, 32)
    spec = DataSpec(kind="image", shape=(3, 32, 32), classes=tuple("abcd"))
    outputs, _, line = adapted(TransformersClassifier(spec, name=str(folder)), tmp_path / "adapter", (image,))
    assert "adapter for peft" in line
    base = AutoModelForImageClassification.from_pretrained(str(folder), num_labels=4, ignore_mismatched_sizes=True)
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixel_values=image).logits, outputs, atol=1e-5, rtol=1e-4)


def test_updates_that_peft_does_not_know_leave_no_adapter_and_say_so(tmp_path):
    from tests.adapt.test_lora import vit

    model, adapt = vit(), Lora(rank=2)
    adapt.structure(model)
    assert adapt.write(model, tmp_path / "adapter", "").startswith("no adapter/ was written: peft knows no updates")
    assert not (tmp_path / "adapter").exists()
