"""How a network of another library brings and leaves its weights in that library's own form."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Exchanges(Protocol):
    """A network whose weights come from, and go to, folders that another library reads.

    Attributes:
        pretrained: The folder of the weights it starts from unless `init_from=` names others; None: it starts anew.
    """

    pretrained: Path | None

    def read_pretrained(self, folder: Path) -> Mapping[str, Tensor]:
        """Return the weights of a folder by this network's names, however the folder names them.

        Raises:
            CheckpointError: There are none, or they cannot be read.
        """
        ...

    def write_pretrained(self, folder: Path, labels: Sequence[str]) -> None:
        """Write model.safetensors and config.json, with the class names, into an empty folder."""
        ...


@runtime_checkable
class NamesFolder(Protocol):
    """A class of networks whose settings name the folder they start from, with a tokenizer that the data must use."""

    def weights_folder(self, settings: Mapping[str, Any]) -> Path | None:
        """Return the folder that the settings of such a network name, fetched if need be, or None.

        Raises:
            ConfigError: They name none that there is.
            FetchError: It is not here and cannot be fetched.
        """
        ...
