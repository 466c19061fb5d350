"""CPU time of a masked-language-modelling step beside a bare PyTorch + transformers loop, one thread.

BERT-mini (4 layers, 256 wide), 32 rows of 128 tokens, a vocabulary of 30,522; `python -m benchmarks.bench_text_step`.
The bare loop is what a tutorial writes: BertForMaskedLM given its `labels`, torch.optim.AdamW, tokens hidden as
transformers' collator hides them. ptft's step is that of its engine: the task hides the tokens, micro-batches are cut,
losses summed for the curves, the norm of the gradient checked. Both read the same rows of random tokens, made once.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.contest import Entrant, Loop, Row, contest, cpu_seconds, show
from ptft.data.data_module import Batch, DataSpec, transformed
from ptft.engine.optimize import PhaseOptimizer
from ptft.engine.plan import resolve_plan
from ptft.engine.settings import EngineSettings
from ptft.engine.update import Update
from ptft.engine.window import Window
from ptft.model.text.bert import bert
from ptft.optimizer.adamw import adamw
from ptft.optimizer.groups import embedding_names, parameter_groups
from ptft.runtime.distributed import World
from ptft.runtime.precision import Name, Precision
from ptft.schedule.constant import Constant
from ptft.schedule.schedule import WarmedUp
from ptft.task.text.masked import Masked

FP32_LIMIT, AUTO_LIMIT = 0.75, 0.45
BATCH, LENGTH, VOCABULARY = 32, 128, 30_522
SPECIAL = {"pad": 0, "unk": 100, "cls": 101, "sep": 102, "mask": 103}
LAYERS, WIDTH, HEADS, MLP = 4, 256, 4, 1024
HIDDEN, AS_MASK, AS_OTHER = 0.15, 0.8, 0.5  # BERT's shares; the last is of what does not become the mask token
LR, WARMUP, STEPS, ROUNDS = 1e-4, 1, 4, 5


def rows() -> Iterator[Tensor]:
    """Batches of tokens (B, T) without end, each between [CLS] and [SEP]."""
    generator = torch.Generator().manual_seed(0)
    made = torch.randint(1000, VOCABULARY, (16, BATCH, LENGTH), generator=generator)
    made[..., 0], made[..., -1] = SPECIAL["cls"], SPECIAL["sep"]
    return itertools.cycle(made)


def bare_loop(*, autocast: bool = False) -> Loop:
    """What a tutorial writes."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=MLP,
        max_position_embeddings=LENGTH,
    )
    model = BertForMaskedLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.01)
    batches = rows()

    def loop(count: int) -> float:
        def train() -> None:
            for tokens in itertools.islice(batches, count):
                input_ids, labels = hide(tokens)
                optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                    loss = model(input_ids=input_ids, attention_mask=torch.ones_like(tokens), labels=labels).loss
                loss.backward()
                optimizer.step()

        return cpu_seconds(train)

    return loop


def hide(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Hide tokens as transformers' DataCollatorForLanguageModeling does; return what is seen and the labels."""
    input_ids, labels = tokens.clone(), tokens.clone()
    share = torch.full(tokens.shape, HIDDEN)
    share.masked_fill_((tokens == SPECIAL["cls"]) | (tokens == SPECIAL["sep"]), 0.0)
    hidden = torch.bernoulli(share).bool()
    labels[~hidden] = -100
    masked = torch.bernoulli(torch.full(tokens.shape, AS_MASK)).bool() & hidden
    input_ids[masked] = SPECIAL["mask"]
    other = torch.bernoulli(torch.full(tokens.shape, AS_OTHER)).bool() & hidden & ~masked
    input_ids[other] = torch.randint(VOCABULARY, tokens.shape)[other]
    return input_ids, labels


def ptft_loop(precision: Name | str) -> Loop:
    """The engine's step, everything that is `auto` resolved as in a run."""
    torch.manual_seed(0)
    spec = DataSpec(
        kind="text",
        shape=(LENGTH,),
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        inputs=("input_ids", "attention_mask", "token_type_ids"),
        target="tokens",
        output="masked",
    )
    task = Masked(bert(spec, layers=LAYERS, width=WIDTH, heads=HEADS, mlp=MLP), spec).train()
    batches = _batches(task)
    settings = EngineSettings(batch_size=BATCH, precision=precision)  # type: ignore[arg-type]
    plan = resolve_plan(settings, task, next(batches), print)
    number_type = Precision(plan.precision, torch.device("cpu"))
    groups = parameter_groups(task.parameters_of("model"), embedding_names(task))
    schedule = WarmedUp(Constant(), 0, 1_000)
    optimizer = PhaseOptimizer(adamw(groups, lr=LR), schedule, number_type.scaler())
    window = Window(torch.device("cpu"))
    update = Update(
        task, {"model": optimizer}, window, number_type, seed=0, micro_batch_size=plan.micro_batch_size, world=World()
    )
    steps = itertools.count()

    def loop(count: int) -> float:
        def train() -> None:
            for batch, step in zip(itertools.islice(batches, count), steps, strict=False):
                update(batch, step, 1_000)

        return cpu_seconds(train)

    return loop


def _batches(task: Masked) -> Iterator[Batch]:
    index = torch.arange(BATCH)
    for epoch, tokens in enumerate(rows()):
        batch = {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "token_type_ids": torch.zeros_like(tokens),
            "index": index,
        }
        yield transformed(batch, task.own_transform, 0, torch.full_like(index, epoch))


def measure() -> list[Row]:
    """The table."""
    return contest(
        f"(h) BERT-mini MLM, {BATCH} x {LENGTH} tokens; CPU a step",
        [
            Entrant("bare PyTorch + transformers", bare_loop),
            Entrant("bare PyTorch + transformers, bf16 autocast", lambda: bare_loop(autocast=True)),
            Entrant(f"ptft, fp32 (at most {FP32_LIMIT:.2f})", lambda: ptft_loop("fp32")),
            Entrant(f"ptft, precision=auto (at most {AUTO_LIMIT:.2f})", lambda: ptft_loop("auto")),
        ],
        steps=STEPS,
        warmup=WARMUP,
        rounds=ROUNDS,
    )


def main() -> None:
    torch.set_num_threads(1)
    show(measure())


if __name__ == "__main__":
    main()
