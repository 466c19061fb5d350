"""Causal language modelling: each token from those before it (Radford and others, GPT-2, 2019).

Legend: B batch, T time, N tokens that are predicted.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch, DataSpec
from ptft.data.text.tokenizer import TextTokenizer
from ptft.errors import ConfigError
from ptft.loss.distillation import distillation_sum
from ptft.metric.language import LanguageMetrics
from ptft.runtime.random import Draws
from ptft.task.exporting import network_export
from ptft.task.task import ExportSpec, Media, MetricSpec, Outputs, Records, StepOutput, Task
from ptft.task.text.generation import Sampling, Writer
from ptft.task.text.tokens import IGNORED, chosen, outputs_with_logits, records, sums_by_example, token_outputs
from ptft.task.text.vocabulary import check_layout, tokenizer_of
from ptft.types import NonNegativeFloat, NonNegativeInt, PositiveInt, PositiveShare, Seed

NUM_SAMPLES = 3
"""Texts that are continued after an evaluation."""
PROMPT_TOKENS = 16
"""Tokens of such a text that are given."""


class Causal(Task):
    """A network that predicts the next token; judged by the loss in nats a token."""

    headline = MetricSpec("loss", "min")
    labelled = False
    distils = True
    output = "causal"

    def __init__(
        self,
        model: nn.Module,
        spec: DataSpec,
        *,
        sample_tokens: NonNegativeInt = 100,
        max_new_tokens: PositiveInt = 200,
        temperature: NonNegativeFloat = 0.8,
        top_k: PositiveInt | None = None,
        top_p: PositiveShare = 1.0,
        seed: Seed = 0,
    ) -> None:
        """Wrap a network that maps tokens (B, T) to logits (N, vocabulary) of the tokens after the chosen ones.

        Args:
            model: The network.
            spec: What the data know.
            sample_tokens: New tokens of each text shown after an evaluation; 0: none are written.
            max_new_tokens: Most new tokens behind a prompt.
            temperature: Below 1 more of the likely tokens, above 1 more of the unlikely; 0: always the likeliest.
            top_k: Draw from so many of the likeliest tokens only; null: all.
            top_p: Draw from the fewest likeliest tokens that together have this probability; 1: all.
            seed: Another seed, another continuation of the same prompt.

        Raises:
            ConfigError: The data are laid out for another task.
        """
        super().__init__()
        check_layout(spec, "text/causal", "causal")
        self.model = model
        self.spec = spec
        self.sampling = Sampling(temperature, top_k, top_p)
        self.sample_tokens = sample_tokens
        self.max_new_tokens = max_new_tokens
        self.seed = seed
        self._prompts: list[list[int]] = []

    # --- Training -----------------------------------------------------------------------------------------------------

    def transform(self, batch: Batch, draws: Draws) -> Batch:
        """Add `labels` (B, T) where the data bring none of their own: the token that follows within the text."""
        if self.spec.target == "tokens" and "labels" in batch:
            return batch
        labels = torch.full_like(batch["input_ids"], IGNORED)
        follows = batch["attention_mask"][:, 1:].bool() & batch["attention_mask"][:, :-1].bool()
        labels[:, :-1] = batch["input_ids"][:, 1:].masked_fill(~follows, IGNORED)
        return batch | {"labels": labels}

    def forward(self, batch: Batch) -> Outputs:
        """Return `token_loss` (N,) of the tokens with a label; without gradients also `prediction` (N,)."""
        return token_outputs(self.model, self.spec, batch)

    def count(self, batch: Batch, phase: str) -> dict[str, int | Tensor]:
        """Return the number of tokens with a label."""
        return {"next_token": chosen(batch).sum()}

    def loss(self, outputs: Outputs, batch: Batch, phase: str) -> StepOutput:
        """Return the negative log likelihood of the next tokens, summed."""
        return StepOutput({"next_token": outputs["token_loss"].sum()})

    def full_outputs(self, batch: Batch) -> Outputs:
        """Return what `forward` does with gradients, and `logits` (N, vocabulary)."""
        return outputs_with_logits(self.model, self.spec, batch)

    def soft_count(self, batch: Batch) -> dict[str, int | Tensor]:
        """Return the number of tokens with a label."""
        return {"distillation": chosen(batch).sum()}

    def soft_loss(self, outputs: Outputs, teacher: Outputs, batch: Batch, temperature: float) -> StepOutput:
        """Return the divergence from the teacher's probabilities of all tokens, summed over those with a label."""
        return StepOutput({"distillation": distillation_sum(outputs["logits"], teacher["logits"], temperature)})

    # --- Evaluation ---------------------------------------------------------------------------------------------------

    def before_evaluation(self, loaders: Mapping[str, Iterable[Batch]]) -> None:
        """Forget the texts shown last."""
        self._prompts = []

    def make_metrics(self) -> LanguageMetrics:
        """Return fresh metrics."""
        return LanguageMetrics()

    def evaluation_step(self, outputs: Outputs, batch: Batch, metrics: LanguageMetrics) -> Records:
        """Return index, the mean loss of an example's tokens, and how many they are."""
        columns = sums_by_example(outputs, batch)
        if "num_bytes" in batch:
            columns["bytes"] = batch["num_bytes"].double().cpu()
        metrics.update(columns)
        if len(self._prompts) < NUM_SAMPLES:
            first = {name: batch[name][:NUM_SAMPLES] for name in ("input_ids", "attention_mask")}
            self._prompts = [*self._prompts, *prompts_of(first, self.spec)][:NUM_SAMPLES]
        return records(columns, batch)

    def samples(self, generator: torch.Generator) -> Media | None:
        """Return `continued`: how the first texts of the evaluation begin and what the network makes of them."""
        prompts = [prompt[:PROMPT_TOKENS] for prompt in self._prompts if prompt]
        if not (self.sample_tokens and prompts and self.spec.files):
            return None
        seed = int(torch.randint(1 << 31, (), generator=generator))
        written = Writer.of(self.model, self.spec).write(prompts, self.sampling, self.sample_tokens, seed)
        tokenizer = tokenizer_of(self.spec)
        texts = [spoken(tokenizer, prompt, new) for prompt, new in zip(prompts, written, strict=True)]
        return {"continued": "\n\n".join(f"{before} || {after}" for before, after in texts)}

    def export(self) -> dict[str, ExportSpec]:
        """Return a copy of the network, from tokens to logits (B, T, vocabulary) of all of them."""
        return network_export(self.model, self.spec)

    def predict(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the `continuation` of each row's text, and both as `text`.

        Raises:
            ConfigError: A text is empty, and the tokenizer has no token that begins one.
        """
        prompts = prompts_of(batch, self.spec)
        begins = [self.spec.special_tokens[role] for role in ("bos", "eos", "cls") if role in self.spec.special_tokens]
        if not begins and not all(prompts):
            raise ConfigError("a prompt is empty, and this tokenizer has no token that begins a text; give some text")
        prompts = [prompt or begins[:1] for prompt in prompts]
        written = Writer.of(self.model, self.spec).write(prompts, self.sampling, self.max_new_tokens, self.seed)
        tokenizer = tokenizer_of(self.spec)
        texts = [spoken(tokenizer, prompt, new) for prompt, new in zip(prompts, written, strict=True)]
        return [{"text": before + after, "continuation": after} for before, after in texts]


def prompts_of(batch: Batch, spec: DataSpec) -> list[list[int]]:
    """Return the tokens of each text as a prompt: without padding, and without the token that ends a text."""
    ends = {spec.special_tokens.get(role) for role in ("eos", "sep")} - {spec.special_tokens.get("bos")}
    prompts = []
    for tokens, mask in zip(batch["input_ids"].cpu(), batch["attention_mask"].bool().cpu(), strict=True):
        prompt: list[int] = tokens[mask].tolist()
        prompts.append(prompt[:-1] if prompt and prompt[-1] in ends else prompt)
    return prompts


def spoken(tokenizer: TextTokenizer, prompt: Sequence[int], new: Sequence[int]) -> tuple[str, str]:
    """Return prompt and continuation as text; decoded together, as a space may belong to either."""
    before, both = tokenizer.decode(prompt), tokenizer.decode([*prompt, *new])
    return (before, both[len(before) :]) if both.startswith(before) else (before, tokenizer.decode(new))
