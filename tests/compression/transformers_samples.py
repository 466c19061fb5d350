"""Small transformers over words and pictures, with tasks and batches, for the tests of steps that cut them."""

import json

import torch

from ptft.data.data_module import DataSpec
from ptft.model.text.transformers import TransformersText
from ptft.model.vision.vit import VisionTransformer
from ptft.task.classification import Classification
from tests.model.text.models import VOCAB, build, spec_of
from tests.tiny_models import text_folder

FAMILIES = ("Bert", "Roberta", "DistilBert", "GPT2", "Electra")
SETTINGS = {
    "Bert": {"num_attention_heads": 4},
    "Roberta": {"num_attention_heads": 4},
    "DistilBert": {"n_heads": 4},
    "GPT2": {"n_head": 4, "n_inner": 32},
}
ELECTRA = {"hidden_size": 16, "embedding_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4,
           "intermediate_size": 32, "max_position_embeddings": 64}  # fmt: skip
PICTURES = DataSpec(kind="image", shape=(1, 8, 8), classes=("a", "b", "c"), mean=(0.0,), std=(1.0,))


def text_spec(family="Bert", **fields):
    """What the data know: three classes, 40 tokens."""
    special = {"pad": 1, "unk": 3} if family == "Roberta" else {"pad": 0, "unk": 1, "cls": 2, "sep": 3}
    return spec_of("classes", **{"special_tokens": special, **fields})


def text_network(folder, family="Bert", seed=0, layers=2):
    """A network of transformers with four heads and 32 neurons a layer, biases that are not zero."""
    torch.manual_seed(seed)
    depth = {"DistilBert": "n_layers", "GPT2": "n_layer"}.get(family, "num_hidden_layers")
    if family == "Electra":
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"model_type": "electra", "vocab_size": VOCAB, **ELECTRA, depth: layers}
        (folder / "config.json").write_text(json.dumps(settings))
    else:
        text_folder(folder, family, vocab_size=VOCAB, **{depth: layers, **SETTINGS[family]})
    network = TransformersText(text_spec(family), name=str(folder), pretrained=False)
    return shaken(network, seed).eval()


def text_task(network, family="Bert"):
    """A classifier in evaluation mode."""
    return Classification(network, text_spec(family)).eval()


def text_batch(size=48, length=10, seed=0, highest=VOCAB):
    """Rows of tokens from 7 on, the last few of each padding, and a class that the first token tells."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(7, highest, (size, length), generator=generator)
    lengths = torch.randint(4, length + 1, (size, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    types = torch.zeros_like(tokens)
    label = tokens[:, 0] % 3
    return {"index": torch.arange(size), "input_ids": tokens * mask, "attention_mask": mask, "token_type_ids": types,
            "label": label}  # fmt: skip


def vit(seed=0, depth=3):
    """A vision transformer of four heads."""
    torch.manual_seed(seed)
    network = VisionTransformer(PICTURES, patch_size=4, depth=depth, heads=4, width=16, mlp=32)
    return shaken(network, seed).eval()


def vit_task(network):
    """A classifier of pictures in evaluation mode."""
    return Classification(network, PICTURES).eval()


def picture_batch(size=32, seed=0):
    """Noise, brighter by its class."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (size,), generator=generator)
    image = torch.randn(size, 1, 8, 8, generator=generator) + label[:, None, None, None]
    return {"index": torch.arange(size), "image": image, "label": label}


def shaken(network, seed=0):
    """The same network with noise on all its weights, so that none is zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network


@torch.no_grad()
def logits_of(task, batch):
    """The logits of a batch."""
    return task.eval()(batch)["logits"]


def classic(name, **settings):
    """One of ptft's own text models over the same words."""
    return build(name, text_spec(), **settings).eval()
