"""A network of transformers over tokens, for whatever a task wants of it; the one wrapper of all such text models.

It takes ptft's batches - padded anywhere, several documents in a block, logits wanted of some tokens only - and hands
them to the library's own classes, so that what is saved loads there with the same logits.

Legend: B batch, T tokens, D width, V vocabulary, N chosen tokens.
"""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ptft.errors import ConfigError
from ptft.model import library
from ptft.model.parts import Parts, belongs
from ptft.model.text.attention_rule import quickest_attention
from ptft.model.text.masks import document_mask, document_positions, token_positions
from ptft.model.text.structure import POOLER, find_parts
from ptft.model.text.tables import cut_positions, other_positions, other_vocabulary

POSITIONS = ("position_embeddings", "wpe", "embed_positions")
"""What the library calls its tables of learned positions."""
ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attn_pdrop", "attention_dropout")
"""What configs of the library call the dropout of their attention."""
BUFFER = "position_ids"
"""What old weights hold and no network needs: 0, 1, 2 ..."""
ROW = 64
"""Chosen tokens reach the head in multiples of so many. Their number is another in every batch, and a CPU's library
keeps code of its own for each shape: 3 GB after 300 steps in bf16, where these take 1 GB."""


class TextNetwork(nn.Module):
    """A network of transformers from tokens to what `output` says (a word of `ptft.model.spec`)."""

    def __init__(self, model: Any, output: str, num_tokens: int, *, pretrained: Path | None = None) -> None:
        """Wrap a network of the library.

        Args:
            model: One of its classes with the head that fits the output.
            output: What it gives.
            num_tokens: Tokens of a row, at most.
            pretrained: Folder of the weights it starts from; None: it starts anew.
        """
        super().__init__()
        self.model = model
        self.output = output
        self.num_tokens = num_tokens
        self.pretrained = pretrained
        self._parts = find_parts(self, f"model.{model.base_model_prefix}", classes=output in ("classes", "tags"))
        takes = inspect.signature(model.base_model.forward).parameters
        self._takes_positions = "position_ids" in takes and not _offset(model)
        self._takes_types = "token_type_ids" in takes and getattr(model.config, "type_vocab_size", 0) > 1
        self._takes_cache = "use_cache" in takes
        self._chosen: Tensor | None = None
        model.base_model.register_forward_hook(self._keep_chosen)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        document: Tensor | None = None,
        chosen: Tensor | None = None,
    ) -> Any:
        """Map tokens to logits; see `ptft.model.spec` for their shapes.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T) 1 = token, 0 = padding, which may stand anywhere and changes no logit.
            token_type_ids: (B, T) 0 = first text, 1 = second; left out for networks that know no such thing.
            document: (B, T) 1, 2 ... = document of the block, 0 = padding; documents do not see each other, and the
                positions of each start from 0. None: one document a row.
            chosen: (B, T) bool, the tokens whose logits over the vocabulary are wanted: (N, V) in the order of the
                rows, in place of (B, T, V). None: all.

        Returns:
            The logits; of a network for pretraining a tuple: those of the tokens, and (B, 2) of the pairs, where class
            0 means that the second text follows the first.
        """
        given: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
        if document is not None:
            mask = document_mask(document, causal=self.output == "causal")
            given["attention_mask"] = mask if self.attention != "eager" else _additive(mask)
            given["position_ids"] = document_positions(document) + _offset(self.model)
        elif self._takes_positions:
            given["position_ids"] = token_positions(attention_mask)
        if self._takes_types:
            given["token_type_ids"] = token_type_ids
        if self._takes_cache:
            given["use_cache"] = False
        self._chosen = chosen
        try:
            outputs = self.model(**given)
        finally:
            self._chosen = None
        if self.output == "span":
            return torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)  # (B, T, 2)
        logits = outputs.prediction_logits if self.output == "pretraining" else outputs.logits
        if chosen is not None:
            logits = logits[0, : int(chosen.sum())]  # (1, N + zeros, V) -> (N, V)
        return (logits, outputs.seq_relationship_logits) if self.output == "pretraining" else logits

    def next_token(self, input_ids: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Return the logits (B, V) of the token after the given ones, and a cache for those that follow.

        Args:
            input_ids: (B, T) the tokens; with a cache only those that are new since.
            cache: What the last call returned; None: nothing was seen yet.
        """
        outputs = self.model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        return outputs.logits[:, -1], outputs.past_key_values

    def _keep_chosen(self, module: nn.Module, given: Any, output: Any) -> None:
        """Let only the chosen tokens reach the head, as one row: (1, N + zeros, D), its length a multiple of `ROW`."""
        if self._chosen is not None:
            hidden = output.last_hidden_state[self._chosen]
            output.last_hidden_state = nn.functional.pad(hidden, (0, 0, 0, -len(hidden) % ROW))[None]

    @property
    def max_tokens(self) -> int | None:
        """The most tokens it takes, where it has a table of positions."""
        return max_tokens(self.model)

    @property
    def attention(self) -> str:
        """How attention is worked out: eager, sdpa."""
        return str(self.model.config._attn_implementation)

    def set_attention(self, name: str) -> None:
        """Choose how attention is worked out.

        Raises:
            ConfigError: The network cannot do it so.
        """
        why = "it has no choice"
        try:
            self.model.set_attn_implementation(name)
        except (ValueError, ImportError) as error:
            why = library.first_line(error)
        if self.attention != name:  # older architectures of the library only warn
            raise ConfigError(f"engine.attention={name}: not to be had of {type(self.model).__name__} ({why})")

    def best_attention(self, device: str, precision: str) -> Literal["eager", "sdpa"]:
        """Return which way is quicker in training on a kind of device, in a number type."""
        config = self.model.config
        if not self.model._supports_sdpa or not self.model._can_set_attn_implementation():
            return "sdpa" if self.attention == "sdpa" else "eager"
        dropout = max(float(getattr(config, name, 0.0) or 0.0) for name in ATTENTION_DROPOUTS)
        return quickest_attention(device, precision, num_tokens=self.num_tokens, dropout=dropout)

    def parts(self) -> Parts:
        """Return the parts as found in the network."""
        return self._parts

    def adapt_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of which all outside the base model lies below this network's head, and nothing idle is left.

        Left out are a pooler where this network has none, and positions past its own.

        Args:
            tensors: Weights by this network's names, or those of its base model alone; not changed.
        """
        own, base, head = self.state_dict(), f"model.{self.model.base_model_prefix}", self._parts.head
        known = any(belongs(name, base) for name in tensors)
        fitted: dict[str, Tensor] = {}
        for name, value in tensors.items():
            full = name if known else f"{base}.{name}"
            if full not in own and (POOLER in full.split(".") or full.endswith(BUFFER)):
                continue
            fitted[full if full in own or belongs(full, base) else f"{head}.{full}"] = value
        return cut_positions(fitted, own, self._table(positions_of(self.model)))

    def explain_tensors(self, tensors: Mapping[str, Tensor]) -> str:
        """Return why weights of another shape do not fit: another vocabulary, or too few positions."""
        own = self.state_dict()
        words, places = self._table(self.model.get_input_embeddings()), self._table(positions_of(self.model))
        why = other_vocabulary(tensors[words], own[words]) if words in tensors else ""
        return why or (other_positions(tensors[places], own[places]) if places in tensors else "")

    def _table(self, wanted: nn.Module | None) -> str:
        """Return the name of the weight of a module within this network; empty where it is not there."""
        return next((f"{name}.weight" for name, module in self.named_modules() if module is wanted), "")

    def read_pretrained(self, folder: Path) -> Mapping[str, Tensor]:
        """Return the weights of a folder by today's names, as the library itself reads them.

        Raises:
            CheckpointError: The folder holds no safetensors of this architecture.
        """
        return library.read_weights(self.model, folder)

    def write_pretrained(self, folder: Path, labels: Sequence[str]) -> None:
        """Write what the library's `AutoModelFor...` reads: model.safetensors and config.json."""
        library.write_weights(self.model, folder, labels)


def max_tokens(model: Any) -> int | None:
    """Return how many tokens a network of the library takes at most, where it has a table of positions."""
    table = positions_of(model)
    return None if table is None else table.num_embeddings - _offset(model)


def positions_of(model: Any) -> nn.Embedding | None:
    """Return the table of learned positions of a network of the library, or None."""
    for name, module in model.base_model.named_modules():
        if name.rpartition(".")[2] in POSITIONS and isinstance(module, nn.Embedding):
            return module
    return None


def _offset(model: Any) -> int:
    """Return the position of the first token: RoBERTa and its kin count from the one after their padding's."""
    table = positions_of(model)
    return 0 if table is None or table.padding_idx is None else table.padding_idx + 1


def _additive(mask: Tensor) -> Tensor:
    """Return a mask as numbers to add to the scores: 0 where a token attends, else the least there is."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, torch.finfo(torch.float32).min)
