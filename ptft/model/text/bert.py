"""BERT by its dimensions (Devlin and others, arXiv 1810.04805), of transformers' own classes.

The small sizes are those of Turc and others (arXiv 1908.08962), whose published weights fit.
"""

from typing import Literal

from ptft.errors import ConfigError
from ptft.model.spec import ModelSpec, text_length
from ptft.model.text.build import build
from ptft.model.text.network import TextNetwork
from ptft.types import DropRate, PositiveInt


def bert(
    spec: ModelSpec,
    *,
    layers: PositiveInt = 4,
    width: PositiveInt = 256,
    heads: PositiveInt = 4,
    mlp: PositiveInt = 1024,
    dropout: DropRate = 0.1,
    positions: PositiveInt | Literal["auto"] = "auto",
) -> TextNetwork:
    """Return a BERT for the data and the output that the task wants.

    Args:
        spec: What the data know, and what the task wants.
        layers: Encoder layers.
        width: Of a token.
        heads: Attention heads of a layer.
        mlp: Hidden width of a layer's perceptron.
        dropout: Of embeddings, attention and layers, and before a head of classes.
        positions: Tokens there are positions for; auto: as many as `data.max_length`.

    Raises:
        ConfigError: The dimensions do not fit each other or the data.
    """
    from transformers import BertConfig

    if width % heads:
        raise ConfigError(f"model.width={width} is not divisible by model.heads={heads}")
    config = BertConfig(
        vocab_size=spec.vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=mlp,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=text_length(spec) if positions == "auto" else positions,
        pad_token_id=spec.special_tokens.get("pad", 0),
    )
    return build(spec, config, name="text/bert")
