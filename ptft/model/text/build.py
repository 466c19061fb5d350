"""From a config of transformers to a text network: the library's class for what the task wants, fitted to the data."""

from typing import Any

import torch
from torch import Tensor

from ptft.errors import ConfigError
from ptft.model import library
from ptft.model.spec import ModelSpec, num_outputs, text_length
from ptft.model.text.network import TextNetwork, max_tokens

PROBLEMS = {"class": "single_label_classification", "labels": "multi_label_classification", "value": "regression"}
"""What the library calls a kind of label, by ours."""
ENDING = {
    "classes": "ForSequenceClassification",
    "tags": "ForTokenClassification",
    "span": "ForQuestionAnswering",
    "masked": "ForMaskedLM",
    "causal": "ForCausalLM",
    "pretraining": "ForPreTraining",
}
"""How the library's classes (`AutoModel...`) for an output are called."""


def build(spec: ModelSpec, config: Any, *, name: str) -> TextNetwork:
    """Build a network from a config of the library, with weights as it draws them; see `make_model`."""
    network = TextNetwork(make_model(spec, config, name=name), spec.output, text_length(spec))
    try_out(network, spec, name=name)
    return network


def make_model(spec: ModelSpec, config: Any, *, name: str) -> Any:
    """Return the library's network for a config, to be wrapped in a TextNetwork.

    Args:
        spec: What the data know, and what the task wants.
        config: The config, of which classes, special tokens and the like are set here.
        name: What messages call the model.

    Raises:
        ConfigError: The architecture has no head for this output, or does not fit the data.
    """
    length = text_length(spec)
    _fit(spec, config)
    model = _made(spec.output, config, name)
    limit = max_tokens(model)
    if limit is not None and length > limit:
        raise ConfigError(
            f"{name} has positions for {limit} tokens, but data.max_length={length}; set data.max_length={limit} or "
            "less, or choose a model with more positions"
        )
    return model


def _fit(spec: ModelSpec, config: Any) -> None:
    """Set what the data decide in a config: special tokens, classes, the kind of problem."""
    special = spec.special_tokens
    for role in ("bos", "eos", "pad"):
        if role in special:
            setattr(config, f"{role}_token_id", special[role])
    if spec.output == "classes" and config.pad_token_id is None:
        config.pad_token_id = config.eos_token_id  # the last token of a row is found by it
    if spec.output in ("classes", "tags"):
        config.num_labels = num_outputs(spec)
    if spec.output == "classes":
        config.problem_type = PROBLEMS.get(spec.target, PROBLEMS["class"])
    if spec.output == "causal" and hasattr(config, "is_decoder"):
        config.is_decoder = True  # an encoder then looks back only


def _made(output: str, config: Any, name: str) -> Any:
    """Return the library's network."""
    import transformers

    library.logging()
    maker: Any = getattr(transformers, f"AutoModel{ENDING[output]}")
    if type(config) not in maker._model_mapping:
        raise ConfigError(
            f"{name}: `{config.model_type}` has no head for the output `{output}` that this task wants "
            f"({maker.__name__}); choose another model= or task="
        )
    if getattr(config, "is_encoder_decoder", False):
        raise ConfigError(f"{name}: `{config.model_type}` is an encoder with a decoder; ptft takes one of the two")
    try:
        return maker.from_config(config, dtype=torch.float32, trust_remote_code=False)
    except Exception as error:  # the library raises what its parts raise
        raise ConfigError(f"{name}: transformers cannot build it ({library.first_line(error)})") from None


def try_out(network: TextNetwork, spec: ModelSpec, *, name: str) -> None:
    """Run a few tokens through a network and see that it looks only where it may.

    Args:
        network: The network.
        spec: What the data know, and what the task wants.
        name: What messages call it.

    Raises:
        ConfigError: It fails, looks ahead, or from one document into another.
    """
    length = min(text_length(spec), 6)
    tokens = torch.arange(length)[None] % min(spec.vocab_size, network.model.config.vocab_size)
    other = tokens.roll(1, dims=1)
    half = length // 2
    given = {"attention_mask": torch.ones_like(tokens)}
    if "document" in spec.inputs:
        given["document"] = 1 + (torch.arange(length) >= half).long()[None]
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            first = _logits(network(tokens, **given))
            second = _logits(network(torch.cat([tokens[:, :half], other[:, half:]], dim=1), **given))
    except Exception as error:  # whatever a network of another library raises
        raise ConfigError(
            f"{name}: {type(network.model).__name__} does not take such tokens ({library.first_line(error)})"
        ) from None
    network.train(training)
    apart = spec.output in ("causal", "masked", "pretraining") and ("document" in given or spec.output == "causal")
    if apart and half and not torch.allclose(first[:, :half], second[:, :half], atol=1e-4):
        raise ConfigError(
            f"{name}: {type(network.model).__name__} looks "
            + ("ahead, so it cannot learn to go on" if spec.output == "causal" else "from one document into another")
            + "; choose another model"
        )


def _logits(outputs: Any) -> Tensor:
    logits: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
    return logits
