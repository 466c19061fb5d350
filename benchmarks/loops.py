"""The loops that are compared: ptft's engine, the bare PyTorch loop, and what accelerate, HF Trainer and Lightning make
of the same network, batches and optimizer."""

import itertools
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console as RichConsole
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.contest import Loop, cpu_seconds
from ptft.command.build import Builder
from ptft.command.running import open_run
from ptft.command.training import assemble
from ptft.config.invocation import Invocation
from ptft.engine.console import Console

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
LOG_EVERY, SAVE_EVERY = 50, 500
"""Steps between two log lines and between two checkpoints, for every loop that has them."""
MakeModel = Callable[[], nn.Module]
Labelled = Dataset[tuple[Tensor, ...]]


# --- ptft ---


def ptft_loop(*overrides: str, steps: int, whole: bool) -> Loop:
    """The engine as `ptft finetune` builds it, with the progress line, metrics.jsonl, log and checkpoints on.

    Args:
        overrides: As on the command line.
        steps: Length of a run in the config; `loop(n)` stops after n of them.
        whole: Count everything from the first step to the last checkpoint; else the steps alone, without the
            evaluation and the checkpoint that end even the shortest run.
    """
    invocation = Invocation(verb="finetune", argv=("ptft", "finetune", *overrides), overrides=overrides)

    def loop(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            given = [f"output_root={folder}", "name=bench", f"engine.max={steps}st", f"engine.stop_at={count}st"]
            with initialize_config_dir(str(CONFIGS), version_base="1.3"):
                config: Any = OmegaConf.to_container(compose("finetune", overrides=[*overrides, *given]), resolve=True)
            console = Console(RichConsole(file=nowhere, force_terminal=True, width=100))
            run = open_run(config, invocation)
            engine = assemble(Builder(config, (), console), invocation, run, None)
            if whole:
                return cpu_seconds(engine.fit)
            first = _clock_at(engine.task, 0)
            last = _clock_at(engine.task, count - 1)
            engine.fit()
            return (last[0] - first[0]) * count / (count - 1)

    return loop


def _clock_at(task: Any, step: int) -> list[float]:
    """Return a list that will hold the CPU time at the end of a step."""
    seen: list[float] = []
    original = task.after_update

    def after_update(done: int, max_steps: int) -> None:
        original(done, max_steps)
        if done == step:
            seen.append(time.process_time())

    task.after_update = after_update
    return seen


# --- The bare loop ---


def bare_loop(data: Labelled, make_model: MakeModel, batch_size: int, *, autocast: bool = False) -> Loop:
    """What a PyTorch tutorial writes: DataLoader, AdamW, five lines a step, and a look at the loss every 50."""
    model = make_model().train()
    optimizer = torch.optim.AdamW(model.parameters())
    batches = endless(DataLoader(data, batch_size, shuffle=True, drop_last=True))

    def loop(count: int) -> float:
        def train() -> None:
            for step, (image, label) in enumerate(itertools.islice(batches, count)):
                optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                    loss = F.cross_entropy(model(image), label)
                loss.backward()
                optimizer.step()
                if step % LOG_EVERY == 0:
                    loss.item()

        return cpu_seconds(train)

    return loop


def endless(loader: DataLoader[Any]) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


# --- Other trainers: the same network and batches, logging and saving as often as ptft ---


def accelerate_loop(data: Labelled, make_model: MakeModel, batch_size: int) -> Loop:
    """The bare loop with accelerate around it; logs and saves nothing."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    plain = make_model().train()
    loader = DataLoader(data, batch_size, shuffle=True, drop_last=True)
    model, optimizer, loader = accelerator.prepare(plain, torch.optim.AdamW(plain.parameters()), loader)
    batches = endless(loader)

    def loop(count: int) -> float:
        def train() -> None:
            for step, (image, label) in enumerate(itertools.islice(batches, count)):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(image), label)
                accelerator.backward(loss)
                optimizer.step()
                if step % LOG_EVERY == 0:
                    loss.item()

        return cpu_seconds(train)

    return loop


def trainer_loop(data: Labelled, make_model: MakeModel, batch_size: int) -> Loop:
    """Hugging Face's Trainer."""
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = make_model()

        def forward(self, image: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.model(image)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    def collate(examples: list[tuple[Tensor, ...]]) -> dict[str, Tensor]:
        image, label = torch.utils.data.default_collate(examples)
        return {"image": image, "labels": label}

    def loop(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=count,
                per_device_train_batch_size=batch_size,
                dataloader_drop_last=True,
                learning_rate=1e-3,
                logging_steps=LOG_EVERY,
                save_steps=SAVE_EVERY,
                save_total_limit=2,
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,  # its progress bar would be drawn over the table
                remove_unused_columns=False,
                dataloader_pin_memory=False,
            )
            trainer = Trainer(Wrapped(), arguments, data_collator=collate, train_dataset=data)
            trainer.remove_callback(PrinterCallback)
            trainer.remove_callback(ProgressCallback)
            return cpu_seconds(trainer.train)

    return loop


def lightning_loop(data: Labelled, make_model: MakeModel, batch_size: int) -> Loop:
    """Lightning's Trainer."""
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = make_model()

        def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
            image, label = batch
            loss = F.cross_entropy(self.model(image), label)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters())

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def loop(count: int) -> float:
        loader = DataLoader(data, batch_size, shuffle=True, drop_last=True)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = lightning.Trainer(
                max_steps=count,
                max_epochs=-1,
                accelerator="cpu",
                logger=CSVLogger(folder),
                log_every_n_steps=LOG_EVERY,
                callbacks=[ModelCheckpoint(folder, every_n_train_steps=SAVE_EVERY)],
                enable_progress_bar=False,  # it would be drawn over the table
                enable_model_summary=False,
            )
            return cpu_seconds(lambda: trainer.fit(Module(), loader))

    return loop
