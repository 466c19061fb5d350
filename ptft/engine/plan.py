"""What `auto` becomes: device, number type, memory format and micro-batch, resolved once, printed, saved and reused.

A resumed run takes the saved plan, so it continues to the bit on a machine that would have chosen differently.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ptft.data.data_module import Batch
from ptft.engine.settings import EngineSettings
from ptft.engine.update import accumulate, count_items, cut
from ptft.errors import ConfigError, PtftError
from ptft.runtime import device as devices
from ptft.runtime.distributed import World
from ptft.runtime.precision import Name, Precision
from ptft.task.task import Task

_WORTH_BFLOAT16 = 1e8
"""Floating-point operations of a forward pass from which bf16 pays for its casts.

Measured on one core with AMX, training in bf16 against fp32: 0.4 times as fast at 3e5 operations a batch, 1.1 times at
6e7, 1.4 times at 2.3e8, 1.9 to 3 times from 6e8 on. A count, unlike a stopwatch, is the same in every run.
"""


@runtime_checkable
class ChoosesAttention(Protocol):
    """A network that can work attention out in several ways."""

    def set_attention(self, name: str) -> None:
        """Choose one: `eager` or `sdpa`."""
        ...

    def best_attention(self, device: str, precision: str) -> Literal["eager", "sdpa"]:
        """Return which is quicker in training on a kind of device, in a number type."""
        ...


@dataclass(frozen=True)
class Plan:
    """The resolved settings of a run.

    Attributes:
        device: Type of the device.
        precision: Number type of forward and backward.
        memory_format: Layout of convolution weights, and so of activations.
        micro_batch_size: Examples in one forward pass.
        threads: CPU threads of torch; results are bit-identical for equal numbers only.
        attention: How attention is worked out; `none`: no network has a choice.
    """

    device: str
    precision: Name
    memory_format: Literal["contiguous", "channels_last"]
    micro_batch_size: int
    threads: int
    attention: Literal["none", "eager", "sdpa"] = "none"

    def describe(self) -> str:
        """Return the plan in one line."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        chosen = "" if self.attention == "none" else f"{self.attention} attention, "
        size = f"micro-batch {self.micro_batch_size}"
        return f"{self.device}, {self.precision}, {self.memory_format}, {chosen}{size}, {threads}"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Plan":
        """Build a plan from what `to_json` returned."""
        return cls(**values)


def resolve_plan(settings: EngineSettings, task: Task, batch: Batch, warn: Callable[[str], None]) -> Plan:
    """Resolve every `auto` for a task that lies on its device, by short trials on a batch; the task is left as it was.

    Raises:
        ConfigError: A micro-batch size does not go with the task.
        PtftError: Not even one example fits into the memory.
    """
    device = batch["index"].device
    memory_format = _memory_format(settings, task, device)
    apply_memory_format(task, memory_format)
    _check_single_example(settings, task, batch)
    precision = _precision(settings, task, batch, device)
    way = _way_of_attention(settings, task, device, precision)
    apply_attention(task, way)
    micro_batch_size = _micro_batch_size(settings, task, batch, Precision(precision, device))
    if micro_batch_size < settings.batch_size and _has_batch_norm(task):
        warn(
            f"micro-batches of {micro_batch_size}: batch norm takes its statistics over a micro-batch, so the result "
            f"differs from one batch of {settings.batch_size}"
        )
    return Plan(device.type, precision, memory_format, micro_batch_size, torch.get_num_threads(), way)


def apply_memory_format(task: Task, memory_format: str) -> None:
    """Lay out the task's four-dimensional weights; activations follow them."""
    layouts = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
    task.to(memory_format=layouts[memory_format])


def apply_attention(task: Task, way: str) -> None:
    """Let every network that has a choice work attention out in one way; `none`: as it does."""
    for module in task.modules():
        if way != "none" and isinstance(module, ChoosesAttention):
            module.set_attention(way)


def largest_that_fits(attempt: Callable[[int], None], size: int) -> int:
    """Halve `size` until `attempt(size)` no longer runs out of memory.

    Raises:
        PtftError: A size of one runs out of memory too.
    """
    while True:
        try:
            attempt(size)
            return size
        except torch.OutOfMemoryError:
            if size == 1:
                raise PtftError(
                    "one example does not fit into the memory of the device; take a smaller model"
                ) from None
            size = (size + 1) // 2


def _memory_format(
    settings: EngineSettings, task: Task, device: torch.device
) -> Literal["contiguous", "channels_last"]:
    if settings.memory_format != "auto":
        return settings.memory_format
    # oneDNN and cuDNN compute convolutions in channels_last; MPS gains nothing.
    has_convolutions = any(isinstance(module, nn.Conv2d) for module in task.modules())
    return "channels_last" if has_convolutions and device.type in ("cpu", "cuda") else "contiguous"


