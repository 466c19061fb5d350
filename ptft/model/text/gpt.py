"""GPT-2 by its dimensions (Radford and others, 2019), of transformers' own classes."""

from typing import Literal

from ptft.errors import ConfigError
from ptft.model.spec import ModelSpec, text_length
from ptft.model.text.build import build
from ptft.model.text.network import TextNetwork
from ptft.types import DropRate, PositiveInt


def gpt(
    spec: ModelSpec,
    *,
    layers: PositiveInt = 4,
    width: PositiveInt = 128,
    heads: PositiveInt = 4,
    dropout: DropRate = 0.0,
    positions: PositiveInt | Literal["auto"] = "auto",
) -> TextNetwork:
    """Return a GPT-2 for the data and the output that the task wants.

    Args:
        spec: What the data know, and what the task wants.
        layers: Decoder layers; each has a perceptron four times as wide as a token.
        width: Of a token.
        heads: Attention heads of a layer.
        dropout: Of embeddings, attention and layers.
        positions: Tokens there are positions for; auto: as many as `data.max_length`.

    Raises:
        ConfigError: The dimensions do not fit each other or the data.
    """
    from transformers import GPT2Config

    if width % heads:
        raise ConfigError(f"model.width={width} is not divisible by model.heads={heads}")
    config = GPT2Config(
        vocab_size=spec.vocab_size,
        n_positions=text_length(spec) if positions == "auto" else positions,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=spec.special_tokens.get("bos"),
        eos_token_id=spec.special_tokens.get("eos"),
        pad_token_id=spec.special_tokens.get("pad"),
    )
    return build(spec, config, name="text/gpt")
