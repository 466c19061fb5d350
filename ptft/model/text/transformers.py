"""A text model of the transformers library: from a local folder, a run of ptft, or the hub by its name.

Only configs and safetensors are read, never code or pickles. The head follows the task and the data; the weights are
loaded as any others are, so what fits and what does not is told.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptft.errors import ConfigError
from ptft.model import library
from ptft.model.spec import ModelSpec
from ptft.model.text.build import make_model, try_out
from ptft.model.text.network import TextNetwork
from ptft.runtime.hub import model_folder

TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
"""Files of which a folder with a tokenizer holds one."""


class TransformersText(TextNetwork):
    """A text network as a folder of transformers describes it."""

    def __init__(self, spec: ModelSpec, *, name: str, pretrained: bool = True) -> None:
        """Build the network from its config, with weights as the library draws them.

        Args:
            spec: What the data know, and what the task wants.
            name: A folder as `./folder` or `/folder` - one of transformers, or a run of ptft - or `org/name`
                (`org/name@revision`) of the hub, for which the cache is looked at first.
            pretrained: Start from its weights unless `init_from=` names others; false: start from the config alone.

        Raises:
            ConfigError: It has no head for what the task wants, or does not fit the data.
            FetchError: It is not here and cannot be fetched.
        """
        folder = _folder(name, pretrained)
        config = _read_config(name, folder)
        _fit_vocabulary(spec, config, folder, name, pretrained)
        model = make_model(spec, config, name=f"model.name={name}")
        super().__init__(model, spec.output, spec.shape[0], pretrained=folder if pretrained else None)
        try_out(self, spec, name=f"model.name={name}")

    @classmethod
    def weights_folder(cls, settings: Mapping[str, Any]) -> Path | None:
        """Return the folder that settings name, whose tokenizer the data must use.

        Raises:
            ConfigError: They name none that there is.
            FetchError: It is not here and cannot be fetched.
        """
        return _folder(str(settings["name"]), bool(settings.get("pretrained", True)))


def _folder(name: str, pretrained: bool) -> Path:
    """Return the folder that a name means; of a run its model/."""
    folder = model_folder(name, pretrained=pretrained)
    if not (folder / "config.json").is_file() and (folder / "model" / "config.json").is_file():
        folder = folder / "model"
    if not (folder / "config.json").is_file():
        raise ConfigError(f"model.name={name}: there is no {folder}/config.json; expected a folder of transformers")
    return folder


def _fit_vocabulary(spec: ModelSpec, config: Any, folder: Path, name: str, pretrained: bool) -> None:
    """See that the tokens of the data are those of the model; one that starts anew takes theirs.

    A model may know more tokens than its tokenizer: tables are rounded up. One without a tokenizer cannot tell.

    Raises:
        ConfigError: They are not.
    """
    with_tokenizer = any((folder / file).is_file() for file in TOKENIZERS)
    if spec.vocab_size == config.vocab_size or (with_tokenizer and spec.vocab_size < config.vocab_size):
        return
    if not pretrained:
        config.vocab_size = spec.vocab_size
        return
    remedy = "data.tokenizer.path=..." if not with_tokenizer else f"data.tokenizer.path={name}"
    raise ConfigError(
        f"model.name={name} knows {config.vocab_size:,} tokens, the tokenizer of the data {spec.vocab_size:,}"
        + ("" if with_tokenizer else f", and {folder} holds none")
        + f"; use the tokenizer of the model ({remedy}), take its config alone with model.pretrained=false, or begin "
        "anew with a model by its dimensions, as model=text/bert_mini"
    )


def _read_config(name: str, folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the library raises what its parts raise
        raise ConfigError(
            f"model.name={name}: transformers cannot read {folder}/config.json ({library.first_line(error)})"
        ) from None
    if not isinstance(getattr(config, "vocab_size", None), int):
        raise ConfigError(f"model.name={name}: `{config.model_type}` is no text model of transformers")
    return config