def _precision(settings: EngineSettings, task: Task, batch: Batch, device: torch.device) -> Name:
    if settings.precision != "auto":
        return settings.precision
    if not devices.has_fast_bfloat16(device):
        return "fp32"
    return "bf16" if _operations(task, batch, Precision("fp32", device)) >= _WORTH_BFLOAT16 else "fp32"


def _way_of_attention(
    settings: EngineSettings, task: Task, device: torch.device, precision: Name
) -> Literal["none", "eager", "sdpa"]:
    networks = [module for module in task.modules() if isinstance(module, ChoosesAttention)]
    if settings.attention != "auto":
        if not networks:
            raise ConfigError(
                f"engine.attention={settings.attention}: no network of this run has a choice; leave it at auto"
            )
        return settings.attention
    return networks[0].best_attention(device.type, precision) if networks else "none"


def _micro_batch_size(settings: EngineSettings, task: Task, batch: Batch, precision: Precision) -> int:
    size = settings.batch_size
    if not task.splittable and size < 2:
        raise ConfigError(
            f"engine.batch_size={size}: the loss of {type(task).__name__} compares the examples of a batch; take 2"
        )
    if settings.micro_batch_size == "auto":
        if precision.device.type == "cpu":
            return size
        size = largest_that_fits(lambda size: _trial(task, cut(batch, size)[:1], precision), size)
    else:
        size = min(settings.micro_batch_size, size)
    if size < settings.batch_size and not task.splittable:
        raise ConfigError(
            f"engine.micro_batch_size={size} would cut a batch of {settings.batch_size}, but the loss of "
            f"{type(task).__name__} compares the examples of a batch; lower engine.batch_size or leave it at auto"
        )
    return size


def _check_single_example(settings: EngineSettings, task: Task, batch: Batch) -> None:
    """Refuse a batch or a last micro-batch of one example where batch norm can take no statistics over it."""
    size = settings.batch_size if settings.micro_batch_size == "auto" else settings.micro_batch_size
    if (settings.batch_size % size or size) > 1 or not _has_batch_norm(task):
        return
    try:
        _trial(task, cut(batch, 1)[:1], Precision("fp32", batch["index"].device))
    except ValueError as error:
        raise ConfigError(
            f"engine.batch_size={settings.batch_size} with engine.micro_batch_size={settings.micro_batch_size} leaves "
            f"a forward pass of one example, over which batch norm can take no statistics ({error}); change one of them"
        ) from error


def _operations(task: Task, batch: Batch, precision: Precision) -> int:
    """Return the floating-point operations of one forward pass in convolutions, linear layers and LSTMs.

    torch.utils.flop_counter counts more kinds, but importing it takes 3 s. GRUs are left out: in bf16 a CPU is no
    quicker at them. Measured there on a training step, 32 rows of 100 tokens, 128 wide, both directions: LSTM 54 ms and
    23 in bf16, GRU 82 and 91.
    """
    total = 0

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal total
        if isinstance(module, nn.LSTM):
            steps = output[0].numel() // output[0].shape[-1]
            total += 2 * steps * sum(weight.numel() for weight in module.parameters() if weight.ndim == 2)
            return
        assert isinstance(module.weight, Tensor)
        # Of each output number: the weights behind it. (Linear layers of GPT-2 hold them the other way round.)
        outputs = output.shape[-1] if module.weight.ndim == 2 else module.weight.shape[0]
        total += 2 * output.numel() * (module.weight.numel() // outputs)

    hooks = [module.register_forward_hook(count) for module in task.modules() if _multiplies(module)]
    try:
        _trial(task, [batch], precision)
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _multiplies(module: nn.Module) -> bool:
    """Tell whether a module is a layer that multiplies by a matrix of its own."""
    if isinstance(module, nn.Linear | nn.LSTM | nn.modules.conv._ConvNd):
        return True
    # transformers' Conv1D, in GPT-2, is a linear layer by another name.
    return type(module).__name__ == "Conv1D" and isinstance(getattr(module, "weight", None), Tensor)


def _trial(task: Task, micro_batches: list[Batch], precision: Precision) -> None:
    """Run forward and backward of every phase and put everything back as it was."""
    buffers = {name: buffer.clone() for name, buffer in task.named_buffers()}
    try:
        for phase in task.phases:
            counts = count_items(task, micro_batches, phase, World())
            for micro_batch in micro_batches:
                accumulate(task, micro_batch, phase, counts, precision, lambda loss: loss)
    finally:
        task.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in task.named_buffers():
                buffer.copy_(buffers[name])


def _has_batch_norm(task: Task) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training for module in task.modules())
