"""What a LoRA run learnt, as an adapter that peft puts on the plain model again: its updates, neck and head.

    PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(base, num_labels=2), "run/adapter")

computes what the run's `model/` does. The base lacks the head, so that it comes along whole.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ptft.adapt.head import tied_names
from ptft.model.exchange import Exchanges
from ptft.model.parts import belongs, parts_of
from ptft.runtime import files

TASKS = {"classes": "SEQ_CLS", "tags": "TOKEN_CLS", "span": "QUESTION_ANS", "causal": "CAUSAL_LM"}
"""What peft calls an output of a text network; of others it knows the adapter without."""
BEFORE = "base_model.model."
"""What peft puts before the names of the model it adapts."""


def write_adapter(model: nn.Module, folder: Path, settings: dict[str, Any], base: str) -> bool:
    """Write adapter_model.safetensors and adapter_config.json; False, and nothing, where peft has no such update.

    Args:
        model: With the updates in it, trained.
        folder: Made if it is not there.
        settings: `r`, `lora_alpha` and `lora_dropout`.
        base: What the weights without the updates are called: a folder or a name of the hub; may be empty.
    """
    layers = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    if not layers or any(parametrize.is_parametrized(module) for module in model.modules()):
        return False
    # Names are those of the library's own network, which peft will be given.
    inner = "model." if isinstance(model, Exchanges) else ""
    own = model.state_dict()
    top = _whole(model, own)
    tensors = {n: value for n, value in own.items() if ".lora_" in n or any(belongs(n, unit) for unit in top)}
    config = LoraConfig(
        **settings,
        target_modules=[name.removeprefix(inner) for name in layers],
        modules_to_save=[unit.removeprefix(inner) for unit in top] or None,
        task_type=TASKS.get(str(getattr(model, "output", ""))) if inner else None,
        base_model_name_or_path=base,
        fan_in_fan_out=any(getattr(model.get_submodule(name), "fan_in_fan_out", False) for name in layers),
        inference_mode=True,
    )
    named = {  # copies: tensors tied to each other cannot be written
        BEFORE + name.removeprefix(inner).replace(".default.", "."): value.detach().cpu().contiguous().clone()
        for name, value in tensors.items()
    }
    files.ensure_directory(folder)
    files.replace_with(folder / "adapter_model.safetensors", safetensors.torch.save(named, metadata={"format": "pt"}))
    files.replace_with(folder / "adapter_config.json", _as_json(config).encode())
    return True


def _whole(model: nn.Module, own: Mapping[str, Tensor]) -> list[str]:
    """Return which of neck and head the adapter brings: all but what is wholly the backbone's, as GPT-2's head."""
    parts = parts_of(model)
    tied = tied_names(own, parts.head)
    return [unit for unit in parts.top if any(belongs(name, unit) for name in own if name not in tied)]


def _as_json(config: Any) -> str:
    values = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    return json.dumps(values, indent=2, sort_keys=True, default=str) + "\n"
