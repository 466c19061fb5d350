"""Every text model on disk, small: for the tests of this folder."""

import inspect
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from omegaconf import OmegaConf

from ptft.data.data_module import DataSpec
from ptft.model.text.network import TextNetwork
from tests.tiny_models import text_folder

CONFIGS = Path(__file__).parents[3] / "configs" / "model"
NAMES = sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in (CONFIGS / "text").rglob("*.yaml"))
VARIANTS = ("text/bert_tiny", "text/bert_small", "text/bert_base", "text/gpt2", "text/gru")
"""YAMLs that set a model of another one otherwise."""
ENCODER, DECODER = {"layers": 2, "width": 16, "heads": 2, "mlp": 32}, {"layers": 2, "width": 16, "heads": 2}
SMALLER = {
    **{f"text/bert_{size}": ENCODER for size in ("tiny", "mini", "small", "base")},
    **{f"text/{name}": DECODER for name in ("gpt_nano", "gpt2")},
    **{f"text/{name}": {"embedding": 8, "hidden": 6, "layers": 2, "bigrams": 16} for name in ("lstm", "gru")},
    "text/cnn": {"embedding": 8, "filters": 4, "bigrams": 16},
}
WHOLE = ("classes", "tags", "span", "masked", "causal", "pretraining")
OUTPUTS = {
    "text/gpt2": ("classes", "tags", "span", "causal"),
    "text/lstm": ("classes", "tags"),
    "text/cnn": ("classes",),
}
"""What each kind of model gives; BERT gives all."""
VOCAB, LENGTH = 40, 64
SPECIAL = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "bos": 5, "eos": 6}
CASES = [
    (name, output)
    for name, outputs in [("text/bert_mini", WHOLE), ("text/transformers", ("masked",)), *OUTPUTS.items(),
                          ("text/gru", ("tags",))]
    for output in outputs
]  # fmt: skip
"""Models and outputs; names that differ in their dimensions alone stand once."""


def spec_of(output="classes", *, target="class", documents=False, num_classes=3, **fields):
    inputs = ("input_ids", "attention_mask", "token_type_ids", *(("document",) if documents else ()))
    classes = tuple(f"class {number}" for number in range(num_classes))
    given = {"shape": (LENGTH,), "vocab_size": VOCAB, "special_tokens": SPECIAL, **fields}
    return DataSpec(kind="text", classes=classes, inputs=inputs, output=output, target=target, **given)


def read(name):
    settings = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))
    module, _, attribute = settings.pop("_target_").rpartition(".")
    return getattr(import_module(module), attribute), settings


def arguments_of(target):
    return {p.name: p.default for p in inspect.signature(target).parameters.values() if p.kind is p.KEYWORD_ONLY}


@cache
def tiny_folder():
    """A folder of transformers, for as long as the tests run."""
    folder = TemporaryDirectory()
    text_folder(Path(folder.name), vocab_size=VOCAB)
    return folder


def build(option, spec, seed=0, **overrides):
    target, settings = read(option)
    if option == "text/transformers":
        overrides = {"name": tiny_folder().name, **overrides}
    torch.manual_seed(seed)
    return target(spec, **{**settings, **SMALLER.get(option, {}), **overrides})


def batch(rows=3, length=12, seed=0):
    """Tokens, their mask and types as a network takes them, no padding, no special tokens."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(7, VOCAB, (rows, length), generator=generator)
    types = (torch.arange(length) >= length // 2).long().expand(rows, -1)
    return tokens, torch.ones_like(tokens), types.contiguous()


def tensors(outputs):
    """Whatever a network gave, as a list."""
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def is_network(model):
    return isinstance(model, TextNetwork)
