"""What networks of the transformers library share: how its folders are read and written, and its talk kept down."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptft.errors import CheckpointError


def logging() -> Any:
    """Return the library's logging, its progress bars off: ptft tells what was loaded in one line."""
    from transformers.utils import logging as logs

    library: Any = logs
    library.disable_progress_bar()
    return library


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def read_weights(model: Any, folder: Path) -> dict[str, Tensor]:
    """Return the weights of a folder by the names of a network that stands as `model` in its wrapper.

    What the library has no place for comes along, empty, so that it can be told.

    Raises:
        CheckpointError: The folder holds no safetensors of this architecture.
    """
    from transformers import AutoConfig

    log = logging()
    verbosity = log.get_verbosity()
    log.set_verbosity_error()
    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
        donor, found = type(model).from_pretrained(
            str(folder),
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # the library raises what its parts raise
        raise CheckpointError(
            f"{folder}: transformers reads no {type(model).__name__} there ({first_line(error)}); "
            "expected config.json and model.safetensors of the same architecture"
        ) from None
    finally:
        log.set_verbosity(verbosity)
    missing, left = set(found["missing_keys"]), sorted(found["unexpected_keys"])
    own = {f"model.{name}": value for name, value in donor.state_dict().items() if name not in missing}
    return own | {f"model.{name}": torch.empty(0) for name in left}


def write_weights(model: Any, folder: Path, labels: Sequence[str]) -> None:
    """Write what the library's `AutoModelFor...` reads, with the names of the classes, if there are any."""
    logging()
    if labels:
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {label: number for number, label in enumerate(labels)}
    model.save_pretrained(str(folder))
